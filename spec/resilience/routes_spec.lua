-- rate, bulkhead, breaker and retry of routes of app.http.
local eventually = require "spec.support.eventually"
local testing = require "lunats.testing"

describe("the options of resilience of a route", function()
  local svc

  after_each(function() svc:stop() end)

  local function start(source) svc = testing.start(source, { clock = "manual" }) end

  local function ask(path) return assert(svc:http("GET", path)) end

  it("rate: answers 429 with the seconds until the next one", function()
    start [[app.http.get("/it", { rate = { limit = 2, per = 5 } },
      function() return "fine" end)]]
    assert.equal("fine", ask("/it").body)
    assert.equal("fine", ask("/it").body)
    local refused = ask "/it"
    assert.equal(429, refused.status)
    assert.equal("3", refused.headers["Retry-After"]) -- 2.5 s, in whole ones
    assert.matches("'GET /it'", refused.data.message)
    svc:advance(2.5)
    assert.equal("fine", ask("/it").body)
  end)

  it("rate: has a bucket for each value of a key of the request", function()
    start [[app.http.post("/it", { rate = { limit = 1, per = 60,
      key = function(req) return req.headers["X-Api-Key"] end } },
      function(req) return req.data end)]]
    local function status(key)
      return assert(svc:http("POST", "/it", { json = 1, headers = { ["X-Api-Key"] = key } }))
        .status
    end
    assert.same({ 200, 200, 429, 429 }, { status "a", status "b", status "a", status "b" })
    assert.same({ 200, 200 }, { status(), status() })
  end)

  it("bulkhead: answers 503 to what is too much, and lets the next one in", function()
    start [[
      local waiting = {}
      app.http.get("/slow", { bulkhead = 1 }, function()
        local gate = { open = false }
        waiting[1] = gate
        app.publish("begun", "")
        while not gate.open do app.sleep(1) end
        return "done"
      end)
      app.listen("go", function() waiting[1].open = true end)
    ]]
    local first = app.spawn(function() return ask "/slow" end)
    svc:expect "begun"
    local refused = ask "/slow"
    assert.equal(503, refused.status)
    assert.matches("'GET /slow' is busy: 1 calls are under way", refused.data.message)
    svc:publish("go", "")
    local over = false
    local clock = app.spawn(function() while not over do svc:advance(1) end end)
    assert.equal("done", first:await(10).body)
    over = true
    clock:await()
  end)

  it("breaker and retry: as those of a listener", function()
    start [[
      local calls = 0
      app.http.get("/broken", { data_type = "msgpack",
        breaker = { min_calls = 2, open = 5 } }, function()
        return nil, { code = 502, message = "down" }
      end)
      app.http.get("/flaky", { retry = { on = { 503 }, delay = 0 } }, function()
        calls = calls + 1
        if calls < 3 then return nil, { code = 503, message = "not yet" } end
        return { calls = calls }
      end)
    ]]
    assert.same({ 502, 502 }, { ask("/broken").status, ask("/broken").status })
    local refused = ask "/broken"
    assert.equal(503, refused.status)
    assert.equal("5", refused.headers["Retry-After"])
    local answer
    local one = app.spawn(function() answer = ask "/flaky" end)
    eventually("the third attempt", function()
      svc:advance(0.01)
      return answer
    end)
    one:await()
    assert.same({ calls = 3 }, answer.data)
  end)

  it("are refused where they make no sense", function()
    start "app.http.get('/', print)"
    for options, text in pairs {
      ["rate = {}"] = "app.http.get: rate: limit is missing",
      ["bulkhead = 'x'"] = "app.http.get: option 'bulkhead' must be a",
      ["rate = { limit = 1, kee = print }"] = "app.http.get: rate: unknown option 'kee'",
    } do
      local ok, err = pcall(testing.start,
        ("app.http.get('/', { %s }, print)\n"):format(options))
      assert.is_false(ok)
      assert.matches(text, tostring(err), 1, true)
    end
  end)
end)
