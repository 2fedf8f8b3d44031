-- Publishing into streams: acknowledgements, expectations, streams that are not there.
local core = require "lunats.core"
local unique = require "spec.support.unique"

describe("app.js.publish", function()
  local stream

  before_each(function()
    stream = unique "pub"
    assert(app.js.add_stream { name = stream, subjects = { stream .. ".>" } })
  end)
  after_each(function() app.js.delete_stream(stream) end)

  it("returns stream and sequence", function()
    local ack = assert(app.js.publish(stream .. ".a", { n = 1 }))
    assert.same({ stream = stream, seq = 1, duplicate = false }, ack)
    ack = assert(app.js.publish(stream .. ".a", "two"))
    assert.equal(2, ack.seq)
    assert.equal(2, app.js.stream_info(stream).state.messages)
  end)

  it("recognises a message id that was used before", function()
    local first = assert(app.js.publish(stream .. ".a", "x", { msg_id = "id-1" }))
    local again = assert(app.js.publish(stream .. ".a", "x", { msg_id = "id-1" }))
    assert.is_false(first.duplicate)
    assert.is_true(again.duplicate)
    assert.equal(first.seq, again.seq)
  end)

  it("recognises it whatever other headers end in its name", function()
    local headers = {}
    for i = 1, 30 do headers[("X%d-Nats-Msg-Id"):format(i)] = "other" end
    assert(app.js.publish(stream .. ".a", "x", { msg_id = "id-1", headers = headers }))
    local again = assert(app.js.publish(stream .. ".a", "x", { msg_id = "id-1",
      headers = headers }))
    assert.is_true(again.duplicate)
  end)

  it("refuses when an expectation is not met", function()
    local s = stream .. ".a"
    assert(app.js.publish(s, "x", { expected_last_seq = 0, expected_stream = stream,
      expected_last_subject_seq = 0 }))
    for _, opts in ipairs { { expected_last_seq = 7 }, { expected_last_subject_seq = 0 } } do
      local ack, err = app.js.publish(s, "x", opts)
      assert.is_nil(ack)
      assert.equal("wrong_last_sequence", err.code)
      assert.equal(400, err.status)
    end
    local ack, err = app.js.publish(s, "x", { expected_stream = "other" })
    assert.is_nil(ack)
    assert.equal("jetstream", err.code)
    assert.equal(10060, err.err_code)
    ack, err = app.js.publish(s, "x", { expected_last_msg_id = "nobody's" })
    assert.is_nil(ack)
    assert.equal(10070, err.err_code)
    assert.equal(1, app.js.stream_info(stream).state.messages)
  end)

  it("sends headers", function()
    local psub = app.js.pull_subscribe(stream .. ".>")
    assert(app.js.publish(stream .. ".a", "x", { headers = { ["X-Kind"] = "demo" },
      msg_id = "h1" }))
    local msg = assert(psub:fetch(1))[1]
    assert.equal("demo", msg:header "X-Kind")
    assert.equal("h1", msg:header "Nats-Msg-Id")
    psub:stop()
  end)

  it("says no_stream when no stream takes the subject", function()
    local ack, err = app.js.publish("nobody." .. stream, "x", { timeout = 0.3 })
    assert.is_nil(ack)
    assert.equal("no_stream", err.code)
  end)

  it("tries again for a stream that is about to come", function()
    local late = unique "late"
    core.spawn(function() -- when the message is on its way
      assert(app.js.add_stream { name = late, subjects = { late } })
    end)
    local ack = assert(app.js.publish(late, "x"))
    assert.equal(late, ack.stream)
    app.js.delete_stream(late)
  end)

  it("does not take the answer of somebody else for an acknowledgement", function()
    local subject = unique "fake"
    local handle = app.listen(subject, function() return { hello = "I am no stream" } end)
    local ack, err = app.js.publish(subject, "x")
    handle:stop()
    assert.is_nil(ack)
    assert.equal("jetstream", err.code)
    assert.truthy(err.message:find("does not come from a stream", 1, true))
  end)

  it("raises for wrong options", function()
    local ok, err = pcall(app.js.publish, stream .. ".a", "x", { msgid = "1" })
    assert.is_false(ok)
    assert.truthy(tostring(err):find("msg_id", 1, true))
    assert.has_error(function()
      app.js.publish(stream .. ".a", "x", { expected_last_seq = 1.5 })
    end)
    assert.has_error(function() app.js.publish("a b", "x") end)
  end)
end)
