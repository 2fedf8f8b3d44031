-- The message that a handler gets.
local clean_loop = require "spec.support.clean_loop"
local eventually = require "spec.support.eventually"
local listening = require "spec.support.listening"
local testing = require "lunats.testing"

local subject, listen, ask = listening.subject, listening.listen, listening.ask

after_each(listening.stop_all)

describe("msg", function()
  it("answers 400 with the byte offset when the body is no JSON", function()
    local reply, err = ask("return msg.data", '{"a":1,}')
    assert.is_nil(reply)
    assert.equal(400, err.status)
    assert.matches("spec%.listen", err.message)
    assert.matches("8", err.message)
  end)

  it("raises an error for bad JSON that the handler may catch", function()
    local reply = assert(ask([[
      local ok, err = pcall(function() return msg.data end)
      return { ok = ok, code = err.code, text = tostring(err), raw = msg.raw }
    ]], "{"))
    assert.is_false(reply.data.ok)
    assert.equal("bad_json", reply.data.code)
    assert.equal("{", reply.data.raw)
  end)

  it("has nil as data when the payload is empty", function()
    local reply = assert(ask [[return { kind = type(msg.data), n = #msg.raw }]])
    assert.same({ kind = "nil", n = 0 }, reply.data)
  end)

  it("gives the raw text with data_type string", function()
    local s = subject()
    listen(s, { data_type = "string" }, function(msg) return msg.data .. "!" end)
    assert.equal("{!", assert(app.request(s, "{", { data_type = "string" })).data)
  end)

  it("shows headers by any case, repeated ones as a list", function()
    local reply = assert(ask([[
      return { one = msg:header "x-ONE", two = msg:header "two", none = msg:header "none",
        all = msg.headers }
    ]], "x", { headers = { ["X-One"] = "1", Two = { "a", "b", 3 } } }))
    assert.equal("1", reply.data.one)
    assert.equal("a", reply.data.two)
    assert.is_nil(reply.data.none)
    assert.same({ ["X-One"] = "1", Two = { "a", "b", "3" } }, reply.data.all)
  end)

  it("has an empty table of headers when there are none", function()
    local reply = assert(ask [[return { kind = type(msg.headers), first = next(msg.headers) }]])
    assert.same({ kind = "table" }, reply.data)
  end)

  it("responds with headers", function()
    local reply = assert(ask [[assert(msg:respond({ a = 1 }, { headers = { Kind = "x" } }))]])
    assert.equal("x", reply:header "kind")
    assert.equal(1, reply.data.a)
  end)

  for name, after in pairs {
    ["returns"] = function() return "second" end,
    ["refuses"] = function() return nil, "second" end,
    ["raises"] = function() error "second" end,
  } do
    it("that has responded gets no second reply when the handler " .. name, function()
      clean_loop.expected_errors(name == "raises" and 1 or 0)
      local s = subject()
      listen(s, function(msg)
        assert(msg:respond "first")
        return after()
      end)
      local replies = assert(app.request_many(s, nil, { stall = 0.05 }))
      assert.equal(1, #replies)
      assert.equal("first", replies[1].raw)
      assert.equal(name == "raises" and 1 or 0, #testing.errors())
    end)
  end

  it("that one of two listeners has responded with is the only one, also while it goes on",
    function()
      local s, ended = subject(), false
      listen(s, function(msg)
        assert(msg:respond "first")
        eventually("the end of the other handler", function() return ended end)
      end)
      listen(s, function()
        ended = true
        return "second"
      end)
      local replies = assert(app.request_many(s, nil, { stall = 0.05 }))
      assert.equal(1, #replies)
      assert.equal("first", replies[1].raw)
    end)

  it("that was responded with is the only one when the handler is cut by a stop", function()
    local s, inbox, replies = subject(), subject "inbox", {}
    listen(inbox, { queue = false, data_type = "string" }, function(msg)
      replies[#replies + 1] = msg.raw
    end)
    local svc = testing.start(([[
      app.listen(%q, function(msg) msg:respond "first" app.sleep(100) end)
    ]]):format(s), { drain_timeout = 0.05 })
    assert(app.publish(s, "x", { reply_to = inbox }))
    eventually("the reply", function() return #replies > 0 end)
    svc:stop()
    assert(app.flush()) -- what it sent before it closed is here now
    assert.same({ "first" }, replies)
  end)

  it("cannot respond without a reply subject", function()
    local s, result = subject(), nil
    listen(s, function(msg) result = { msg:respond "x" } end)
    assert(app.publish(s, "x"))
    eventually("the handler", function() return result end)
    assert.is_nil(result[1])
    assert.equal("no_reply", result[2].code)
  end)

  it("can be read long after its handler", function()
    local kept = {}
    local s = subject()
    listen(s, function(msg) kept[#kept + 1] = msg return 1 end)
    for i = 1, 50 do assert(app.request(s, { n = i }, { headers = { N = i } })) end
    collectgarbage()
    for i, msg in ipairs(kept) do
      assert.equal(i, msg.data.n)
      assert.equal(tostring(i), msg:header "N")
      assert.equal(s, msg.subject)
    end
    assert.is_nil(kept[1].unknown)
    assert.has_error(function() kept[1].subject = "x" end, "msg.subject cannot be set")
  end)

  it("survives collections inside of the handler", function()
    local s = subject()
    listen(s, function(msg)
      collectgarbage()
      local n = msg.data.n
      app.sleep(0)
      collectgarbage()
      return { n = n, again = msg.data.n }
    end)
    for i = 1, 10 do
      assert.same({ n = i, again = i }, assert(app.request(s, { n = i })).data)
    end
  end)

  it("methods want a msg", function()
    local reply = assert(ask [[
      return { pcall(msg.header, {}, "x"), (pcall(msg.header, nil, "x")) }
    ]])
    assert.is_false(reply.data[1])
    assert.is_false(reply.data[#reply.data])
  end)
end)
