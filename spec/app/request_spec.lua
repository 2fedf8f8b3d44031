-- Requests, replies and everything that can go wrong between them.
local core = require "lunats.core"

local function subject(name)
  return ("spec.request.%s.%s"):format(name, core.new_inbox():sub(-8))
end

describe("app.request", function()
  local handles = {}

  local function listen(...)
    local handle = app.listen(...)
    handles[#handles + 1] = handle
    return handle
  end

  after_each(function()
    for _, handle in ipairs(handles) do handle:stop() end
    handles = {}
  end)

  it("returns the reply of a listener, decoded", function()
    local s = subject "table"
    listen(s, function(msg) return { got = msg.data } end)
    local reply = assert(app.request(s, { a = 1, list = {} }))
    assert.equal(1, reply.data.got.a)
  end)

  for _, case in ipairs {
    { "a string as it is", "text", '"text"', "string", "text" },
  } do
    it("sends " .. case[1], function()
      local s = subject "string"
      listen(s, { data_type = "string" }, function(msg) return msg.data end)
      local reply = assert(app.request(s, case[2], { data_type = "string" }))
      assert.equal(case[5], reply.data)
    end)
  end

  it("fails at once with no_responders when nobody listens", function()
    local reply, err = app.request(subject "nobody", "x")
    assert.is_nil(reply)
    assert.equal("no_responders", err.code)
    assert.truthy(tostring(err):find("nobody listens", 1, true))
  end)

  it("times out when the handler does not answer", function()
    local s = subject "silent"
    listen(s, function() end)
    local reply, err = app.request(s, "x", { timeout = 0.05 })
    assert.is_nil(reply)
    assert.equal("timeout", err.code)
  end)

  it("has its time, though it be longer than the milliseconds of seven weeks", function()
    local s = subject "slow"
    listen(s, function()
      app.sleep(0.1)
      return true
    end)
    for _, timeout in ipairs { 2^32 / 1000, 2^33 / 1000 + 0.01, 1e300, math.huge } do
      assert(app.request(s, "x", { timeout = timeout }))
      assert.equal(1, #assert(app.request_many(s, "x", { timeout = timeout, max = 1 })))
      assert(app.flush(timeout))
    end
  end)
end)
