-- breaker, rate and bulkhead of app.request_many.
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

describe("app.request_many", function()
  local subject, svc

  before_each(function() subject = unique "many" end)
  after_each(function() if svc then svc:stop() end end)

  ---A service that asks, with the options, whoever asks it to.
  local function start(options, more)
    svc = testing.start((([[
      %s
      app.listen("SUBJECT.ask", function(msg)
        local opts = { %s }
        for name, value in pairs(msg.data) do opts[name] = value end
        local list, err = app.request_many("SUBJECT.it", nil, opts)
        return list and { count = #list } or { code = err.code, message = err.message }
      end)
      app.listen("SUBJECT.one", function(msg)
        local reply, err = app.request("SUBJECT.it", nil, { %s })
        return reply and { count = 1 } or { code = err.code }
      end)
    ]]):format(more or "", options, options):gsub("SUBJECT", subject)))
  end

  local function ask(how)
    return assert(svc:request(("%s.%s"):format(subject, how), app.json.decode "{}")).data
  end

  it("opens a breaker when nobody answers, and shares it with app.request", function()
    start "breaker = { min_calls = 2 }, timeout = 0.05"
    local listener = app.listen(subject .. ".it", { queue = false }, function() end)
    assert(app.flush())
    assert.same({ count = 0 }, ask "ask")
    assert.same({ count = 0 }, ask "ask")
    assert.equal("breaker_open", ask("ask").code)
    assert.equal("breaker_open", ask("one").code)
    listener:stop()
  end)

  it("leaves a breaker closed when somebody answers", function()
    start("breaker = { min_calls = 2 }, timeout = 5, max = 2",
      'app.listen("SUBJECT.it", { queue = "other" }, function() return 1 end)')
    local listener = app.listen(subject .. ".it", { queue = false }, function() return 2 end)
    assert(app.flush())
    for _ = 1, 4 do assert.same({ count = 2 }, ask "ask") end
    listener:stop()
  end)

  it("is limited by a rate and a bulkhead, also behind middleware", function()
    start("rate = { limit = 1, per = 60 }, bulkhead = 1, timeout = 15",
      [[app.use("request", function(ctx, next)
        if ctx.name == "app.request_many" then app.publish("passed", ctx.opts.rate ~= nil) end
        return next(ctx)
      end)]])
    assert.equal("no_responders", ask("ask").code)
    assert.equal("rate_limited", ask("ask").code)
    assert.equal("rate_limited", ask("one").code)
    assert.equal(1, #svc:calls "passed")
    assert.is_false(svc:calls("passed")[1].data)
  end)

  it("has no retry, and says why", function()
    start "retry = true"
    local _, err = svc:request(subject .. ".ask", app.json.decode "{}")
    assert.matches("app.request_many: no 'retry': those who have answered would be asked again",
      err.message, 1, true)
    assert.equal(1, #svc:errors())
  end)
end)
