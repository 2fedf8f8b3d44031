-- Messages through a file stream into psub:consume while the server is killed again and again,
-- each time when some are through.
--
--   build/release/lunats lua bench/soak.lua [MESSAGES [SECONDS_BETWEEN_KILLS]]
--
-- This process owns the server, kills it (SIGKILL) and starts it again; bench/soak_worker.lua,
-- a process of its own, publishes and consumes. Prints what was lost and what came twice, and
-- the resident memory of the worker over time.
local process = require "spec.support.process"
local testing = require "lunats.testing"

local MESSAGES = tonumber(arg[1]) or 1000000
local KILL_EVERY = tonumber(arg[2]) or 10

local function resident_kib(pid)
  local file = io.open(("/proc/%d/status"):format(pid))
  local text = file and file:read "a" or ""
  if file then file:close() end
  return tonumber(text:match "VmRSS:%s*(%d+)") or 0
end

local broker = testing.broker()
local worker = process.spawn { process.lunats(), "lua", "--server", broker.url, "--log-level",
  "error", "bench/soak_worker.lua", tostring(MESSAGES) }

---What the worker has stored and handled.
local function progress()
  local stored, handled = worker:output():match ".*: (%d+) stored, (%d+) handled"
  return tonumber(stored or 0) + tonumber(handled or 0)
end

-- On a busy machine it may get nowhere between two kills: then the next one waits.
local STEP = MESSAGES // 20

local kills, memory = 0, {}
while not worker:status() do
  local due, enough = app.now() + KILL_EVERY, progress() + STEP
  while (app.now() < due or progress() < enough) and not worker:status() do app.sleep(0.1) end
  if worker:status() then break end
  memory[#memory + 1] = resident_kib(worker.pid)
  broker:kill()
  broker:restart()
  kills = kills + 1
  io.stderr:write(("%d kills; %s\n"):format(kills, worker:output():match "[^\n]*\n?$"))
end

print(worker:output():match "result:.*")
print(("server killed and restarted %d times; memory of the worker in KiB: %s"):format(kills,
  table.concat(memory, " ")))
local status = worker:status()
broker:stop()
process.close_all()
os.exit(status)
