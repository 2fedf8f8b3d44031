-- The option retry: what is tried again, how often, and when not.
local eventually = require "spec.support.eventually"
local guarded = require "spec.support.guarded"
local testing = require "lunats.testing"

describe("retry", function()
  local client, svc

  after_each(function()
    for _, one in pairs { client, svc } do one:stop() end
    client, svc = nil, nil
  end)
  before_each(function() client, svc = nil, nil end)

  local function busy(after)
    return function() return nil, { code = 429, message = "busy", retry_after = after } end
  end

  describe("of a request", function()
    it("tries again where nobody has listened, later and later", function()
      client = guarded.start("{ retry = { jitter = 0 } }", function() return "there" end)
      local result = client:ask(0.01, "backend.nobody")
      assert.same({ "no_responders", 3 }, { result.code, result.attempts })
      assert.is_true(result.seconds >= 0.3, result.seconds)
      assert.same({ ok = true, raw = "there", seconds = 0 }, client:ask())
      assert.equal(1, client.calls)
    end)

    it("tries again what was refused with a time to come again, and waits for it", function()
      client = guarded.start("{ timeout = 60, retry = { attempts = 2, jitter = 0 } }",
        busy(1.5))
      local result = client:ask(0.02)
      assert.same({ 429, 2, 1.5, 2 }, { result.status, result.attempts, result.retry_after,
        client.calls })
      assert.is_true(result.seconds >= 1.5, result.seconds)
    end)

    it("does not wait for what is longer than max_delay", function()
      client = guarded.start("{ retry = true }", busy(60))
      local result = client:ask()
      assert.same({ 429, 60, 1 }, { result.status, result.retry_after, client.calls })
    end)

    it("tries nothing again that may have been done, unless it is asked for", function()
      local function fail() return nil, { code = 503, message = "no" } end
      client = guarded.start("{ retry = { delay = 0 } }", fail)
      assert.equal(503, client:ask().status)
      assert.equal(1, client.calls)
      client:stop()
      client = guarded.start("{ retry = { delay = 0, on = { 503 } } }", fail)
      assert.equal(3, client:ask().attempts)
      client:stop()
      client = guarded.start([[{ timeout = 0.2, retry = { attempts = 2, delay = 0,
        on = { "timeout" } } }]], function() end)
      local result = client:ask(0.1)
      assert.same({ "timeout", 2 }, { result.code, result.attempts })
      eventually("both attempts", function() return client.calls == 2 end)
      client:stop()
      client = guarded.start([[{ retry = { delay = 0, on = function(err)
        return err.message == "no" end } }]], fail)
      assert.equal(3, client:ask().attempts)
    end)

    it("gives the answer of the attempt that succeeds", function()
      client = guarded.start("{ timeout = 60, retry = { jitter = 1, on = { 500 } } }",
        function(_, n)
          if n < 3 then return nil, "not yet" end
          return "done"
        end)
      assert.equal("done", client:ask(0.01).raw)
      assert.equal(3, client.calls)
    end)

    it("ends when the budget is used up: most requests then have one attempt", function()
      client = guarded.start("{ retry = { attempts = 2, delay = 0, on = { 500 } } }",
        function() return nil, "down" end)
      for _ = 1, 50 do client:ask() end
      -- The reserve of 10, and a fifth of 50.
      assert.is_true(client.calls >= 68 and client.calls <= 71, client.calls)
      client.svc:advance(5) -- one more each second
      local before = client.calls
      for _ = 1, 20 do client:ask() end
      assert.is_true(client.calls - before >= 27 and client.calls - before <= 30,
        client.calls - before)
    end)

    it("has no budget when that is false", function()
      client = guarded.start("{ retry = { attempts = 2, delay = 0, on = { 500 }, "
        .. "budget = false } }", function() return nil, "down" end)
      for _ = 1, 20 do client:ask() end
      assert.equal(40, client.calls)
    end)

    it("passes all middleware with each attempt", function()
      svc = testing.start [[
        local seen = 0
        app.use("request", function(ctx, next)
          seen = seen + 1
          return next(ctx)
        end)
        app.listen("retry.seen", function()
          app.request("retry.nobody", "", { retry = { attempts = 3, delay = 0 } })
          return seen
        end)
      ]]
      assert.equal(3, svc:request("retry.seen").data)
    end)

    it("may be set by middleware", function()
      svc = testing.start [[
        app.use("request", function(ctx, next)
          ctx.opts = { retry = { attempts = 2, delay = 0 } }
          return next(ctx)
        end)
        app.listen("retry.set", function()
          local _, err = app.request("retry.nobody")
          return err.attempts
        end)
      ]]
      assert.equal(2, svc:request("retry.set").data)
    end)
  end)

  describe("of a listener", function()
    it("calls the handler again after what it returns, not after what it raises", function()
      svc = testing.start [[
        local calls = 0
        app.listen("retry.own", { retry = { delay = 0, on = { 503 } } }, function(msg)
          calls = calls + 1
          if msg.raw == "raise" then error "oops" end
          if calls < 3 then return nil, { code = 503, message = "not yet" } end
          return calls
        end)
        app.listen("retry.calls", function() return calls end)
      ]]
      assert.equal(3, svc:request("retry.own").data)
      local _, err = svc:request("retry.own", "raise")
      assert.equal(500, err.status)
      assert.equal(4, svc:request("retry.calls").data)
      assert.equal(1, #svc:errors())
    end)

    it("calls it again after what it raises where `on` says \"error\"", function()
      svc = testing.start [[
        local calls = 0
        app.listen("retry.raised", { retry = { delay = 0, on = { "error" } } }, function(msg)
          calls = calls + 1
          if msg.raw == "for ever" or calls < 3 then error("oops " .. calls) end
          return calls
        end)
      ]]
      assert.equal(3, svc:request("retry.raised", "x").data)
      local _, err = svc:request("retry.raised", "for ever")
      assert.equal(500, err.status)
      local errors = eventually("the error", function()
        local list = svc:errors()
        return list[1] and list
      end)
      assert.equal(1, #errors)
      assert.matches("oops 6", errors[1])
      assert.matches("stack traceback", errors[1])
    end)
  end)
end)
