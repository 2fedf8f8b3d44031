-- Reloads a service again and again under a constant load of requests from this process.
--
--   build/release/lunats lua bench/reload.lua [RELOADS [REQUESTS_PER_SECOND]]
--
-- Starts a private nats-server and `lunats run --control` on it. Each request carries a
-- reply subject of its own, so that a second answer would be seen. Prints what was lost,
-- answered twice or wrong, the latency of all requests and of those around a switch, and the
-- resident memory of the service.
local core = require "lunats.core"
local process = require "spec.support.process"
local testing = require "lunats.testing"

local RELOADS = tonumber(arg[1]) or 1000
local RATE = tonumber(arg[2]) or 20000
local PAUSE = 0.025 -- seconds between two reloads
local AROUND = 0.005 -- seconds before and after a switch that count as the switch

local SERVICE = [[
app.config { name = "reloaded", version = "%d.0.0" }
app.listen("bench.version", function() return %d end)
app.state.loads = (app.state.loads or 0) + 1
]]

local function write(path, version)
  local file = assert(io.open(path, "wb"))
  file:write(SERVICE:format(version, version))
  file:close()
end

local function resident_kib(pid)
  for line in io.lines(("/proc/%d/status"):format(pid)) do
    local kib = line:match "^VmRSS:%s*(%d+)"
    if kib then return tonumber(kib) end
  end
end

-- Latencies are counted in steps of 10 us and nothing is kept for a request that is answered: a
-- collector that walks large tables would show up as latency.
local STEP = 1e-5
local KEPT = 1 << 16

local function histogram() return { count = 0, max = 0 } end

local function note(self, seconds)
  local slot = seconds // STEP
  self[slot] = (self[slot] or 0) + 1
  self.count = self.count + 1
  self.max = math.max(self.max, seconds)
end

local function percentile(self, p)
  local slots, left = {}, self.count * p
  for slot in pairs(self) do
    if type(slot) == "number" then slots[#slots + 1] = slot end
  end
  table.sort(slots)
  for _, slot in ipairs(slots) do
    left = left - self[slot]
    if left <= 0 then return (slot + 1) * STEP * 1e3 end
  end
  return 0
end

local broker = testing.broker { jetstream = false }
local client = assert(core.connect { servers = { broker.url } })
local path = process.write("reloaded.lua", "")
write(path, 0)
local instance
client.listen("lunats.events.reloaded.*.started", {}, function(msg)
  instance = msg.data.instance
end)
assert(client.flush())
local child = process.spawn { process.lunats(), "run", "--control", "--log-level", "warn",
  "--server", broker.url, path }
while not instance do app.sleep(0.005) end
local control = ("lunats.control.reloaded.%s.reload"):format(instance)

local sent, answered, twice, wrong, version, running = 0, 0, 0, 0, 0, true
local sent_at, seen = {}, {} -- a ring; a bit for each request
local all, around = histogram(), histogram()
local switch_from, switch_to = math.huge, 0 -- of the switch that is going on, or was the last
local inbox = client.new_inbox()

client.listen(inbox .. ".*", { data_type = "string", concurrency = 100000 }, function(msg)
  local now = core.hrtime()
  local number = tonumber(msg.subject:match "%d+$")
  local word, bit = number // 64, 1 << (number % 64)
  if (seen[word] or 0) & bit ~= 0 then
    twice = twice + 1
    return
  end
  seen[word] = (seen[word] or 0) | bit
  answered = answered + 1
  local by = tonumber(msg.raw)
  if not by or by > version + 1 then wrong = wrong + 1 end
  local began = sent_at[number % KEPT]
  note(all, now - began)
  if began < switch_to + AROUND and now > switch_from - AROUND then
    note(around, now - began)
  end
end)

app.spawn(function()
  local began = core.hrtime()
  while running do
    local due = math.floor((core.hrtime() - began) * RATE)
    while sent < due do
      sent = sent + 1
      sent_at[sent % KEPT] = core.hrtime()
      client.publish("bench.version", "", { reply_to = inbox .. "." .. sent })
    end
    app.sleep(0.001)
  end
end)

local at_100
local began = core.hrtime()
for i = 1, RELOADS do
  write(path, i)
  switch_from, switch_to = core.hrtime(), math.huge
  assert(client.request(control, ""))
  version, switch_to = i, core.hrtime()
  app.sleep(PAUSE)
  if i == math.min(100, RELOADS) then at_100 = resident_kib(child.pid) end
  if i % 100 == 0 then
    io.stderr:write(("%d reloads, %d requests\n"):format(i, sent))
  end
end
local seconds = core.hrtime() - began
local at_end = resident_kib(child.pid)
running = false
local patience = core.hrtime() + 5
while answered < sent and core.hrtime() < patience do app.sleep(0.01) end

print(("%d reloads in %.1f s under %.0f requests/s"):format(RELOADS, seconds, sent / seconds))
print(("requests %d, lost %d, answered twice %d, wrong %d"):format(sent, sent - answered, twice,
  wrong))
for what, latency in pairs { all = all, ["around a switch"] = around } do
  print(("latency ms, %s: p50 %.2f p99 %.2f p99.9 %.2f max %.2f"):format(what,
    percentile(latency, 0.5), percentile(latency, 0.99), percentile(latency, 0.999),
    latency.max * 1e3))
end
print(("resident memory of the service: %d KiB after 100 reloads, %d KiB at the end (%+d)")
  :format(at_100, at_end, at_end - at_100))
child:stop()
client.handle:close()
broker:stop()
process.close_all()
os.exit(sent == answered and twice == 0 and wrong == 0)
