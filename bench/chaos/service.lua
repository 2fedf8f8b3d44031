-- The service that bench/chaos.lua torments: it answers, stores, and works off what is stored.
-- The numbers of all messages that it has handled go into a file of its process.
local VERSION = 0 -- bench/chaos.lua writes another number
local WHO = os.getenv "CHAOS_WHO"

app.config { name = "chaos", version = VERSION .. ".0.0" }

local handled = assert(io.open(assert(os.getenv "CHAOS_HANDLED"), "a"))
handled:setvbuf "no" -- one write for each line: what is written outlives the process

local function note(number)
  assert(handled:write(("%d\n"):format(number)))
end

local seen

app.on_start(function()
  local psub = assert(app.js.pull_subscribe("chaos.work.>", { durable = "worker",
    stream = "CHAOS", config = { ack_wait = 3, max_ack_pending = 500 } }))
  assert(psub:consume({ concurrency = 16, backoff = { 0.1, 0.3 }, max_deliver = 6,
    dead_letter = "dead.chaos", heartbeat = 1, expires = 5 }, function(msg)
    note(msg.data.n)
  end))
  local bucket = assert(app.js.key_value "CHAOS")
  assert(bucket:watch("last", function(entry) seen = entry.data end))
end)

app.js.subscribe("chaos.push.>", { durable = "pusher", stream = "CHAOS", queue = "pushers",
  config = { ack_wait = 3 } }, function(msg)
  note(msg.data.n)
end)

app.listen("chaos.echo", { concurrency = 64 }, function(msg) return { n = msg.data.n } end)

app.listen("chaos.chain", function(msg)
  return app.request("chaos.echo", msg.data, { timeout = 2 })
end)

app.listen("chaos.slow", function(msg)
  app.sleep(0.2)
  return { n = msg.data.n }
end)

-- Whoever gets the answer can rely on it: the message is stored, and will be handled.
app.listen("chaos.store", function(msg)
  local n = msg.data.n
  local ack, err = app.js.publish(msg.data.subject, { n = n }, { msg_id = tostring(n),
    timeout = 2 })
  if not ack then return nil, { code = 503, message = err.message } end
  return { n = n }
end)

app.listen("chaos.spin", function() while true do end end)

app.listen("chaos.about." .. WHO, function()
  return { version = VERSION, seen = seen }
end)

app.timer(0.5, { name = "tick" }, function() app.publish("chaos.tick." .. WHO, "") end)
