-- A JetStream pull consumer: fetches and acknowledges messages while a second task goes on.
app.config { name = "js_listen_pull" }

local TEST_STREAM = "test_stream"
local STREAM_SUBJECTS = { "test.*.stream" }

app.on_start(function()
  assert(app.js.add_stream { name = TEST_STREAM, subjects = STREAM_SUBJECTS })
end)

app.task({ name = "pull", restart = "on_error" }, function()
  local psub = assert(app.js.pull_subscribe(STREAM_SUBJECTS[1], {
    durable = "consumer-2", stream = TEST_STREAM,
  }))
  while true do
    -- Waits for a message, five seconds at most; {} when none came. Nothing else waits.
    local msgs, err = psub:fetch(1)
    if not msgs then
      app.log.warn("fetch: " .. err)
      app.sleep(1)
    end
    for _, msg in ipairs(msgs or {}) do
      app.log.info("pulled", { subject = msg.subject, data = msg.data })
      msg:ack()
    end
  end
end)

app.task({ interval = 1, name = "parallel" }, function()
  app.log.info("some parallel task")
end)
