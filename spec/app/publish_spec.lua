-- Sending: publish, flush, request_many; what must never reach the wire.
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local own = require "spec.support.own"

local count = 0
local function subject(name)
  count = count + 1
  return ("spec.publish.%s.%s.%d"):format(name or "x", app.instance_id, count)
end

local function listen(...) return own.keep(app.listen(...)) end

after_each(own.close)

---Publishes and returns the msg that arrives.
local function through(message, opts)
  local s, got = subject(), nil
  listen(s, function(msg) got = msg end)
  assert(app.publish(s, message, opts))
  return eventually("the message", function() return got end)
end

---Ways to send something, to check that all of them refuse the same.
local senders = {
  ["app.publish"] = app.publish,
  ["app.request"] = app.request,
  ["app.request_many"] = app.request_many,
}

local BAD_SUBJECTS = {
  "", " ", "a b", "a\tb", "a\r\nPUB x 1\r\n", "a\nb", ".", "a.", ".a", "a..b", "*", "a.*", ">",
  "a.>", "a\0b",
}

describe("app.publish", function()
  for _, case in ipairs {
    { "a string", "text", "text" },
    { "nil as an empty payload", nil, "" },
    { "a number as JSON", 2^53, "9007199254740992.0" },
    { "an integer as JSON", -1, "-1" },
    { "a boolean as JSON", false, "false" },
    { "a table as JSON", { "a", { b = true } }, '["a",{"b":true}]' },
    { "an empty list as JSON", app.json.array {}, "[]" },
    { "null as JSON", app.json.null, "null" },
  } do
    it("sends " .. case[1], function() assert.equal(case[3], through(case[2]).raw) end)
  end

  it("returns true", function() assert.is_true(app.publish(subject(), "x")) end)

  it("sends headers and reply_to", function()
    local headers = { A = "1", B = { "x", "y" } }
    local msg = through("x", { headers = headers, reply_to = "back.here" })
    assert.equal("back.here", msg.reply_to)
    assert.same(headers, msg.headers)
  end)

  it("delivers a reply to reply_to", function()
    local s, inbox, got = subject(), subject "inbox", nil
    listen(s, function(msg) return "to " .. msg.raw end)
    listen(inbox, { data_type = "string" }, function(msg) got = msg.data end)
    assert(app.publish(s, "you", { reply_to = inbox }))
    eventually("the reply", function() return got end)
    assert.equal("to you", got)
  end)

  it("raises for what JSON cannot hold, with the path", function()
    local ok, err = pcall(app.publish, subject(), { list = { 1, { fn = print } } })
    assert.is_false(ok)
    assert.matches("list%[2%]%.fn", tostring(err))
    assert.has_error(function() app.publish(subject(), print) end)
    assert.has_error(function() app.publish(subject(), 0 / 0) end)
    local loop = {}
    loop.loop = loop
    assert.has_error(function() app.publish(subject(), loop) end)
  end)

  it("returns too_large above max_payload", function()
    local ok, err = app.publish(subject(), ("x"):rep(app.nats.max_payload + 1))
    assert.is_nil(ok)
    assert.equal("too_large", err.code)
    assert.matches("max_payload", tostring(err))
    assert.is_true(app.publish(subject(), ("x"):rep(app.nats.max_payload)))
  end)

  it("returns too_large when the headers make it so", function()
    local ok, err = app.publish(subject(), ("x"):rep(app.nats.max_payload - 5),
      { headers = { A = ("y"):rep(100) } })
    assert.is_nil(ok)
    assert.equal("too_large", err.code)
  end)

  it("keeps the order of ten thousand messages", function()
    local s, n, wrong = subject(), 0, nil
    listen(s, { concurrency = 1 }, function(msg)
      n = n + 1
      if msg.data ~= n then wrong = wrong or n end
    end)
    for i = 1, 10000 do assert(app.publish(s, i)) end
    eventually("all messages", function() return n == 10000 end)
    assert.is_nil(wrong)
  end)

  for _, reply in ipairs { "a b", "", "a\r\nb", "x.*" } do
    it(("refuses the reply_to %q"):format(reply), function()
      local ok, err = pcall(app.publish, subject(), "x", { reply_to = reply })
      assert.is_false(ok)
      assert.matches("subject", tostring(err))
    end)
  end

  for _, case in ipairs {
    { "reply_to that is no string", { reply_to = 5 }, "reply_to" },
    { "headers that are no table", { headers = "x" }, "headers" },
    { "options that are no table", "x", "must be a table" },
    { "options with numbers as names", { "x" }, "names of options" },
    { "an unknown option", { header = {} }, "did you mean 'headers'" },
    { "the options of another function", { timeout = 1 }, "unknown option 'timeout'" },
  } do
    it("refuses " .. case[1], function()
      local ok, err = pcall(app.publish, subject(), "x", case[2])
      assert.is_false(ok)
      assert.matches(case[3], tostring(err))
    end)
  end

  it("names the line of the caller in an error", function()
    local _, err = pcall(function() app.publish("a b", "x") end)
    assert.matches("^spec/app/publish_spec.lua:%d+: invalid subject 'a b'", tostring(err))
  end)
end)

