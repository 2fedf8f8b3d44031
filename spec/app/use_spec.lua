---`app.use`: middleware around listen, request, publish and JetStream.
local testing = require "lunats.testing"
local eventually = require "spec.support.eventually"

describe("middleware", function()
  local svc

  local function serve(code) svc = testing.start(code) end
  local function ask(...) return svc:request(...) end
  after_each(function()
    if svc then svc:stop() end
    svc = nil
  end)

  it("is around a handler in the order of app.use, and shares its context with it", function()
    serve [[
      app.use("listen", function(ctx, next)
        ctx.words = { "first " .. ctx.kind .. " " .. ctx.subject }
        local result = next(ctx)
        result.words[#result.words + 1] = "first again"
        return result
      end)
      app.use("listen", function(ctx, next)
        ctx.words[#ctx.words + 1] = "second"
        return next(ctx)
      end)
      app.listen("mw.words", function(msg, ctx)
        ctx.words[#ctx.words + 1] = "handler of " .. msg.raw
        return { words = ctx.words }
      end)
    ]]
    assert.same({ "first listen mw.words", "second", "handler of x", "first again" },
      assert(ask("mw.words", "x")).data.words)
  end)

  it("answers in the place of the handler, with a result or an error", function()
    serve [[
      app.use("listen", function(ctx, next)
        if ctx.msg.headers.Key == nil then return nil, { code = 401, message = "no key" } end
        if ctx.msg.headers.Key == "cached" then return "from the cache" end
        return next(ctx)
      end)
      app.listen("mw.ask", function() return "from the handler" end)
    ]]
    local reply, err = ask("mw.ask", "")
    assert.is_nil(reply)
    assert.same({ 401, "no key" }, { err.status, err.message })
    assert.equal("from the cache", ask("mw.ask", "", { headers = { Key = "cached" } }).raw)
    assert.equal("from the handler", ask("mw.ask", "", { headers = { Key = "k" } }).raw)
  end)

  it("sees what the handler raises, and its own errors count as the handler's", function()
    serve [[
      app.use("listen", function(ctx, next)
        if ctx.msg.raw == "own" then error "in the middleware" end
        local ok, result = pcall(next, ctx)
        return ok and result or "caught"
      end)
      app.listen("mw.fails", function() error "in the handler" end)
    ]]
    assert.equal("caught", ask("mw.fails", "").raw)
    local _, err = ask("mw.fails", "own")
    assert.equal(500, err.status)
    assert.truthy(svc:errors()[1]:find("in the middleware", 1, true))
  end)

  it("waits as a handler does, and comes behind the validation", function()
    serve [[
      local seen = 0
      app.use("listen", function(ctx, next)
        seen = seen + 1
        app.sleep(0.001)
        return next(ctx)
      end)
      app.listen("mw.valid", { schema = { request = { type = "string" } } }, function()
        return seen
      end)
    ]]
    local _, err = ask("mw.valid", "1")
    assert.equal(400, err.status)
    assert.equal(1, assert(ask("mw.valid", "\"x\"")).data)
  end)

  it("is around groups and the services of further connections", function()
    serve(([[
      app.use("listen", function(ctx, next) return "around " .. next(ctx) end)
      app.group("mw.group"):listen("a", function() return "a group" end)
      app.on_start(function()
        local other = assert(app.connect { server = %q })
        other.listen("mw.other", function() return "a connection" end)
        other.flush()
      end)
    ]]):format(testing.server_url()))
    assert.equal("around a group", ask("mw.group.a", "").raw)
    assert.equal("around a connection", ask("mw.other", "").raw)
  end)

  it("is around requests: what it changes is sent, what it returns is the reply", function()
    serve [[
      local opts = { headers = { A = "a" }, timeout = 3 }
      app.use("request", function(ctx, next)
        assert(ctx.name == "app.request" or ctx.name == "app.request_many")
        if ctx.subject == "mw.never" then return { data = "not sent" } end
        ctx.opts = ctx.opts or {}
        ctx.opts.headers = ctx.opts.headers or {}
        ctx.opts.headers.Token = "t"
        ctx.data = ctx.data .. "!"
        local reply, err = next(ctx)
        return reply, err
      end)
      app.listen("mw.echo", function(msg)
        return { data = msg.raw, token = msg.headers.Token, a = msg.headers.A }
      end)
      app.listen("mw.test", function(msg)
        local echo = assert(app.request("mw.echo", "x", opts)).data
        assert(opts.headers.Token == nil) -- those of the caller stay as they are
        assert(app.request("mw.never", "x").data == "not sent")
        assert(select(2, app.request("mw.nobody", "x")).code == "no_responders")
        return echo
      end)
    ]]
    assert.same({ data = "x!", token = "t", a = "a" }, assert(ask("mw.test", "")).data)
  end)

  it("is around what is published, to JetStream, too", function()
    serve [[
      app.use("publish", function(ctx, next)
        if ctx.data == "drop" then return true end
        ctx.opts = ctx.opts or {}
        ctx.opts.headers = { Via = ctx.name }
        return next(ctx)
      end)
      app.on_start(function()
        assert(app.js.add_stream { name = "MW", subjects = { "mw.js" }, storage = "memory" })
      end)
      app.on_stop(function() app.js.delete_stream "MW" end)
      app.listen("mw.test", function()
        app.publish("mw.plain", "x")
        app.publish("mw.plain", "drop")
        app.publish("mw.plain", "end")
        assert(app.js.publish("mw.js", "x").seq == 1)
        local future = app.js.publish_async("mw.js", "y")
        assert(future:await().seq == 2)
        return { app.js.get_msg("MW", { seq = 1 }).headers.Via,
          app.js.get_msg("MW", { seq = 2 }).headers.Via }
      end)
    ]]
    local got = {}
    local listener = app.listen("mw.plain", { queue = false }, function(msg)
      got[#got + 1] = { msg.raw, msg.headers.Via }
    end)
    assert(app.flush())
    assert.same({ "app.js.publish", "app.js.publish_async" }, assert(ask("mw.test", "")).data)
    eventually("the last one", function() return #got >= 2 end)
    listener:stop()
    assert.same({ { "x", "app.publish" }, { "end", "app.publish" } }, got)
  end)

  it("is around the handlers of JetStream consumers", function()
    serve [[
      local seen = {}
      app.use("js", function(ctx, next)
        seen[#seen + 1] = ctx.msg.raw
        ctx.note = "noted"
        return next(ctx)
      end)
      app.on_start(function()
        assert(app.js.add_stream { name = "MW", subjects = { "mw.>" }, storage = "memory",
          no_ack = true })
      end)
      app.on_stop(function() app.js.delete_stream "MW" end)
      local function handle(msg, ctx) seen[#seen + 1] = ctx.note end
      app.js.subscribe("mw.a", handle)
      app.js.subscribe("mw.b", { ordered = true }, handle)
      app.js.pull_subscribe("mw.c", { durable = "c" }):consume(handle)
      app.listen("seen", { queue = false }, function() return seen end)
    ]]
    for _, subject in ipairs { "mw.a", "mw.b", "mw.c" } do
      app.publish(subject, subject)
    end
    eventually("three messages", function()
      local seen = ask("seen", "").data
      if #seen < 6 then return false end
      table.sort(seen)
      assert.same({ "mw.a", "mw.b", "mw.c", "noted", "noted", "noted" }, seen)
      return true
    end)
  end)

  it("says what was forgotten", function()
    serve [[
      app.use("listen", function(ctx, next) local result = next() return result end)
      app.listen("mw.forgotten", function() return "x" end)
    ]]
    assert.equal(500, select(2, ask("mw.forgotten", "")).status)
    assert.matches("service.lua:1: app.use: pass the context on: next%(ctx%)", svc:errors()[1])
  end)
end)

describe("app.use", function()
  local function refuses(code, text)
    local ok, err = pcall(testing.start, code)
    assert.is_false(ok)
    assert.truthy(tostring(err):find(text, 1, true), tostring(err))
  end

  it("names the kinds there are", function()
    refuses([[app.use("lisen", print)]], '"lisen": must be "listen", "request", "publish"')
    refuses([[app.use(print)]], "app.use: function: must be")
    refuses([[app.use("listen", "x")]], "app.use: a function expected, got string")
  end)

  it("comes before what it is around", function()
    refuses([[
      app.listen("x", print)
      app.use("listen", print)
    ]], 'app.use("listen"): comes after app.listen, which it would not be around')
    refuses([[
      app.on_start(function() app.use("listen", print) end)
    ]], "the service has started already; call it at the top level")
  end)
end)
