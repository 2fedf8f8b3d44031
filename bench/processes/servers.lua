---What a nats-server, and a cluster of three, take for what services do.
local core = require "lunats.core"
local cost = require "bench.processes.cost"
local eventually = require "spec.support.eventually"
local testing = require "lunats.testing"

local function say(name, value, unit) print(("%-58s %10.1f %s"):format(name, value, unit)) end

---Processor time of servers while fn runs, in microseconds.
local function used(pids, fn)
  local before = cost.cpu(pids)
  fn()
  return (cost.cpu(pids) - before) * 1e6
end

---Connections are opened a few at a time.
local function connect(url, count)
  local list = {}
  for i = 1, count do list[i] = assert(app.connect { server = url }) end
  return list
end

local function one_server(options)
  local server = testing.broker()
  local pids = { server.pid }
  local memory = cost.memory(pids)
  local connections = connect(server.url, 500)
  say("a connection: memory", (cost.memory(pids) - memory) / 500 / 1024, "KiB")
  for _, one in ipairs(connections) do one.close() end

  local conn = assert(app.connect { server = server.url })
  conn.listen("it", { data_type = "string" }, function() return "x" end)
  assert(conn.flush())
  local count = options.rate * options.seconds
  local micros = used(pids, function()
    cost.at_rate(options.rate, options.seconds, function()
      conn.request("it", ("x"):rep(128), { data_type = "string" })
    end)
  end)
  say("a request of 128 bytes and its reply: CPU", micros / count, "us")
  memory = cost.memory(pids)
  for i = 1, 20000 do
    conn.listen("many." .. i, { queue = "q", endpoint = false, concurrency = 1 }, print)
    if i % 500 == 0 then assert(conn.flush(30)) end
  end
  say("a subscription: memory", (cost.memory(pids) - memory) / 20000 * 1, "bytes")
  conn.close()
  server:stop()
end

---@return integer[] pids
local function pids_of(cluster)
  local pids = {}
  for i, one in ipairs(cluster) do pids[i] = one.pid end
  return pids
end

local function three_servers(options)
  local cluster = testing.cluster(3)
  local pids = pids_of(cluster)
  local conn = assert(app.connect { server = cluster.urls, retry = true })
  local js = conn.js
  local function add(name, subject)
    eventually("the stream " .. name, function()
      return js.add_stream { name = name, subjects = { subject }, num_replicas = 3 }
    end, 60)
  end
  add("LOAD", "load.>")
  local seconds = options.seconds
  app.sleep(2)
  local idle = used(pids, function() app.sleep(seconds) end) / seconds
  say("three servers with one stream of three replicas, idle: CPU", idle / 1e4, "% of one")
  local count = 20000
  local began = core.hrtime()
  local micros = used(pids, function()
    for i = 1, count do assert(js.publish_async("load." .. i % 100, ("x"):rep(128))) end
    assert(js.flush(120))
  end) - idle * (core.hrtime() - began)
  say("a message stored three times, many at once: CPU of all", micros / count, "us")
  began, count = core.hrtime(), 0
  micros = used(pids, function()
    while core.hrtime() < began + seconds do
      assert(js.publish("load.one", ("x"):rep(128)))
      count = count + 1
    end
  end) - idle * (core.hrtime() - began)
  say("one message after the other (a write of a lease): CPU of all", micros / count, "us")
  began, count = core.hrtime(), 0
  micros = used(pids, function()
    while core.hrtime() < began + seconds do
      assert(js.get_msg("LOAD", { last_by_subject = "load.one" }))
      count = count + 1
    end
  end) - idle * (core.hrtime() - began)
  say("the last message of a subject (a look at a lease): CPU of all", micros / count, "us")
  local before = cost.memory(pids)
  for i = 1, 50 do add("IDLE" .. i, ("idle%d.>"):format(i)) end
  app.sleep(2)
  say("a further stream of three replicas: memory of all",
    (cost.memory(pids) - before) / 50 / 1024, "KiB")
  local more = used(pids, function() app.sleep(seconds) end) / seconds - idle
  say("a further stream of three replicas, idle: CPU of all", more / 50 / 1e4, "% of one")
  conn.close()
  cluster:stop()
end

return function(options)
  print "\nWhat servers take"
  one_server(options)
  three_servers(options)
end
