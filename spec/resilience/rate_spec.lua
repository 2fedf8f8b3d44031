-- The option rate: bursts, refusals with a time to come again, waiting in order, keys.
local guarded = require "spec.support.guarded"
local testing = require "lunats.testing"

describe("rate", function()
  local client, svc

  before_each(function() client, svc = nil, nil end)
  after_each(function()
    for _, one in pairs { client, svc } do one:stop() end
  end)

  local function up() return "up" end

  it("lets a burst through, and then as many as come back with time", function()
    client = guarded.start("{ rate = { limit = 2, burst = 3 } }", up)
    for _ = 1, 3 do assert.is_true(client:ask().ok) end
    local refused = client:ask()
    assert.same({ "rate_limited", 429, 0.5 }, { refused.code, refused.status,
      refused.retry_after })
    assert.matches("is limited to 2 calls within 1 s", refused.message)
    client.svc:advance(0.5)
    assert.is_true(client:ask().ok)
    assert.equal("rate_limited", client:ask().code)
    client.svc:advance(60)
    for _ = 1, 3 do assert.is_true(client:ask().ok) end
    assert.equal("rate_limited", client:ask().code)
    assert.equal(7, client.calls)
  end)

  it("waits for its turn as long as it may", function()
    client = guarded.start("{ rate = { limit = 1, wait = 2 } }", up)
    assert.equal(0, client:ask().seconds)
    local fibers = {}
    for i = 1, 2 do fibers[i] = client:begin() end
    local third
    repeat third = client:ask() until third.code -- the two wait already
    assert.equal("rate_limited", third.code)
    for i = 1, 2 do
      client.svc:advance(1)
      assert.equal(i, fibers[i]:await(10).seconds)
    end
  end)

  it("is a number a second", function()
    client = guarded.start("{ rate = 1 }", up)
    assert.is_true(client:ask().ok)
    assert.equal(1, client:ask().retry_after)
  end)

  it("goes on over a reload", function()
    client = guarded.start("{ rate = 1 }", up)
    assert.is_true(client:ask().ok)
    assert(client.svc:reload(client.source "{ rate = 1 }"))
    assert.equal("rate_limited", client:ask().code)
  end)

  it("of a listener answers 429, with the seconds in Retry-After", function()
    svc = testing.start([[
      app.listen("rate.own", { rate = 4 }, function() return "up" end)
    ]], { clock = "manual" })
    for _ = 1, 4 do assert(svc:request "rate.own") end
    local _, err = svc:request "rate.own"
    assert.same({ "service_error", 429, 0.25 }, { err.code, err.status, err.retry_after })
    local replies = app.request_many("rate.own", "", { max = 1 })
    assert.equal("0.250", replies[1]:header "Retry-After")
    svc:advance(0.25)
    assert(svc:request "rate.own")
  end)

  it("of a listener has a bucket for each key", function()
    svc = testing.start([[
      app.listen("rate.key", { rate = { limit = 1, key = function(msg)
        return msg:header "Tenant"
      end } }, function() return "up" end)
    ]], { clock = "manual" })
    local function ask(tenant)
      local _, err = svc:request("rate.key", "", { headers = { Tenant = tenant } })
      return err and err.status
    end
    assert.is_nil(ask "a")
    assert.equal(429, ask "a")
    assert.is_nil(ask "b")
    assert.equal(429, ask "b")
    for _ = 1, 3 do assert.is_nil(ask(nil)) end
  end)

  for text, said in pairs {
    ["{}"] = "rate: limit is missing", ["{ limit = 0 }"] = "rate: limit is missing",
    ["{ limit = 1, burst = 0 }"] = "rate: burst must be a number 1 or more",
    ["{ limit = 1, per = 0 }"] = "rate: per must be a number greater than 0",
    ["{ limt = 1 }"] = "app.listen: rate: unknown option 'limt' (did you mean 'limit'?)",
    ["true"] = "rate must be a table or a number, not a boolean",
  } do
    it("explains a mistake: " .. text, function()
      local ok, err = pcall(testing.start,
        ('app.listen("rate.x", { rate = %s }, print)'):format(text))
      assert.is_false(ok)
      assert.truthy(err:find(said, 1, true), err)
    end)
  end
end)
