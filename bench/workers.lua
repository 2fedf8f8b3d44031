-- What workers are worth, and what it costs when one of them ends or all of them reload.
--
--   build/release/lunats lua bench/workers.lua [OPTION...]
--     --workers N    how many (2)
--     --rate N       requests a second of `kill` and `reload` (10,000)
--     --seconds S    for how long (10)
--     --only PART    one of the parts below
--
-- PART is one of
--   speed   requests a second of 1 worker and of N (2), each request 5 ms of processor time;
--           the machine must be quiet, and have N processors
--   kill    requests at a constant rate, then a worker is killed: which requests fail, how,
--           and when the next one serves. Those are its own if nothing fails that another one
--           has had in hand, and nothing that was sent after its end
--   reload  the same while the workers reload, one after the other, again and again
--
-- Starts a private nats-server. The exit status is 1 if a request is lost in `reload`, if one
-- fails in `kill` that was not in the hands of the worker, or if the next worker serves after
-- more than 1 s.
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local testing = require "lunats.testing"

local options = { workers = 2, rate = 10000, seconds = 10 }
for i = 1, #arg, 2 do
  local name = arg[i]:match "^%-%-(%l+)$"
  if name == "only" then
    options.only = arg[i + 1]
  elseif options[name or ""] and tonumber(arg[i + 1]) then
    options[name] = tonumber(arg[i + 1])
  else
    io.stderr:write("usage: bench/workers.lua [--workers N] [--rate N] [--seconds S] "
      .. "[--only PART]\n")
    os.exit(2)
  end
end

local CPU = [[
  app.config { name = "bench_workers" }
  app.listen("bench.cpu", function()
    local stop = os.clock() + 0.005
    while os.clock() < stop do end
    return 1
  end)
]]

---Says which process it is, at once and when it is done, so that those of one that is killed
---can be told. It takes 5 ms, hardly any of them processor time, so that there is always
---something in hand.
local QUICK = [[
  app.config { name = "bench_workers", version = "1.0.0" }
  app.listen("bench.quick", { concurrency = 10000, data_type = "string" }, function(msg)
    app.publish("bench.taken." .. app.instance_id, msg.raw)
    app.sleep(0.005)
    return app.instance_id
  end)
]]

---Which process an instance is.
local WHO = [[
  app.listen("bench.who", { queue = false }, function()
    local stat = io.open "/proc/self/stat"
    local pid = stat:read "n"
    stat:close()
    return { pid = pid, id = app.instance_id }
  end)
]]

---Seconds after which the kill comes, as starting `kill` keeps this process from sending; and
---after which the server has seen the end of the connection.
local LATER, SEEN = 0.1, 0.5

local server

local function start(source, workers)
  local child = process.run(source, { "--workers", tostring(workers) },
    { servers = { server.url } })
  child:expect(("all %d workers are ready"):format(workers))
  return child
end

local function print_line(...) print(string.format(...)) end

-- ---- speed -----------------------------------------------------------------------

---As many requests as the workers can take: always some more than they have in hand.
local function speed(conn, workers)
  local child = start(CPU, workers)
  local count, stop, fibers = 0, false, {}
  for i = 1, workers * 8 do
    fibers[i] = app.spawn(function()
      while not stop do
        assert(conn.request("bench.cpu", "", { timeout = 30 }))
        count = count + 1
      end
    end)
  end
  app.sleep(1)
  local before, began = count, core.hrtime()
  app.sleep(options.seconds)
  local rate = (count - before) / (core.hrtime() - began)
  stop = true
  for _, fiber in ipairs(fibers) do fiber:await() end
  child:stop()
  return rate
end

local function measure_speed(conn)
  local rates = { {}, {} }
  for _ = 1, 3 do
    table.insert(rates[1], speed(conn, 1))
    table.insert(rates[2], speed(conn, options.workers))
  end
  for _, list in ipairs(rates) do table.sort(list) end
  print_line("speed: 1 worker %.0f requests/s, %d workers %.0f: %.2f times as many",
    rates[1][2], options.workers, rates[2][2], rates[2][2] / rates[1][2])
  return true
end

-- ---- under load ------------------------------------------------------------------

---@class bench.workers.seen
---@field sent integer
---@field answered integer
---@field failed { id: integer, code: string, began: number, took: number }[]
---@field by table<string, number>  when each process has answered the last time
---@field taken table<integer, string>  by which process a request was taken that has no answer
---@field slowest number
---@field rate number  requests a second, less than wanted where the machine is busy

