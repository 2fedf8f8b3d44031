-- Reloads a service while it works off a stream with psub:consume.
--
--   build/release/lunats lua --embedded bench/reload_consume.lua [RELOADS [MESSAGES]]
--
-- Prints how many messages were handled, how many of them more than once, and how long it took.
local core = require "lunats.core"
local process = require "spec.support.process"
local testing = require "lunats.testing"

local RELOADS = tonumber(arg[1]) or 200
local MESSAGES = tonumber(arg[2]) or 100000

local SERVICE = [[
app.config { name = "consumer", version = "%d.0.0" }
app.on_start(function()
  local psub = assert(app.js.pull_subscribe("bench.work", { durable = "worker",
    stream = "BENCH_RELOAD", config = { max_ack_pending = 2000 } }))
  psub:consume({ concurrency = 64 }, function(msg)
    app.publish("bench.handled." .. msg.raw, "")
  end)
end)
]]

local path = process.write("consumer.lua", SERVICE:format(0))

local function write(version)
  local file = assert(io.open(path, "wb"))
  file:write(SERVICE:format(version))
  file:close()
end

assert(app.js.add_stream { name = "BENCH_RELOAD", subjects = { "bench.work" },
  storage = "memory" })
for i = 1, MESSAGES do assert(app.js.publish_async("bench.work", tostring(i))) end
assert(app.js.flush(60))

local seen, handled, twice = {}, 0, 0
app.listen("bench.handled.*", { queue = false }, function(msg)
  local number = tonumber(msg.subject:match "%d+$")
  if seen[number] then
    twice = twice + 1
  else
    seen[number] = true
    handled = handled + 1
  end
end)
local instance
app.listen("lunats.events.consumer.*.started", function(msg) instance = msg.data.instance end)
assert(app.flush())

local began = core.hrtime()
local child = process.spawn { process.lunats(), "run", "--control", "--log-level", "warn",
  "--server", testing.server_url(), path }
while not instance do app.sleep(0.005) end
local control = ("lunats.control.consumer.%s.reload"):format(instance)

local reloads = 0
while reloads < RELOADS do
  reloads = reloads + 1
  write(reloads)
  assert(app.request(control, ""))
end
print(("%d reloads in %.2f s, %d of %d messages handled by then"):format(reloads,
  core.hrtime() - began, handled, MESSAGES))
local patience = core.hrtime() + 60
while handled < MESSAGES and core.hrtime() < patience do app.sleep(0.01) end
print(("all of it in %.2f s: handled %d of %d, more than once %d"):format(core.hrtime() - began,
  handled, MESSAGES, twice))
app.sleep(1) -- a redelivery would come now
local info = assert(app.js.consumer_info("BENCH_RELOAD", "worker"))
print(("consumer: %d unacknowledged, %d pending, %d redelivered; twice after a second: %d")
  :format(info.num_ack_pending, info.num_pending, info.num_redelivered, twice))
child:stop()
process.close_all()
os.exit(handled == MESSAGES and twice == 0)
