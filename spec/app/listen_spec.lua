-- Listeners: subjects, groups, concurrency, stopping.
local clean_loop = require "spec.support.clean_loop"
local eventually = require "spec.support.eventually"
local listening = require "spec.support.listening"
local testing = require "lunats.testing"

local subject, listen = listening.subject, listening.listen

after_each(listening.stop_all)

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
      listening.keep(testing.start(SERVICE:format(s, options, out)))
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
    local running, most, done, answered = 0, 0, 0, false
    listen(s, { concurrency = 3 }, function()
      running = running + 1
      most = math.max(most, running)
      eventually("the answer of the other one", function() return answered end)
      app.sleep(0.01)
      running, done = running - 1, done + 1
    end)
    listen(other, function() return "free" end)
    for i = 1, 30 do assert(app.publish(s, i)) end
    assert(app.flush())
    eventually("busy handlers", function() return running == 3 end)
    assert.equal("free", assert(app.request(other)).raw)
    assert.equal(0, done)
    answered = true
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
