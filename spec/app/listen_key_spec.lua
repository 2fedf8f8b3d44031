-- app.listen { key = }: in order per key, parallel across keys.
local clean_loop = require "spec.support.clean_loop"
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local own = require "spec.support.own"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

describe("listening in order per key", function()
  local subject

  before_each(function() subject = unique "key" end)
  after_each(own.close)

  local function listen(opts, fn)
    local listener = own.keep(app.listen(subject .. ".>", opts, fn))
    assert(app.flush())
    return listener
  end

  local function put(customer, i)
    app.publish(("%s.%s"):format(subject, customer), { customer = customer, i = i },
      { headers = { Customer = customer } })
  end

  local function by_body(msg) return msg.data.customer end

  for name, key in pairs { ["a function"] = by_body, ["a token of the subject"] = "subject:2",
    ["the subject"] = "subject", ["a header"] = "header:Customer" } do
    it("handles one of a key at a time, several keys at once, by " .. name, function()
      local seen, running, total, most, done = { a = {}, b = {}, c = {} }, {}, 0, 0, 0
      local twice
      listen({ key = key }, function(msg)
        local customer = msg.data.customer
        twice = twice or running[customer]
        running[customer] = true
        total = total + 1
        most = math.max(most, total)
        table.insert(seen[customer], msg.data.i)
        app.sleep(math.random() / 200)
        total, running[customer], done = total - 1, nil, done + 1
      end)
      for i = 1, 10 do
        for customer in pairs(seen) do put(customer, i) end
      end
      eventually("all", function() return done == 30 end)
      assert.is_nil(twice)
      assert.equal(3, most)
      for _, list in pairs(seen) do assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, list) end
    end)
  end

  it("runs as many handlers as it may", function()
    local running, most, done = 0, 0, 0
    listen({ key = by_body, concurrency = 2 }, function()
      running = running + 1
      most = math.max(most, running)
      app.sleep(0.002)
      running, done = running - 1, done + 1
    end)
    for i = 1, 20 do put("c" .. i % 5, i) end
    eventually("all", function() return done == 20 end)
    assert.equal(2, most)
  end)

  it("orders nothing that has no key", function()
    local gate, begun = core.gate(), 0
    listen({ key = "header:Other" }, function()
      begun = begun + 1
      gate:wait()
    end)
    for i = 1, 5 do put("a", i) end
    eventually("all at once", function() return begun == 5 end)
    gate:open()
  end)

  it("answers requests in their order", function()
    local order = {}
    listen({ key = by_body }, function(msg)
      if msg.data.i == 1 then app.sleep(0.05) end
      order[#order + 1] = msg.data.i
      return msg.data.i
    end)
    local fibers = {}
    for i = 1, 3 do
      fibers[i] = app.spawn(function()
        return app.request(subject .. ".a", { customer = "a", i = i }).data
      end)
    end
    for i, fiber in ipairs(fibers) do assert.equal(i, fiber:await()) end
    assert.same({ 1, 2, 3 }, order)
  end)

  it("fails a request whose key function fails, as its handler would", function()
    clean_loop.expected_errors(1)
    local called = 0
    listen({ key = function(msg)
      if msg.data.customer == "table" then return {} end
      return msg.data.customer
    end }, function() called = called + 1 return "fine" end)
    local _, err = app.request(subject .. ".a", { customer = "table" })
    assert.equal(500, err.status)
    assert.truthy(err.message:find "key: a string of at most 1024 bytes, a number or nil")
    assert.equal(0, called)
    _, err = app.request(subject .. ".a", "no JSON")
    assert.equal(400, err.status)
    assert.equal("fine", assert(app.request(subject .. ".a", { customer = "a" })).raw)
    testing.errors()
  end)

  it("drops no messages of others when too many of one key wait", function()
    clean_loop.expected_errors(0, 3)
    local gate, open, cold, hot = core.gate(), false, 0, 0
    local dropped = {}
    local svc = own.start(([[
      app.listen("%s.>", { key = "subject:2", pending = 40, queue = false }, function(msg)
        if msg.data.customer == "hot" then app.request("%s-gate", "", { timeout = 20 }) end
        app.publish("%s-seen", msg.data)
      end)
    ]]):format(subject, subject, subject))
    own.keep(app.listen(subject .. "-gate", function()
      if not open then gate:wait() end
      return "go"
    end))
    own.keep(app.listen(subject .. "-seen", function(msg)
      if msg.data.customer == "hot" then hot = hot + 1 else cold = cold + 1 end
      dropped[#dropped + 1] = msg.data.i
    end))
    assert(app.flush())
    for i = 1, 30 do put("hot", i) end
    for i = 1, 10 do put("cold" .. i, i) end
    eventually("the others", function() return cold == 10 end)
    open = true
    gate:open()
    eventually("those that waited", function() return hot == 12 end) -- 1 and a quarter of 40
    eventually("told", function() return #svc:logs "too many messages of one key wait" >= 1 end)
    svc:errors()
  end)

  local SOURCE = [[
    app.listen("%s.>", { key = %s, queue = false }, function(msg)
      app.publish("%s-seen", { customer = msg.data.customer, i = msg.data.i, begins = true,
        version = %d })
      app.sleep(%g)
      app.publish("%s-seen", { customer = msg.data.customer, i = msg.data.i })
    end)
  ]]

  for _, case in ipairs {
    { [["subject:2"]], [["subject:2"]] },
    { "function(msg) return msg.data.customer end", [["subject:2"]] },
    { [["subject:2"]], "function(msg) return msg.data.customer end" },
  } do
    it(("keeps the order over a reload, from %s to %s"):format(case[1], case[2]), function()
      local begun, last, versions, ended, wrong = {}, { a = 0, b = 0 }, {}, 0, nil
      own.keep(app.listen(subject .. "-seen", { queue = false, concurrency = 1 }, function(msg)
        local event = msg.data
        if not event.begins then
          begun[event.customer], ended = nil, ended + 1
          return
        end
        if begun[event.customer] or event.i ~= last[event.customer] + 1 then
          wrong = ("%s %d behind %d"):format(event.customer, event.i, last[event.customer])
        end
        begun[event.customer], last[event.customer] = true, event.i
        versions[event.version] = true
      end))
      -- The first version takes longer than a reload.
      local svc = own.start(SOURCE:format(subject, case[1], subject, 1, 0.3, subject))
      assert(app.flush())
      for i = 1, 10 do
        put("a", i)
        put("b", i)
      end
      eventually("the first", function() return ended >= 2 end)
      assert(svc:reload(SOURCE:format(subject, case[2], subject, 2, 0.01, subject)))
      eventually("all", function() return ended == 20 end)
      assert.is_nil(wrong)
      assert.is_true(versions[1] and versions[2])
    end)
  end

  it("handles what waits for its turn before it stops", function()
    local seen, gate = {}, core.gate()
    local listener = listen({ key = by_body }, function(msg)
      if msg.data.customer == "b" then return "here" end
      if msg.data.i == 1 then gate:wait() end
      seen[#seen + 1] = msg.data.i
    end)
    for i = 1, 4 do put("a", i) end
    assert(app.request(subject .. ".b", { customer = "b" }))
    listener:stop()
    gate:open()
    eventually("all", function() return #seen == 4 end)
    assert.same({ 1, 2, 3, 4 }, seen)
  end)

  it("answers 503 to what waits when its service is cut off", function()
    local svc = own.start(([[
      app.listen("%s.>", { key = "subject:2" }, function(msg)
        if msg.data.i then app.sleep(600) end
        return "here"
      end)
    ]]):format(subject), { drain_timeout = 0.2 })
    local answers = {}
    for i = 1, 3 do
      app.spawn(function()
        local _, err = app.request(subject .. ".a", { i = i }, { timeout = 20 })
        answers[#answers + 1] = err and err.status or 0
      end)
    end
    assert(app.request(subject .. ".b", {}))
    svc:stop()
    eventually("answers", function() return #answers == 3 end)
    svc:take_unexpected()
    assert.same({ 503, 503, 503 }, answers)
  end)
end)
