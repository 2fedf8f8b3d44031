---`lunats new NAME --template worker`: works off a stream.
return {
  { path = "NAME.lua", text = [[
-- @NAME@: works off the jobs of a stream. Run it with `lunats dev @NAME@.lua`; as many
-- processes as you like share the work.
app.config { name = "@NAME@", version = "0.1.0" }

app.on_start(function()
  assert(app.js.ensure_stream { name = "@NAME@", subjects = { "@NAME@.jobs.>" },
    retention = "workqueue" })
  -- What is given up can be looked at, and done again.
  assert(app.js.ensure_stream { name = "@NAME@_dead", subjects = { "@NAME@.dead" },
    max_age = 7 * 24 * 3600 })
end)

-- A job is done when this function returns. Whatever it raises, or `nil` and why, makes it come
-- again later, on another process perhaps: doing it twice must do no harm.
local function work(msg)
  local job = msg.data
  if type(job) ~= "table" or type(job.id) ~= "number" or type(job.text) ~= "string" then
    return app.publish("@NAME@.refused", job) -- another try would not make it better
  end
  local ack, err = app.js.publish("@NAME@.done." .. job.id, { text = job.text:upper() })
  if not ack then return nil, err end
end

app.on_start(function()
  assert(app.js.ensure_stream { name = "@NAME@_done", subjects = { "@NAME@.done.>" },
    max_age = 24 * 3600 })
  assert(app.js.pull_subscribe("@NAME@.jobs.>", { durable = "worker", stream = "@NAME@" }))
    :consume({ concurrency = 8, backoff = { 1, 5, 30 }, max_deliver = 5,
      dead_letter = "@NAME@.dead" }, work)
end)
]] },
  { path = "spec/NAME_spec.lua", text = [[
local testing = require "lunats.testing"

describe("@NAME@", function()
  local svc

  before_each(function() svc = testing.start "@NAME@.lua" end)
  after_each(function()
    svc:stop()
    testing.reset()
  end)

  it("does a job", function()
    assert(app.js.publish("@NAME@.jobs.text", { id = 1, text = "hello" }))
    assert.equal("HELLO", svc:expect("@NAME@.done.1").data.text)
  end)

  it("refuses what is no job", function()
    assert(app.js.publish("@NAME@.jobs.text", { id = 2 }))
    assert.equal(2, svc:expect("@NAME@.refused").data.id)
  end)
end)
]] },
  about = [[
Works off the jobs of a stream of
[NATS JetStream](https://docs.nats.io/nats-concepts/jetstream), written in Lua for lunats: with
retries, and a dead letter for what cannot be done.]],
  table = [[
| Subject | Message | |
| --- | --- | --- |
| `@NAME@.jobs.*` | `{ "id": 1, "text": "hello" }` | a job, in the stream `@NAME@` |
| `@NAME@.done.ID` | `{ "text": "HELLO" }` | its result, in `@NAME@_done` |
| `@NAME@.refused` | the job | sent for what is none |
| `@NAME@.dead` | the job | what failed five times, in `@NAME@_dead` |
]],
}
