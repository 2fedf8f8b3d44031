-- What the log says of messages whose handler fails: a warning for each retry, one error when
-- the message is given up.
local eventually = require "spec.support.eventually"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

describe("the log of a message that fails", function()
  local stream, svc

  local SERVICE = [[
    local consume = require "lunats.js.consume"
    consume.backoff = { 0.01 }
    app.js.pull_subscribe("%s.a", { durable = "worker" }):consume({ %s }, function(msg)
      %s
    end)
  ]]

  before_each(function()
    stream = unique "fails"
    assert(app.js.add_stream { name = stream, subjects = { stream .. ".>" } })
  end)
  after_each(function()
    svc:stop()
    app.js.delete_stream(stream)
  end)

  local function start(options, body)
    svc = testing.start(SERVICE:format(stream, options, body))
    assert(app.js.publish(stream .. ".a", { n = 1 }))
  end

  local function lines(level)
    local found = {}
    for _, line in ipairs(svc:logs "message 1 on") do
      if line.level == level then found[#found + 1] = line end
    end
    return found
  end

  local function given_up()
    eventually("an error line", function() return lines "error"[1] end)
    svc:stop() -- and all is said
    svc:errors()
    assert.equal(1, #lines "error")
    return lines "error"[1]
  end

  it("has a warning for each retry, with the attempt and the traceback", function()
    start("max_deliver = 3", 'if msg.metadata.num_delivered < 3 then error "not yet" end')
    eventually("both retries", function() return #lines "warn" == 2 end)
    local who = ("consumer 'worker' of stream '%s': message 1 on %s.a "):format(stream, stream)
    for i, line in ipairs(lines "warn") do
      local text = who .. ("failed (delivery %d of 3) and comes again in 0.01 s: "):format(i)
      text = text .. "service.lua:4: not yet\nstack traceback:"
      assert.equal(text, line.message:sub(1, #text))
      assert.same({ stream = stream, consumer = "worker", sequence = 1,
        subject = stream .. ".a", attempt = i, max_deliver = 3, delay = 0.01 }, line.fields)
    end
    assert.same({}, lines "error")
    assert.equal(2, #svc:errors()) -- a spec is to know of them all the same
  end)

  it("says once how to end what fails without end", function()
    start("", 'if msg.metadata.num_delivered < 8 then error "not yet" end')
    eventually("all retries", function() return #lines "warn" == 7 end)
    for i, line in ipairs(lines "warn") do
      local more = i == 5 and ", and so on without end: max_deliver of the consumer sets one"
        or ""
      assert.matches(("failed (delivery %d%s) and comes again"):format(i, more), line.message,
        1, true)
    end
    svc:errors()
  end)

  it("has one error when the last delivery fails", function()
    start("max_deliver = 2", 'error "never"')
    local line = given_up()
    assert.matches("message 1 on .* is given up after 2 deliveries %(the handler failed%): "
      .. "service.lua:4: never\nstack traceback:", line.message)
    assert.same({ stream = stream, consumer = "worker", sequence = 1, subject = stream .. ".a",
      deliveries = 2, reason = "the handler failed" }, line.fields)
    assert.equal(1, #lines "warn")
    eventually("settled", function()
      return app.js.consumer_info(stream, "worker").num_ack_pending == 0
    end)
  end)

  it("has one error when a handler returns why, without a traceback", function()
    start("max_deliver = 1", 'return nil, "no such customer"')
    assert.matches("after 1 delivery %(the handler failed%): no such customer$",
      given_up().message)
    assert.same({}, lines "warn")
  end)

  it("has one error when the dead letter is stored", function()
    local letters = unique "letters"
    assert(app.js.add_stream { name = letters })
    finally(function() app.js.delete_stream(letters) end)
    start(("max_deliver = 1, dead_letter = %q"):format(letters), 'error "never"')
    local line = given_up()
    assert.matches(("is given up after 1 delivery (the handler failed) and is a dead letter "
      .. "on '%s': service.lua:4: never"):format(letters), line.message, 1, true)
    assert.equal(letters, line.fields.dead_letter)
    assert.equal(1, app.js.stream_info(letters).state.messages)
  end)

  it("has one error when the handler terminates it, with the reason", function()
    start("", 'msg:term "wrong currency"')
    local line = given_up()
    assert.equal(("consumer 'worker' of stream '%s': message 1 on %s.a is given up: the script "
      .. "has terminated it: wrong currency"):format(stream, stream), line.message)
    assert.same({ stream = stream, consumer = "worker", sequence = 1, subject = stream .. ".a",
      deliveries = 1, reason = "wrong currency" }, line.fields)
  end)

  it("has one error where a push consumer has a limit", function()
    svc = testing.start(([[
      require "lunats.js.push".nak_delay = 0.01
      app.js.subscribe("%s.a", { durable = "worker", config = { max_deliver = 2 } }, function()
        error "never"
      end)
    ]]):format(stream))
    assert(app.js.publish(stream .. ".a", { n = 1 }))
    assert.matches("is given up after 2 deliveries (the handler failed): ", given_up().message,
      1, true)
    assert.matches("(delivery 1 of 2)", lines "warn"[1].message, 1, true)
  end)

  it("has an error where nothing comes of it: the handler decides", function()
    start("manual_ack = true", 'error "never"')
    assert.matches("message 1 on .* failed %(delivery 1%): service.lua:4: never",
      given_up().message)
    assert.same({}, lines "warn")
  end)

  it("has an error for a message that was acknowledged before its handler failed", function()
    start("", 'msg:ack() error "too late"')
    assert.matches("was settled before its handler failed %(delivery 1%): service.lua:4: too "
      .. "late", given_up().message)
    assert.same({}, lines "warn")
  end)
end)
