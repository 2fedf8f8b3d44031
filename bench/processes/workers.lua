---The same load on 1, 2, 4 and 8 workers.
local cost = require "bench.processes.cost"
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local testing = require "lunats.testing"

local SOURCE = [[
  app.config { name = "work", discover = true }
  app.on_start(function()
    assert(app.js.ensure_stream { name = "JOBS", subjects = { "jobs.>" }, storage = "memory" })
    assert(app.js.create_key_value { bucket = "settings", storage = "memory" })
  end)
  app.listen("work.do", function(msg) return { done = msg.data.id } end)
  app.task(function()
    assert(app.js.pull_subscribe("jobs.*", { stream = "JOBS", durable = "jobs" })
      :consume(function() end))
    assert(assert(app.js.key_value "settings"):watch(function() end))
    app.log.info "reads"
  end)
]]

---@param workers integer  0: one process, without a parent
local function start(server, workers)
  local options = workers > 0 and { "--workers", tostring(workers) } or {}
  local child = process.run(SOURCE, options, { servers = { server.url } })
  eventually("all of them", function() return child:count ": reads" >= math.max(1, workers) end)
  if workers > 0 then child:expect(("all %d workers are ready"):format(workers)) end
  local pids = { child.pid }
  for pid in child:output():gmatch "worker %d+ of %d+ is process (%d+)" do
    pids[#pids + 1] = tonumber(pid)
  end
  return child, pids
end

---@return table row
local function measure(workers, options)
  local port, config = cost.monitoring()
  local server = testing.broker { config = config }
  local before = cost.page(port, "varz")
  local child, pids = start(server, workers)
  local conn = assert(app.connect { server = server.url })
  local failed = 0
  local function ask()
    if not conn.request("work.do", { id = 1, text = ("x"):rep(100) }) then
      failed = failed + 1
    end
  end
  cost.at_rate(options.rate, 1, ask)
  local used, server_used = cost.cpu(pids), cost.cpu { server.pid }
  local count = cost.at_rate(options.rate, options.seconds, ask)
  local row = {
    cpu = (cost.cpu(pids) - used) / count * 1e6,
    server_cpu = (cost.cpu { server.pid } - server_used) / count * 1e6,
    pulls = assert(conn.js.consumer_info("JOBS", "jobs")).num_waiting, failed = failed,
  }
  row.pss, row.rss = cost.memory(pids)
  conn.close()
  eventually("the end of a connection", function()
    row.page = cost.page(port, "varz")
    return row.page.connections == before.connections + math.max(1, workers)
  end)
  row.connections = row.page.connections - before.connections
  row.subscriptions = row.page.subscriptions - before.subscriptions
  assert(child:stop(30) == 0, child:output())
  server:stop()
  return row
end

return function(options)
  print(([[

%g requests/s; CPU in microseconds per request, memory in MiB
workers    lunats   server       PSS       RSS  connections  subscriptions  pulls  failed]])
    :format(options.rate))
  for _, workers in ipairs { 0, 1, 2, 4, 8 } do
    local row = measure(workers, options)
    print(("%7s %9.1f %8.1f %9.1f %9.1f %12d %14d %6d %7d"):format(
      workers == 0 and "none" or workers, row.cpu, row.server_cpu, row.pss / 2^20,
      row.rss / 2^20, row.connections, row.subscriptions, row.pulls, row.failed))
  end
end
