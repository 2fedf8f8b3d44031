-- The option breaker: when it opens, what it lets through, and that a reload keeps it.
local guarded = require "spec.support.guarded"
local testing = require "lunats.testing"

describe("breaker", function()
  local client, svc
  local down

  before_each(function() client, svc, down = nil, nil, true end)
  after_each(function()
    for _, one in pairs { client, svc } do one:stop() end
  end)

  local OPTS = "{ breaker = { min_calls = 4, window = 10, open = 5, trials = 2 } }"

  local function start(opts)
    client = guarded.start(opts or OPTS, function()
      if down then return nil, { code = 500, message = "down" } end
      return "up"
    end)
  end

  local function ask(n)
    local result
    for _ = 1, n or 1 do result = client:ask() end
    return result
  end

  it("opens when half of the calls have failed, of as many as it needs", function()
    down = false
    start()
    ask(2)
    down = true
    assert.equal(500, ask(1).status)
    assert.equal(500, ask(1).status) -- the fourth
    local refused = ask()
    assert.same({ "breaker_open", 503 }, { refused.code, refused.status })
    assert.is_true(refused.retry_after > 4.9 and refused.retry_after <= 5)
    assert.matches("circuit breaker 'backend.guard%S*' is open", refused.message)
    assert.equal(4, client.calls)
    assert.equal(1, #client.svc:logs "is open for 5 s: 2 of 4 calls have failed")
  end)

  it("forgets what was before the window", function()
    start()
    ask(3)
    client.svc:advance(11)
    down = false
    ask(2)
    down = true
    assert.equal(500, ask(1).status)
    assert.equal(500, ask(1).status)
    assert.equal("breaker_open", ask().code)
  end)

  it("lets some through after a while, and closes when they succeed", function()
    start()
    ask(4)
    client.svc:advance(5)
    down = false
    assert.is_true(ask().ok)
    assert.is_true(ask().ok)
    assert.equal(1, #client.svc:logs "is closed again")
    down = true
    for _ = 1, 4 do assert.equal(500, ask().status) end -- the window has begun anew
  end)

  it("opens again when one of them fails", function()
    start()
    ask(4)
    client.svc:advance(5)
    assert.equal(500, ask().status)
    assert.equal("breaker_open", ask().code)
    assert.equal(5, client.calls)
  end)

  it("lets no more than the trials through while they are under way", function()
    start()
    ask(4)
    client.svc:advance(5)
    local waiting = {}
    client.answer = function(msg) waiting[#waiting + 1] = msg end
    local first, second = client:begin(), client:begin()
    while #waiting < 2 do app.sleep(0.001) end
    assert.equal("breaker_open", ask().code)
    assert(waiting[1]:respond "up")
    assert(waiting[2]:respond "up")
    assert.is_true(first:await().ok)
    assert.is_true(second:await().ok)
    client.answer = function() return "up" end
    assert.is_true(ask().ok)
  end)

  it("counts time-outs and answers of 500 and above, and no mistakes of the sender", function()
    start("{ timeout = 0.2, breaker = { min_calls = 2 } }")
    client.answer = function() return nil, { code = 404, message = "no" } end
    ask(4)
    client.answer = function() end
    client:ask(0.1)
    client:ask(0.1)
    client:ask(0.1)
    client:ask(0.1)
    assert.equal("breaker_open", ask().code)
  end)

  it("counts what `on` says", function()
    start("{ breaker = { min_calls = 2, on = { 404 } } }")
    ask(3)
    client.answer = function() return nil, { code = 404, message = "no" } end
    ask(3)
    assert.equal("breaker_open", ask().code)
  end)

  it("is one for each subject, or for a name", function()
    start()
    ask(5)
    assert.equal("no_responders", client:ask(nil, "backend.nobody").code)
    client:stop()
    start("{ breaker = { name = 'all', min_calls = 4 } }")
    ask(4)
    assert.equal("breaker_open", client:ask(nil, "backend.nobody").code)
  end)

  it("goes on over a reload", function()
    start()
    ask(4)
    assert(client.svc:reload(client.source(OPTS)))
    assert.equal("breaker_open", ask().code)
    client.svc:advance(5)
    down = false
    assert.is_true(ask().ok)
  end)

  it("of a listener counts what its handler returns and raises", function()
    svc = testing.start([[
      app.listen("breaker.own", { breaker = { min_calls = 2, open = 5 } }, function(msg)
        if msg.raw == "raise" then error "oops" end
        if msg.raw == "fail" then return nil, { code = 500, message = "no" } end
        return nil, { code = 404, message = "no" }
      end)
    ]], { clock = "manual" })
    local function status(body)
      local _, err = svc:request("breaker.own", body)
      return err.status, err.retry_after
    end
    assert.equal(404, status "x")
    assert.equal(500, status "raise")
    assert.same({ 503, 5 }, { status "x" })
    svc:advance(5)
    assert.equal(404, status "x")
    assert.equal(1, #svc:errors())
  end)
end)
