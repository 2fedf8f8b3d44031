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
--           and when the next one serves
--   reload  the same while the workers reload, one after the other, again and again
--
-- Starts a private nats-server. The exit status is 1 if a request is lost in `reload`, or if
-- more than a tenth of a second's requests fail in `kill`.
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

---Says which process it is, so that those of one that is killed can be told.
local QUICK = [[
  app.config { name = "bench_workers", version = "1.0.0" }
  app.listen("bench.quick", { concurrency = 10000 }, function() return app.instance_id end)
]]

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

---Sends requests at a constant rate until `during` returns; counts what becomes of them.
local function load(conn, during)
  local seen = { sent = 0, answered = 0, failed = {}, by = {}, late = 0, slowest = 0 }
  local stop = false
  local function one()
    local began = core.hrtime()
    local reply, err = conn.request("bench.quick", "", { timeout = 5 })
    local took = core.hrtime() - began
    if reply then
      seen.answered = seen.answered + 1
      seen.by[reply.data] = core.hrtime()
      seen.slowest = math.max(seen.slowest, took)
    else
      seen.failed[err.code] = (seen.failed[err.code] or 0) + 1
    end
  end
  local sender = app.spawn(function()
    local began = core.hrtime()
    while not stop do
      local due = math.floor((core.hrtime() - began) * options.rate)
      for _ = seen.sent + 1, math.min(due, seen.sent + 200) do
        seen.sent = seen.sent + 1
        app.spawn(one)
      end
      app.sleep(0.001)
    end
  end)
  during(seen)
  stop = true
  sender:await()
  eventually("the last answers", function()
    local done = seen.answered
    for _, count in pairs(seen.failed) do done = done + count end
    return done == seen.sent
  end)
  return seen
end

local function failures(seen)
  local list, total = {}, 0
  for code, count in pairs(seen.failed) do
    list[#list + 1] = ("%d %s"):format(count, code)
    total = total + count
  end
  return total, total == 0 and "none" or table.concat(list, ", ")
end

---The process of a worker, as the log of the parent has it last.
local function pid_of(child, number)
  local found
  for pid in child:output():gmatch(("worker %d of %%d+ is process (%%d+)"):format(number)) do
    found = tonumber(pid)
  end
  return found
end

local function measure_kill(conn)
  local child = start(QUICK, options.workers)
  local back
  local seen = load(conn, function(seen)
    app.sleep(options.seconds / 3)
    local before = {}
    for id in pairs(seen.by) do before[id] = true end
    local killed = core.hrtime()
    os.execute("kill -9 " .. pid_of(child, 1))
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
  local total, text = failures(seen)
  print_line("kill: %d requests, %.0f/s wanted; failed: %s; "
    .. "the next worker served after %.2f s",
    seen.sent, options.rate, text, back)
  return seen.answered + total == seen.sent and total < options.rate / 10
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
  local total, text = failures(seen)
  print_line("reload: %d requests, %d rounds of reloads; lost: %s; "
    .. "the slowest answer took %.1f ms",
    seen.sent, rounds, text, seen.slowest * 1e3)
  return total == 0
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
