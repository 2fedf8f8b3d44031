-- The option bulkhead: so many at once, so many that wait; what is cancelled frees its place.
local guarded = require "spec.support.guarded"
local testing = require "lunats.testing"
local eventually = require "spec.support.eventually"

describe("bulkhead", function()
  local client, svc, waiting

  before_each(function() client, svc, waiting = nil, nil, {} end)
  after_each(function()
    for _, one in pairs { client, svc } do one:stop() end
  end)

  local function hold(msg) waiting[#waiting + 1] = msg end

  local function held(n)
    eventually(n .. " under way", function() return #waiting == n end)
  end

  local function let_go() assert(table.remove(waiting, 1):respond "up") end

  it("refuses what is too much, and lets the next one in", function()
    client = guarded.start("{ bulkhead = 2 }", hold)
    local first, second = client:begin(), client:begin()
    held(2)
    local refused = client:ask()
    assert.same({ "bulkhead_full", 503 }, { refused.code, refused.status })
    assert.matches("is busy: 2 calls are under way", refused.message)
    let_go()
    assert.is_true(first:await(10).ok)
    local third = client:begin()
    held(2)
    let_go()
    let_go()
    assert.is_true(second:await(10).ok)
    assert.is_true(third:await(10).ok)
  end)

  it("lets some wait, in the order of their arrival", function()
    client = guarded.start("{ bulkhead = { limit = 1, queue = 2, wait = 5 } }", hold)
    local fibers = { client:begin() }
    held(1)
    fibers[2] = client:begin()
    fibers[3] = client:begin()
    local refused
    repeat refused = client:ask() until refused.code
    assert.matches("1 calls are under way, 2 wait", refused.message)
    for i = 1, 3 do
      held(1)
      let_go()
      assert.is_true(fibers[i]:await(10).ok)
    end
  end)

  it("lets none wait longer than it may", function()
    client = guarded.start("{ timeout = 60, bulkhead = { limit = 1, queue = 1, wait = 2 } }",
      hold)
    local first = client:begin()
    held(1)
    local result = client:ask(0.5)
    assert.same({ "bulkhead_full", 2 }, { result.code, result.seconds })
    let_go()
    assert.is_true(first:await(10).ok)
  end)

  it("is free again after what was cancelled", function()
    svc = testing.start([[
      local opts = { timeout = 60, bulkhead = { limit = 1, queue = 1, wait = 60 } }
      local function ask() return app.request("bulkhead.held", "", opts) end
      app.listen("bulkhead.cancel", function()
        local running, waits = app.spawn(ask), app.spawn(ask)
        app.sleep(0)
        local other = app.spawn(ask)
        local _, err = other:await()
        waits:cancel()
        running:cancel()
        waits:await()
        running:await()
        local reply = ask()
        return { err.code, reply and reply.raw }
      end)
    ]])
    local calls = 0
    local backend = app.listen("bulkhead.held", function()
      calls = calls + 1
      if calls > 1 then return "up" end
    end)
    assert(app.flush())
    assert.same({ "bulkhead_full", "up" }, svc:request("bulkhead.cancel").data)
    backend:stop()
  end)

  it("of a listener answers 503, for all listeners of its name", function()
    svc = testing.start [[
      local opts = { bulkhead = { name = "shared", limit = 1 }, concurrency = 10 }
      local released = false
      app.listen("bulkhead.wait", opts, function()
        while not released do app.sleep(0.005) end
      end)
      app.listen("bulkhead.release", function() released = true end)
      app.listen("bulkhead.other", opts, function() return "up" end)
    ]]
    assert.equal("up", svc:request("bulkhead.other").raw)
    app.publish("bulkhead.wait", "")
    eventually("the one that holds it", function()
      local _, err = svc:request "bulkhead.other"
      return err and err.status == 503
    end)
    app.publish("bulkhead.release", "")
    eventually("that it is free", function() return svc:request "bulkhead.other" end)
  end)

  for text, said in pairs {
    ["bulkhead = 0"] = "bulkhead: limit is missing: a whole number",
    ["bulkhead = { limit = 1, queue = -1 }"] = "bulkhead: queue must be a whole number, 0 or",
    ["bulkhead = 256"] = "256 calls and 0 that wait are refused nothing with concurrency = 256",
    ["bulkhead = '1'"] = "option 'bulkhead' must be a table|number|boolean, not a string",
  } do
    it("explains a mistake: " .. text, function()
      local ok, err = pcall(testing.start,
        ('app.listen("bulkhead.x", { %s }, print)'):format(text))
      assert.is_false(ok)
      assert.truthy(err:find(said, 1, true), err)
    end)
  end
end)