describe("nothing can be smuggled in", function()
  for name, send in pairs(senders) do
    for _, bad in ipairs(BAD_SUBJECTS) do
      it(("by the subject %q of %s"):format(bad, name), function()
        local ok, err = pcall(send, bad, "x")
        assert.is_false(ok)
        assert.matches("invalid subject", tostring(err))
      end)
    end

    for _, bad in ipairs { {}, false, print } do
      it(("by a %s as subject of %s"):format(type(bad), name), function()
        assert.has_error(function() send(bad, "x") end)
      end)
    end

    for _, header in ipairs { "", "A B", "A:", "A\r\nB", "A\n", "\0", "A\tB", 1 } do
      it(("by the header name %q of %s"):format(header, name), function()
        local ok, err = pcall(send, subject(), "x", { headers = { [header] = "v" } })
        assert.is_false(ok)
        assert.matches("header", tostring(err))
      end)
    end

    for _, value in ipairs { "a\r\nEvil: 1", "a\n", "\r", "\0", { {} }, { "a\nb" }, true } do
      it(("by the header value %s of %s"):format(type(value) == "string"
        and ("%q"):format(value) or type(value), name), function()
        local ok, err = pcall(send, subject(), "x", { headers = { A = value } })
        assert.is_false(ok)
        assert.matches("header", tostring(err))
      end)
    end
  end

  it("by msg:respond", function()
    local s, errors = subject(), {}
    listen(s, function(msg)
      for _, headers in ipairs { { ["A\r\nB"] = "1" }, { A = "1\r\nB: 2" } } do
        errors[#errors + 1] = select(2, pcall(msg.respond, msg, "x", { headers = headers }))
      end
      return "done"
    end)
    assert.equal("done", assert(app.request(s)).raw)
    assert.equal(2, #errors)
    for _, err in ipairs(errors) do assert.matches("header", tostring(err)) end
  end)
end)

describe("app.flush", function()
  it("returns true when the server has everything", function()
    assert(app.publish(subject(), "x"))
    assert.is_true(app.flush())
    assert.is_true(app.flush(1))
  end)

  it("refuses a wrong timeout", function()
    assert.has_error(function() app.flush(-1) end)
    assert.has_error(function() app.flush "soon" end)
  end)
end)

describe("app.request", function()
  it("takes time-outs of any size", function()
    local s = subject()
    listen(s, function() return 1 end)
    for _, timeout in ipairs { 0.5, 3600, 1e12, math.huge } do
      assert.equal(1, assert(app.request(s, nil, { timeout = timeout })).data)
    end
    local _, err = app.request(s, nil, { timeout = 0 })
    assert.equal("timeout", err.code)
    assert.has_error(function() app.request(s, nil, { timeout = -1 }) end)
    assert.has_error(function() app.request(s, nil, { timeout = 0 / 0 }) end)
    assert.has_error(function() app.request(s, nil, { timeout = "1" }) end)
  end)

  it("runs a thousand at a time, each with its own reply", function()
    local s, wrong, done = subject(), 0, 0
    listen(s, function(msg)
      if msg.data % 3 == 0 then app.sleep(0.001) end
      return msg.data
    end)
    for i = 1, 1000 do
      app.spawn(function()
        local reply = app.request(s, i)
        if not reply or reply.data ~= i then wrong = wrong + 1 end
        done = done + 1
      end)
    end
    eventually("all replies", function() return done == 1000 end)
    assert.equal(0, wrong)
    assert.equal(0, app.nats.stats().pending_requests)
  end)

  it("ignores replies that come after the time-out", function()
    local s, over, late = subject(), false, false
    listen(s, function(msg)
      if msg.data == "slow" then
        late = eventually("the time-out", function() return over end)
      end
      return msg.data
    end)
    local _, err = app.request(s, '"slow"', { timeout = 0.005 })
    assert.equal("timeout", err.code)
    over = true
    eventually("the late reply", function() return late end)
    assert(app.flush()) -- it has come back
    assert.equal("fast", assert(app.request(s, '"fast"')).raw)
  end)
end)

describe("app.request_many", function()
  local function responders(n)
    local s = subject()
    for i = 1, n do
      listen(s, { queue = "group" .. i }, function() return i end)
    end
    return s
  end

  it("collects until max", function()
    local s = responders(4)
    local began = core.hrtime()
    local replies = assert(app.request_many(s, nil, { max = 3, timeout = 20 }))
    assert.equal(3, #replies)
    assert.is_true(core.hrtime() - began < 15)
  end)

  it("collects until nothing comes any more", function()
    local s = responders(3)
    local replies = assert(app.request_many(s, nil, { stall = 1, timeout = 20 }))
    local sum = 0
    for _, msg in ipairs(replies) do sum = sum + msg.data end
    assert.equal(6, sum)
  end)

  it("collects until the time-out", function()
    local s = responders(2)
    local replies = assert(app.request_many(s, nil, { timeout = 1 }))
    assert.equal(2, #replies)
  end)

  it("returns an empty list when nobody answers in time", function()
    local s = subject()
    listen(s, function() end)
    assert.same({}, assert(app.request_many(s, nil, { timeout = 0.02 })))
  end)

  it("returns no_responders when nobody listens", function()
    local replies, err = app.request_many(subject(), nil, { timeout = 5 })
    assert.is_nil(replies)
    assert.equal("no_responders", err.code)
  end)

  it("collects until max_bytes", function()
    local s = subject()
    listen(s, function(msg) for _ = 1, 50 do msg:respond(("x"):rep(1000)) end end)
    local replies = assert(app.request_many(s, nil, { max_bytes = 5000, timeout = 20 }))
    assert.equal(5, #replies) -- the last one was begun
  end)

  it("collects 64 MiB where no max_bytes is given, and the log tells", function()
    local testing = require "lunats.testing"
    local s, svc = subject(), nil
    listen(s, function(msg)
      for i = 1, 70 do
        msg:respond(("x"):rep(1000000))
        if i % 20 == 0 then svc:request(s .. ".taken") end -- the server keeps 64 MB, too
      end
    end)
    svc = testing.start(([[
      app.listen("%s.taken", function() return true end)
      app.listen("%s.ask", function()
        return #assert(app.request_many("%s", nil, { timeout = 60, stall = 30 }))
      end)
    ]]):format(s, s, s), { server = testing.server_url() })
    finally(function() svc:stop() end)
    assert(app.flush(20)) -- the server knows this listener when another connection asks for it
    assert.equal(68, assert(svc:request(s .. ".ask", nil, { timeout = 60 })).data)
    assert.equal(1, #svc:logs("request_many to '" .. s:gsub("%p", "%%%0")
      .. "' has ended after 68 replies: they have 64%.0 MiB, more"))
  end)

  it("has no bound where max and max_bytes are math.huge", function()
    local s = subject()
    listen(s, function(msg) for i = 1, 3 do msg:respond(i) end end)
    assert.equal(3, #assert(app.request_many(s, nil, { max = math.huge, stall = 1,
      max_bytes = math.huge })))
  end)

  it("collects more replies of one responder", function()
    local s = subject()
    listen(s, function(msg) for i = 1, 500 do msg:respond(i) end end)
    local replies = assert(app.request_many(s, nil, { max = 500 }))
    for i = 1, 500 do assert.equal(i, replies[i].data) end
  end)

  it("takes data_type and headers", function()
    local s = subject()
    listen(s, function(msg) return msg:header "A" end)
    local replies = assert(app.request_many(s, nil, { max = 1, data_type = "string",
      headers = { A = "{" } }))
    assert.equal("{", replies[1].data)
  end)

  for _, case in ipairs {
    { "max 0", { max = 0 }, "max" }, { "max -1", { max = -1 }, "max" },
    { "max 1.5", { max = 1.5 }, "max" }, { "max_bytes 0", { max_bytes = 0 }, "max_bytes" },
    { "a negative stall", { stall = -1 }, "stall" },
    { "an unknown option", { maxx = 1 }, "did you mean 'max'" },
  } do
    it("refuses " .. case[1], function()
      local ok, err = pcall(app.request_many, subject(), nil, case[2])
      assert.is_false(ok)
      assert.matches(case[3], tostring(err))
    end)
  end
end)
