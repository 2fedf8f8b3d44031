-- What the sender of a message gets: replies and error replies.
local clean_loop = require "spec.support.clean_loop"
local eventually = require "spec.support.eventually"
local listening = require "spec.support.listening"
local testing = require "lunats.testing"

local subject, listen, ask = listening.subject, listening.listen, listening.ask

after_each(listening.stop_all)

describe("a reply", function()
  for _, case in ipairs {
    { "a string as it is", [["text"]], "text" },
    { "an empty string as an empty payload", [[""]], "" },
    { "bytes as they are", [["\0\255\r\n"]], "\0\255\r\n" },
    { "an integer as JSON", "1700000000123456789", "1700000000123456789" },
    { "a float as JSON", "0.1", "0.1" },
    { "true as JSON", "true", "true" },
    { "false as JSON", "false", "false" },
    { "a list as JSON", "{ 1, 2 }", "[1,2]" },
    { "a table as JSON", [[{ a = "b" }]], '{"a":"b"}' },
    { "null as JSON", "app.json.null", "null" },
  } do
    it("sends " .. case[1], function()
      local reply = assert(ask("return " .. case[2]))
      assert.equal(case[3], reply.raw)
    end)
  end

  it("is not sent for nil", function()
    local reply, err, seen = ask([[app.publish "seen"]], "x", { timeout = 0.3 })
    assert.is_nil(reply)
    assert.equal("timeout", err.code)
    assert.is_table(seen)
  end)

  it("is not sent to a message that wants none", function()
    local s, called = subject(), nil
    listen(s, function() called = true return "x" end)
    assert(app.publish(s, "x"))
    eventually("the call", function() return called end)
  end)

  it("that is larger than max_payload becomes an error reply, its size is logged", function()
    local reply, err, _, errors = ask [[return ("x"):rep(app.nats.max_payload + 1)]]
    assert.is_nil(reply)
    assert.equal("service_error", err.code)
    assert.equal(500, err.status)
    assert.matches("max_payload", err.message)
    assert.equal(1, #errors)
    assert.matches(("the reply of %d bytes"):format(app.nats.max_payload + 1), errors[1])
  end)

  it("may be as large as max_payload", function()
    local reply = assert(ask("return msg.raw", ("x"):rep(app.nats.max_payload)))
    assert.equal(app.nats.max_payload, #reply.raw)
  end)

  for _, case in ipairs {
    { "a function", "return print", "cannot encode a function" },
    { "a file", "return io.stdout", "cannot encode a userdata" },
    { "a function inside of a table", "return { a = { b = print } }", "a%.b: cannot encode" },
    { "a table with itself in it", "local t = {} t.t = t return t", "does one contain itself" },
  } do
    it("that is " .. case[1] .. " becomes an error reply that names the handler", function()
      local reply, err, _, errors = ask(case[2])
      assert.is_nil(reply)
      assert.equal(500, err.status)
      assert.matches("the result of the handler at [^ ]+:5 cannot be sent: .*" .. case[3],
        err.message)
      assert.equal(1, #errors)
      assert.matches("^listener spec%.listen[^ ]+: the result of the handler", errors[1])
      assert.is_nil(errors[1]:find("traceback", 1, true))
    end)
  end

  it("that cannot be sent is no error where no reply is wanted", function()
    local s, called = subject(), nil
    listen(s, function() called = true return print end)
    assert(app.publish(s, "x"))
    eventually("the call", function() return called end)
    assert.same({}, testing.errors())
  end)

  it("that fails names the subject, too, where the listener has another name", function()
    local s = subject()
    local svc = testing.start(([[app.listen(%q, function() return print end)
      app.listen(%q, { name = "raiser" }, function() error "oh" end)]]):format(s .. ".*", s))
    svc:request(s .. ".seven", "")
    svc:request(s, "")
    local errors = svc:errors()
    svc:stop()
    assert.truthy(errors[1]:find(("listener %s.* (%s.seven): "):format(s, s), 1, true))
    assert.truthy(errors[2]:find(("listener raiser (%s): "):format(s), 1, true))
  end)
end)

describe("a msg as the result of a handler", function()
  ---Asks a gateway that passes on what `source` answers.
  local function through(source, gateway, opts)
    local inner, outer = subject "inner", subject "outer"
    if source then listen(inner, source) end
    listen(outer, function(msg) return gateway(inner, msg) end)
    return app.request(outer, "ask", opts)
  end

  local function forward(inner, msg) return app.request(inner, msg.raw) end

  it("is passed on, byte for byte", function()
    for _, bytes in ipairs { "", "\0\255\r\n", '{"a":1}' } do
      local reply = assert(through(function() return bytes end, forward))
      assert.equal(bytes, reply.raw)
    end
  end)

  it("is passed on with its headers, without those of NATS", function()
    local reply = assert(through(function(msg)
      msg:respond("x", { headers = { Kind = "k", Several = { "1", "2" },
        ["Nats-Msg-Id"] = "7", ["nats-sequence"] = "9" } })
    end, forward))
    assert.same({ Kind = "k", Several = { "1", "2" } }, reply.headers)
    assert.equal("x", reply.raw)
  end)

  it("may be the request itself", function()
    local s = subject()
    listen(s, function(msg) return msg end)
    local reply = assert(app.request(s, "x", { headers = { A = "b" } }))
    assert.same({ "x", "b" }, { reply.raw, reply:header "A" })
  end)

  it("may be a message of a stream", function()
    local stream = subject():gsub("%W", "_")
    assert(app.js.add_stream { name = stream, subjects = { stream }, storage = "memory" })
    finally(function() app.js.delete_stream(stream) end)
    assert(app.js.publish(stream, { n = 1 }, { headers = { A = "b" }, msg_id = "m" }))
    local psub = assert(app.js.pull_subscribe(stream, { stream = stream }))
    local s = subject()
    listen(s, function() return psub:fetch(1)[1] end)
    local reply = assert(app.request(s))
    assert.same({ { n = 1 }, { A = "b" } }, { reply.data, reply.headers })
    psub:stop()
  end)

  it("that is an error of a service is one for the sender, too", function()
    local _, err = through(function() return nil, { code = 418, message = "teapot" } end,
      function(inner) return assert(app.request_many(inner, nil, { max = 1 }))[1] end)
    assert.same({ "service_error", 418, "teapot" }, { err.code, err.status, err.message })
  end)

  it("that is word of the server is an error, too", function()
    local stream = subject():gsub("%W", "_")
    assert(app.js.add_stream { name = stream, subjects = { stream }, storage = "memory" })
    finally(function() app.js.delete_stream(stream) end)
    assert(app.js.add_consumer { stream = stream, durable_name = "c", ack_policy = "explicit" })
    local _, err = through(nil, function()
      return app.request("$JS.API.CONSUMER.MSG.NEXT." .. stream .. ".c", { no_wait = true })
    end)
    assert.same({ "service_error", 404, "No Messages" }, { err.code, err.status, err.message })
  end)

  it("can be responded with, and given other headers", function()
    local source = function(msg) msg:respond("x", { headers = { A = "1" } }) end
    local reply = assert(through(source, function(inner, msg)
      assert(msg:respond(app.request(inner)))
    end))
    assert.same({ "x", { A = "1" } }, { reply.raw, reply.headers })
    reply = assert(through(source, function(inner, msg)
      assert(msg:respond(app.request(inner), { headers = { B = "2" } }))
    end))
    assert.same({ "x", { B = "2" } }, { reply.raw, reply.headers })
  end)

  for _, case in ipairs {
    { "an error of the service behind it", 404, "^gone$",
      function() return nil, { code = 404, message = "gone" } end },
    { "a time-out as 504", 504, "timed out", function() end },
    { "nobody listening as 503", 503, "nobody listens" },
    { "what is too large for the server as 413", 413, "max_payload", false, function(inner)
      return app.request(inner, ("x"):rep(app.nats.max_payload + 1))
    end },
    { "a key that is not there as 404", 404, "^x$", false, function()
      return nil, require "lunats.core".error("not_found", "x")
    end },
  } do
    it("beside it passes on " .. case[1], function()
      local reply, err = through(case[4], case[5] or function(inner, msg)
        return app.request(inner, msg.raw, { timeout = 0.1 })
      end)
      assert.is_nil(reply)
      assert.equal("service_error", err.code)
      assert.equal(case[2], err.status)
      assert.matches(case[3], err.message)
    end)
  end

  it("that is no JSON is not blamed on the sender", function()
    clean_loop.expected_errors(1)
    local _, err = through(function() return "no JSON" end, function(inner)
      return assert(app.request(inner)).data
    end)
    assert.equal(500, err.status)
    assert.equal(1, #testing.errors())
  end)
end)

describe("an error reply", function()
  for _, case in ipairs {
    { "nil and a text", [[return nil, "no such order"]], 500, "^no such order$" },
    { "nil and a table", [[return nil, { code = 404, message = "gone" }]], 404,
      "^gone$" },
    { "nil and a table with status", [[return nil, { status = 409, message = "x" }]],
      409, "^x$" },
    { "nil and an error of the API", [[return app.request("nobody.listens", "x")]],
      503, "nobody listens" },
    { "nil and a code that is none", [[return nil, { code = 1, message = "x" }]],
      500, "^x$" },
    { "nil and false", [[return nil, false]], 500, "false" },
    { "nil and a number", [[return nil, 7]], 500, "7" },
    { "nil and several lines", [[return nil, "first\r\nX: y\nmore"]], 500,
      "^first$" },
    { "nil and an object without text", [[return nil, shy]], 500, "no text" },
    { "error with a string", [[error "broken"]], 500, "broken" },
    { "error with a table", [[error { code = 403, message = "no" }]], 403, "^no$" },
    { "error with nil", [[error(nil)]], 500, "nil" },
    { "error with false", [[error(false)]], 500, "false" },
    { "error with a userdata", [[error(io.stdout)]], 500, "file" },
    { "error with an object whose __tostring fails", [[error(shy)]], 500, "." },
    { "error with an object whose __tostring is odd", [[error(odd)]], 500, "." },
    { "error with an empty text", [[error("", 0)]], 500, "." },
    { "an error of Lua", [[return nil + 1]], 500, "arithmetic" },
    { "a stack overflow", [[return overflow()]], 500, "overflow" },
    { "a text that is too long for memory", [[return ("x"):rep(1 << 60)]], 500,
      "too large" },
    { "coroutine.yield", [[coroutine.yield()]], 500, "coroutine.yield" },
    { "a long text", [[error(("y"):rep(5000))]], 500, "yyy" },
  } do
    it("is sent for " .. case[1], function()
      local reply, err = ask(case[2])
      assert.is_nil(reply)
      assert.equal("service_error", err.code)
      assert.equal(case[3], err.status)
      assert.matches(case[4], err.message)
    end)
  end

  it("is not sent when the handler catches the error", function()
    local reply = assert(ask [[
      local ok, err = pcall(error, "mine")
      return { ok = ok, err = err }
    ]])
    assert.same({ ok = false, err = "mine" }, reply.data)
  end)

  it("leaves the listener alive", function()
    clean_loop.expected_errors(1)
    local s, calls = subject(), 0
    listen(s, function()
      calls = calls + 1
      if calls == 1 then error "once" end
      return calls
    end)
    assert.is_nil(app.request(s))
    assert.equal(2, assert(app.request(s)).data)
    assert.equal(1, #testing.errors())
  end)
end)