---Sends requests at a constant rate until `during` returns; says what becomes of them.
---@return bench.workers.seen
local function load(conn, during)
  local seen = { sent = 0, answered = 0, failed = {}, by = {}, taken = {}, slowest = 0 }
  local stop = false
  local listener = conn.listen("bench.taken.*", { queue = false, data_type = "string" },
    function(msg) seen.taken[tonumber(msg.raw)] = msg.subject:match "[^.]+$" end)
  assert(conn.flush())
  local function one(id)
    local began = core.hrtime()
    local reply, err = conn.request("bench.quick", tostring(id), { timeout = 5 })
    local took = core.hrtime() - began
    if reply then
      seen.answered = seen.answered + 1
      seen.by[reply.raw] = core.hrtime()
      seen.taken[id] = nil
      seen.slowest = math.max(seen.slowest, took)
    else
      table.insert(seen.failed, { id = id, code = err.code, began = began, took = took })
    end
  end
  local sender = app.spawn(function()
    local began = core.hrtime()
    while not stop do
      local due = math.floor((core.hrtime() - began) * options.rate)
      for _ = seen.sent + 1, math.min(due, seen.sent + 200) do
        seen.sent = seen.sent + 1
        app.spawn(one, seen.sent)
      end
      app.sleep(0.001)
    end
  end)
  local began = core.hrtime()
  during(seen)
  stop = true
  sender:await()
  seen.rate = seen.sent / (core.hrtime() - began)
  eventually("the last answers", function()
    return seen.answered + #seen.failed == seen.sent
  end, 30)
  listener:stop()
  return seen
end

---@param seen bench.workers.seen
local function failures(seen)
  local counts, list = {}, {}
  for _, one in ipairs(seen.failed) do counts[one.code] = (counts[one.code] or 0) + 1 end
  for code, count in pairs(counts) do list[#list + 1] = ("%d %s"):format(count, code) end
  table.sort(list)
  return list[1] and table.concat(list, ", ") or "none"
end

---Failed requests that the end of a process does not explain.
---@param seen bench.workers.seen
---@param instance string  that was killed
---@param killed number
local function unexplained(seen, instance, killed)
  local count = 0
  for _, one in ipairs(seen.failed) do
    local taken = seen.taken[one.id]
    if taken and taken ~= instance or one.began > killed + SEEN or one.code ~= "timeout" then
      count = count + 1
      print_line("  request %d failed (%s): taken by %s, sent %.3f s after the kill", one.id,
        one.code, taken or "nobody", one.began - killed)
    end
  end
  return count
end

---The process of a worker, as the log of the parent has it last.
local function pid_of(child, number)
  local found
  for pid in child:output():gmatch(("worker %d of %%d+ is process (%%d+)"):format(number)) do
    found = tonumber(pid)
  end
  return found
end

---The instance that a process is.
local function instance_of(conn, pid)
  for _, reply in ipairs(assert(conn.request_many("bench.who", "", { timeout = 1 }))) do
    if reply.data.pid == pid then return reply.data.id end
  end
end

local function measure_kill(conn)
  local child = start(QUICK .. WHO, options.workers)
  local pid = pid_of(child, 1)
  local instance = assert(instance_of(conn, pid))
  local back, killed
  local seen = load(conn, function(seen)
    app.sleep(options.seconds / 3)
    local before = {}
    for id in pairs(seen.by) do before[id] = true end
    killed = core.hrtime() + LATER
    os.execute(("{ sleep %g; kill -9 %d; } &"):format(LATER, pid))
    eventually("the next worker", function()
      for id, at in pairs(seen.by) do
        if not before[id] then
          back = at - killed
          return true
        end
      end
    end)
    app.sleep(options.seconds / 3)
  end)
  child:stop()
  print_line("kill: %d requests, %.0f/s; failed: %s; the next worker served after %.2f s",
    seen.sent, seen.rate, failures(seen), back)
  return unexplained(seen, instance, killed) == 0 and back <= 1
end

local function measure_reload(conn)
  local child = start(QUICK, options.workers)
  local rounds = 0
  local seen = load(conn, function()
    local ends = core.hrtime() + options.seconds
    while core.hrtime() < ends do
      local done = child:count "workers have reloaded"
      child:signal "HUP"
      eventually("the reload", function()
        return child:count "workers have reloaded" > done
      end)
      rounds = rounds + 1
    end
  end)
  child:stop()
  print_line("reload: %d requests, %.0f/s, %d rounds of reloads; lost: %s; "
    .. "the slowest answer took %.1f ms",
    seen.sent, seen.rate, rounds, failures(seen), seen.slowest * 1e3)
  return #seen.failed == 0
end

-- ---- the whole ---------------------------------------------------------------------

local parts = { { "speed", measure_speed }, { "kill", measure_kill },
  { "reload", measure_reload } }

server = testing.broker { jetstream = false }
local conn = assert(app.connect { server = server.url })
local ok = true
for _, part in ipairs(parts) do
  if not options.only or options.only == part[1] then ok = part[2](conn) and ok end
end
conn.close()
process.close_all()
server:stop()
os.exit(ok and 0 or 1)
