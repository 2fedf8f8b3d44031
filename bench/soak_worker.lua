-- The part of bench/soak.lua that publishes and consumes.
local core = require "lunats.core"

local MESSAGES = tonumber(arg[1])
local IN_FLIGHT = 256
local SIZE = 100

local function insist(what, fn, ...)
  while true do
    local result, err = fn(...)
    if result then return result end
    if err.code == "jetstream" and err.err_code == 10058 then error(what .. ": " .. err) end
    app.sleep(0.1)
  end
end

insist("stream", app.js.add_stream, { name = "SOAK", subjects = { "soak" },
  duplicate_window = 120 })

-- One bit for each message, so that memory shows what the host needs.
local seen, handled, twice = {}, 0, 0
for i = 0, MESSAGES // 64 do seen[i] = 0 end

local function mark(number)
  local word, bit = number // 64, 1 << (number % 64)
  if seen[word] & bit ~= 0 then
    twice = twice + 1
  else
    seen[word] = seen[word] | bit
    handled = handled + 1
  end
end

local psub = insist("consumer", app.js.pull_subscribe, "soak", { durable = "worker",
  stream = "SOAK", config = { ack_wait = 5, max_ack_pending = 5000 } })
psub:consume({ concurrency = 64 }, function(msg) mark(tonumber(msg.raw:match "^%d+")) end)

-- A publish that fails may have been stored: the message id makes the second one harmless.
local next_number, stored, retries = 0, 0, 0
for _ = 1, IN_FLIGHT do
  app.spawn(function()
    while next_number < MESSAGES do
      local number = next_number
      next_number = number + 1
      local text = tostring(number)
      local payload = text .. (" "):rep(SIZE - #text)
      while not app.js.publish("soak", payload, { msg_id = text, timeout = 5 }) do
        retries = retries + 1
        app.sleep(0.05)
      end
      stored = stored + 1
    end
  end)
end

local began = core.hrtime()
local function line(what)
  print(("%s: %d stored, %d handled, %d more than once, %d publishes repeated, %.0f s"):format(
    what, stored, handled, twice, retries, core.hrtime() - began))
  io.stdout:flush()
end

local quiet, last = 0, 0
while handled < MESSAGES and quiet < 120 do
  app.sleep(1)
  quiet = handled == last and quiet + 1 or 0
  last = handled
  line "so far"
end
psub:stop()
line "result"
print(("lost: %d"):format(MESSAGES - handled))
os.exit(handled == MESSAGES)
