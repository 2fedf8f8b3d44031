-- A JetStream publisher: stores a counter and its client id every two seconds.
-- Together with js_listen_push.lua and js_listen_pull.lua:  lunats dev examples/jetstream
app.config { name = "js_publish" }

local TEST_STREAM = "test_stream"
local STREAM_SUBJECTS = { "test.*.stream" }
local num = 0

app.on_start(function()
  -- Whichever of the three services starts first makes the stream; the same again is fine.
  assert(app.js.add_stream { name = TEST_STREAM, subjects = STREAM_SUBJECTS })
end)

local function get_message()
  return { id = app.nats.client_id }
end

app.timer(2, { name = "publish_periodically" }, function()
  local message = get_message()
  num = num + 1
  message.counter = num
  local ack, err = app.js.publish("test.app2.stream", message)
  if not ack then
    app.log.warn("not stored: " .. err, { counter = num })
    return
  end
  app.log.info("sent", { counter = num, id = message.id, seq = ack.seq })
end)
