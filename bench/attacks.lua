-- What the neighbour of an attack notices of it: runs each script of spec/support/attacks
-- beside another service in one process, asks that one every 10 ms for 5 s, and prints the
-- table of docs/limits.md.
--
--   build/release/lunats lua bench/attacks.lua [WORD...]
--     only the rows whose name contains one of the words; LOGS=1 prints what the process logs
--
-- A request counts from the moment at which it was due, so that one stall counts as often as
-- it would with clients that do not wait for each other.
local attacks = require "spec.support.attacks"
local process = require "spec.support.process"
local testing = require "lunats.testing"

local EVERY, COUNT, PATIENCE = 0.01, 500, 30
local OPTIONS = { "--memory", "64M" }

local broker = testing.broker()
local nats = assert(app.connect { server = broker.url, connect_timeout = PATIENCE })

local function wanted(name)
  if #arg == 0 then return true end
  for _, word in ipairs(arg) do
    if name:find(word, 1, true) then return true end
  end
  return false
end

---Seconds that the neighbour took for each request, sorted; and how many had no answer.
local function ask(prefix)
  local took, lost, fibers = {}, 0, {}
  local begin = app.now()
  for i = 1, COUNT do
    local due = begin + i * EVERY
    app.sleep(math.max(due - app.now(), 0))
    fibers[i] = app.spawn(function()
      local reply = nats.request(prefix .. ".hello", nil, { timeout = PATIENCE })
      took[#took + 1] = app.now() - due
      if not reply then lost = lost + 1 end
    end)
  end
  for _, fiber in ipairs(fibers) do fiber:await() end
  table.sort(took)
  return took, lost
end

local function milliseconds(seconds)
  local ms = seconds * 1000
  return (ms < 10 and "%.1f" or "%.0f"):format(ms)
end

local function measure(row, number)
  local prefix = "attacks" .. number
  local child = attacks.start({ row }, prefix, OPTIONS, { servers = { broker.url } })
  if row.body then nats.publish(prefix .. "." .. row.id, nil, { reply_to = "bench.nobody" }) end
  local took, lost = ask(prefix)
  local status = child:status()
  local p99, worst = took[math.ceil(#took * 0.99)], took[#took]
  print(("| %s | %s | %s | %s | %s |"):format(row.name, row.fate,
    status and "ends with status " .. status or "goes on",
    status and "–" or milliseconds(p99), status and "–" or milliseconds(worst)))
  if lost > 0 and not status then print(("%d of %d had no answer"):format(lost, COUNT)) end
  io.flush()
  child:signal "KILL"
  child:wait()
  if os.getenv "LOGS" then print((child:output():sub(1, 3000):gsub("[^\n]+", function(line)
    return line:sub(1, 250)
  end))) end
  process.close_all()
end

print "| attack | what happens to it | the process | p99, ms | worst, ms |"
print "|---|---|---|---|---|"
measure({ name = "none", fate = "", script = "" }, 0)
local number, some = 0, false
for _, kind in ipairs { "time", "memory", "errors" } do
  for _, row in ipairs(require("spec.support.attacks." .. kind)) do
    number = number + 1
    if wanted(row.name) then
      some = true
      measure(row, number)
    end
  end
end
nats.close()
broker:stop()
if not some then
  io.stderr:write("no attack has one of these words in its name: see spec/support/attacks/\n")
  os.exit(2)
end
