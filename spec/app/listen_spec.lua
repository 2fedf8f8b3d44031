-- Listeners: replies, errors, groups, concurrency, stopping.
local clean_loop = require "spec.support.clean_loop"
local eventually = require "spec.support.eventually"
local testing = require "lunats.testing"

local count = 0
local function subject(name)
  count = count + 1
  return ("spec.listen.%s.%s.%d"):format(name or "x", app.instance_id, count)
end

local handles -- of listeners and services: what is stopped after each test

local function listen(...)
  local handle = app.listen(...)
  handles[#handles + 1] = handle
  return handle
end

---Asks a service whose handler of `msg` has this body. Returns also what the handler has
---published on "seen".
local function ask(body, message, opts)
  local s = subject()
  local svc = testing.start(([[
    local function raise() error "no text" end
    local shy = setmetatable({}, { __tostring = raise })
    local odd = setmetatable({}, { __tostring = function() return 42 end })
    local function overflow() return 1 + overflow() end
    app.listen(%q, function(msg) %s end)
    app.listen("unused", function() return shy, odd, overflow end)
  ]]):format(s, body))
  local reply, err = app.request(s, message, opts)
  local seen = svc:calls "seen"
  svc:errors() -- those that are sent as replies are expected here
  svc:stop()
  return reply, err, seen[1]
end

before_each(function() handles = {} end)
after_each(function()
  for _, handle in ipairs(handles) do handle:stop() end
end)

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

  it("that is larger than max_payload becomes an error reply", function()
    local reply, err = ask [[return ("x"):rep(app.nats.max_payload + 1)]]
    assert.is_nil(reply)
    assert.equal("service_error", err.code)
    assert.equal(500, err.status)
    assert.matches("max_payload", err.message)
  end)

  it("may be as large as max_payload", function()
    local reply = assert(ask("return msg.raw", ("x"):rep(app.nats.max_payload)))
    assert.equal(app.nats.max_payload, #reply.raw)
  end)

  it("that cannot be encoded becomes an error reply", function()
    local reply, err = ask [[return { a = { b = print } }]]
    assert.is_nil(reply)
    assert.equal(500, err.status)
    assert.matches("a%.b", err.message)
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
      500, "nobody listens" },
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

describe("app.listen", function()
  it("takes several subjects", function()
    local a, b = subject "a", subject "b"
    local handle = listen({ a, b }, function(msg) return msg.subject end)
    assert.equal(a, assert(app.request(a)).raw)
    assert.equal(b, assert(app.request(b)).raw)
    handle:stop()
    for _, s in ipairs { a, b } do
      local _, err = app.request(s, nil, { timeout = 1 })
      assert.equal("no_responders", err.code)
    end
  end)

  it("gives every pattern its own copy", function()
    local base, seen = subject "copy", {}
    for _, pattern in ipairs { base .. ".b", base .. ".*", base .. ".>" } do
      listen(pattern, function() seen[#seen + 1] = pattern end)
    end
    assert(app.publish(base .. ".b"))
    eventually("three copies", function() return #seen == 3 end)
    assert(app.flush())
    assert.equal(3, #seen)
  end)

  it("calls every listener of one subject, the first result that is not nil is the reply",
    function()
      local s, calls = subject(), {}
      listen(s, function() calls[#calls + 1] = 1 end)
      listen(s, function() calls[#calls + 1] = 2 return "second" end)
      listen(s, function() calls[#calls + 1] = 3 return "third" end)
      assert.equal("second", assert(app.request(s)).raw)
      assert.same({ 1, 2, 3 }, calls)
      local replies = assert(app.request_many(s, nil, { stall = 0.05 }))
      assert.equal(1, #replies)
    end)

  it("does not let the error of one listener mask the reply of another", function()
    clean_loop.expected_errors(1)
    local s = subject()
    listen(s, function() error "first fails" end)
    listen(s, function() app.sleep(0.01) return "late" end)
    assert.equal("late", assert(app.request(s)).raw)
    assert.equal(1, #testing.errors())
  end)

  it("sends the first error when no listener of the subject answers", function()
    local s = subject()
    listen(s, function() app.sleep(0.01) return nil, { code = 404, message = "later" } end)
    listen(s, function() return nil, { code = 410, message = "first" } end)
    listen(s, function() end)
    local _, err = app.request(s)
    assert.equal(410, err.status)
  end)

  it("may be called inside a handler", function()
    local outer, inner = subject "outer", subject "inner"
    listen(outer, function()
      listen(inner, function() return "inside" end)
      return assert(app.request(inner)).raw
    end)
    assert.equal("inside", assert(app.request(outer)).raw)
  end)

  it("works with a thousand listeners", function()
    local base = subject "many"
    local subjects = {}
    for i = 1, 1000 do subjects[i] = base .. "." .. i end
    local handle = listen(subjects, function(msg) return msg.subject end)
    for _, i in ipairs { 1, 500, 1000 } do
      assert.equal(subjects[i], assert(app.request(subjects[i])).raw)
    end
    handle:stop()
    handle:stop()
    local _, err = app.request(subjects[500])
    assert.equal("no_responders", err.code)
  end)

  for _, case in ipairs {
    { "an unknown option, and names the nearest", { concurency = 1 },
      "did you mean 'concurrency'" },
    { "an unknown option far from all", { zzzzzzzzzz = 1 }, "unknown option 'zzzzzzzzzz'" },
    { "a number as queue", { queue = 1 }, "queue" },
    { "true as queue", { queue = true }, "queue is false" },
    { "an empty queue", { queue = "" }, "queue" },
    { "a queue with a blank", { queue = "a b" }, "queue" },
    { "a queue with a line break", { queue = "a\r\nPUB x 1\r\n" }, "queue" },
    { "concurrency 0", { concurrency = 0 }, "concurrency must be" },
    { "concurrency 1.5", { concurrency = 1.5 }, "concurrency must be" },
    { "pending as text", { pending = "x" }, "pending" },
    { "an unknown data_type", { data_type = "xml" }, "data_type must be" },
    { "options that are no table", 5, "must be a table" },
  } do
    it("refuses " .. case[1], function()
      local ok, err = pcall(app.listen, subject(), case[2], function() end)
      assert.is_false(ok)
      assert.matches(case[3], tostring(err))
    end)
  end

  for _, bad in ipairs { "", "a b", "a..b", ".a", "a.", "a\r\nb", "a.>.b", "a\tb" } do
    it(("refuses the subject %q"):format(bad), function()
      local ok, err = pcall(app.listen, bad, function() end)
      assert.is_false(ok)
      assert.matches("subject", tostring(err))
    end)
  end

  it("refuses wrong types", function()
    for _, arguments in ipairs {
      { n = 0 }, { "a.b" }, { nil, print, n = 2 }, { 5.5, {}, {}, n = 3 }, { {}, print },
      { "a.b", {}, "x" }, { { "a.b", true }, print },
    } do
      assert.has_error(function()
        app.listen(table.unpack(arguments, 1, arguments.n or #arguments))
      end)
    end
  end)

  it("leaves nothing behind when one of its subjects is wrong", function()
    local good = subject()
    assert.has_error(function() app.listen({ good, "a b" }, function() return 1 end) end)
    local _, err = app.request(good, nil, { timeout = 1 })
    assert.equal("no_responders", err.code)
  end)
end)

describe("a queue group", function()
  local SERVICE = [[
    app.config { name = "twin" }
    app.listen("%s", %s function(msg)
      app.publish("%s", { who = app.instance_id, n = msg.data })
    end)
  ]]

  ---Starts two instances, publishes `n` messages and returns how many each of them got.
  local function share(options, n)
    local s, out = subject "shared", subject "out"
    local got, total = {}, 0
    listen(out, { queue = false }, function(msg)
      got[msg.data.who] = (got[msg.data.who] or 0) + 1
      total = total + 1
    end)
    for _ = 1, 2 do
      handles[#handles + 1] = testing.start(SERVICE:format(s, options, out))
    end
    for i = 1, n do assert(app.publish(s, i)) end
    return got, function() return total end
  end

  it("is shared by the instances of a service", function()
    local got, total = share("", 200)
    eventually("all messages", function() return total() >= 200 end)
    assert(app.flush())
    assert.equal(200, total())
    local instances = 0
    for _, n in pairs(got) do
      instances = instances + 1
      assert.is_true(n > 20)
    end
    assert.equal(2, instances)
  end)

  it("is not used with queue = false: every instance sees everything", function()
    local got, total = share("{ queue = false },", 20)
    eventually("all messages", function() return total() == 40 end)
    for _, n in pairs(got) do assert.equal(20, n) end
  end)

  it("may be named, over different subjects", function()
    local base, seen = subject "named", 0
    listen(base .. ".*", { queue = "group" }, function() seen = seen + 1 end)
    listen(base .. ".a", { queue = "group" }, function() seen = seen + 1 end)
    for _ = 1, 10 do assert(app.publish(base .. ".a")) end
    assert(app.flush())
    eventually("all messages", function() return seen >= 10 end)
    assert.equal(10, seen)
  end)
end)

describe("concurrency", function()
  it("1 keeps the order, even of handlers that wait", function()
    local s, order, running, most = subject(), {}, 0, 0
    listen(s, { concurrency = 1 }, function(msg)
      running = running + 1
      most = math.max(most, running)
      app.sleep(msg.data % 3 == 0 and 0.002 or 0)
      order[#order + 1] = msg.data
      running = running - 1
    end)
    for i = 1, 60 do assert(app.publish(s, i)) end
    eventually("all messages", function() return #order == 60 end)
    for i = 1, 60 do assert.equal(i, order[i]) end
    assert.equal(1, most)
  end)

  it("N bounds the handlers that run while other listeners go on", function()
    local s, other = subject(), subject "other"
    local running, most, done = 0, 0, 0
    listen(s, { concurrency = 3 }, function()
      running = running + 1
      most = math.max(most, running)
      app.sleep(0.01)
      running, done = running - 1, done + 1
    end)
    listen(other, function() return "free" end)
    for i = 1, 30 do assert(app.publish(s, i)) end
    assert(app.flush())
    eventually("busy handlers", function() return running == 3 end)
    assert.equal("free", assert(app.request(other)).raw)
    assert.is_true(done < 30)
    eventually("all messages", function() return done == 30 end)
    assert.equal(3, most)
  end)

  it("of one listener holds back the messages of its subject, not for ever", function()
    local s, first, second = subject(), 0, 0
    local handle = listen(s, { concurrency = 1 }, function()
      first = first + 1
      app.sleep(0.05)
    end)
    listen(s, function() second = second + 1 end)
    for i = 1, 3 do assert(app.publish(s, i)) end
    eventually("the first", function() return first == 1 end)
    handle:stop() -- it was the one that held the others back
    eventually("the other listener's messages", function() return second == 3 end)
    assert.equal(1, first)
  end)
end)

describe("handle:stop", function()
  it("handles what has arrived, then nobody answers", function()
    local s, done = subject(), 0
    local handle = listen(s, { concurrency = 1 }, function()
      app.sleep(0.001)
      done = done + 1
    end)
    for i = 1, 30 do assert(app.publish(s, i)) end
    assert(app.flush())
    handle:stop()
    local _, err = app.request(s, nil, { timeout = 1 })
    assert.equal("no_responders", err.code)
    eventually("all that had arrived", function() return done == 30 end)
  end)

  it("may be called by the handler itself", function()
    local s, handle, calls = subject(), nil, 0
    handle = listen(s, function()
      calls = calls + 1
      handle:stop()
      app.sleep(0.001)
      collectgarbage()
      return "last words"
    end)
    assert.equal("last words", assert(app.request(s)).raw)
    local _, err = app.request(s)
    assert.equal("no_responders", err.code)
    assert.equal(1, calls)
  end)

  it("in the middle of a burst loses nothing that had arrived before", function()
    local s, handle, calls = subject(), nil, 0
    handle = listen(s, function()
      calls = calls + 1
      if calls == 10 then handle:stop() end
    end)
    for i = 1, 1000 do assert(app.publish(s, i)) end
    assert(app.flush())
    assert(app.flush())
    eventually("the burst", function() return calls >= 10 end)
    local now = calls
    assert(app.flush())
    assert.equal(now, calls)
  end)

  it("lets another listener of the subject go on", function()
    local s, handle, calls = subject(), nil, 0
    handle = listen(s, function() handle:stop() calls = calls + 1 end)
    listen(s, function() return "here" end)
    assert.equal("here", assert(app.request(s)).raw)
    assert.equal("here", assert(app.request(s)).raw)
    assert.equal(1, calls)
  end)

  it("and app.listen on the same subject at once works", function()
    local s = subject()
    local handle = listen(s, function() return "old" end)
    handle:stop()
    listen(s, function() return "new" end)
    eventually("the new one", function() return assert(app.request(s)).raw == "new" end)
    for _ = 1, 5 do assert.equal("new", assert(app.request(s)).raw) end
  end)
end)
