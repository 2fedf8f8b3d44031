-- A JetStream push consumer: the server sends each message of the stream to the handler, and
-- gets an acknowledgement when the handler has succeeded.
app.config { name = "js_listen_push" }

local TEST_STREAM = "test_stream"
local STREAM_SUBJECTS = { "test.*.stream" }

app.on_start(function()
  assert(app.js.add_stream { name = TEST_STREAM, subjects = STREAM_SUBJECTS })
end)

local opts = { durable = "consumer-1", stream = TEST_STREAM }

app.js.subscribe("test.*.stream", opts, function(msg)
  app.log.info("pushed", { subject = msg.subject, data = msg.data })
end)
