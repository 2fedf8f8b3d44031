-- Finalizers run in the middle of our C functions; they may call everything and change any
-- table. A mistake shows as a report of the sanitizer.
local testing = require "lunats.testing"

-- Runs `fn` often, or for ten seconds, while finalizers that call `act` wait to run, in a state
-- so small that the collector comes by in the shortest function. `fn` may fail, but not always.
local DISTURBED = [[
  local core = require "lunats.core"
  app.config { name = "disturbed" }
  local function disturbed(rounds, act, fn)
    if os.getenv "LN_GC_STRESS" then rounds = rounds // 20 end -- each takes that much longer
    app.task(function()
      collectgarbage("generational", 1, 1)
      local calls, fine, why, round, began = 0, 0, nil, 0, core.hrtime()
      repeat
        round = round + 1
        for _ = 1, 4 do
          setmetatable({}, { __gc = function()
            calls = calls + 1
            pcall(act)
          end })
        end
        local pad = ("x"):rep(math.random(3000)) -- the collector comes at another place
        local ok, err = pcall(fn, pad)
        fine = fine + (ok and 1 or 0)
        why = not ok and tostring(err) or why
      until (round >= rounds or core.hrtime() - began > 10) and calls > round
      app.publish("disturbed", { fine = fine > 0, why = why })
    end)
  end
]]

-- Calls fn when a finalizer that calls `act` runs as soon as Lua is asked for memory.
local AT_ONCE = [[
  local function at_once(act, fn, ...)
    collectgarbage "generational"
    collectgarbage "stop"
    setmetatable({}, { __gc = act })
    collectgarbage "restart"
    return fn(...)
  end
]]

---@return testing.service svc  that has done it
local function disturbed(source)
  local svc = testing.start(DISTURBED .. source)
  finally(function() svc:stop() end)
  local result = svc:expect("disturbed", { timeout = 30 }).data
  assert.is_true(result.fine, result.why)
  return svc
end

describe("a finalizer", function()
  it("cannot wait, not even in a coroutine, and the wait of its fiber goes on", function()
    local svc = disturbed [[
      app.listen("echo", { data_type = "string" }, function(msg) return msg.raw end)
      local texts = {}
      disturbed(300, function()
        local ok, err = pcall(coroutine.wrap(function() app.sleep(0) end))
        if not ok and tostring(err):find "cannot wait here.*finalizers" then err = "refused" end
        texts[tostring(err)] = true
      end, function()
        local body = ("x"):rep(5000)
        local reply = assert(app.request("echo", body, { timeout = 5, data_type = "string" }))
        assert(reply.raw == body)
        texts.right = true
      end)
      app.listen("texts", function() return texts end)
    ]]
    assert.same({ refused = true, right = true }, svc:request("texts").data)
  end)

  it("may change headers that are being sent", function()
    disturbed [[
      local headers = {}
      disturbed(1500, function()
        for i = 1, 100 do headers["h" .. i] = i % 2 == 0 and "x" or { "x", "y" } end
        headers.a, headers.list[3], headers.list[4] = nil, "x", "y"
      end, function()
        headers = { a = "1", ["name-" .. math.random()] = 2.5, list = { "x", "y" } }
        app.publish("x", "x", { headers = headers })
      end)
    ]]
  end)

  it("may change options and the list of their names", function()
    disturbed [[
      local options, known = {}, {}
      disturbed(4000, function()
        for i = 1, 100 do options["o" .. i], known["o" .. i] = 1, true end
        options.timeout, known.timeout = nil, nil
      end, function()
        options, known = { timeout = 1 }, { timeout = "number" }
        core.check("it", options, known)
      end)
    ]]
  end)

  it("may change fields that are being logged, as __tostring may", function()
    disturbed [[
      local fields = {}
      disturbed(500, function()
        for i = 1, 100 do fields["f" .. i] = {} end
        fields.a = nil
      end, function()
        fields = { a = {}, ["key-" .. math.random()] = { "x" } }
        local text = setmetatable({}, { __tostring = function()
          for key in pairs(fields) do fields[key] = nil end
          collectgarbage()
          return "text"
        end })
        fields["text-" .. math.random()] = text
        app.log.info("text", fields)
      end)
    ]]
  end)

  it("may encode and decode JSON while that is encoded and decoded", function()
    local svc = disturbed [[
      local value, wrong = { list = {}, text = ("x"):rep(3000) }, 0
      for i = 1, 100 do value.list[i] = { name = "item " .. i } end
      local text = app.json.encode(value)
      disturbed(100, function()
        app.json.decode(app.json.encode { other = ("y"):rep(9000), [("k"):rep(10)] = 1 })
      end, function()
        local same = app.json.encode(app.json.decode(text))
        if #same ~= #text then wrong = wrong + 1 end
      end)
      app.listen("wrong", function() return wrong end)
    ]]
    assert.equal(0, svc:request("wrong").data)
  end)

  it("may encode JSON while that of a message is sent, with a trace and a deadline", function()
    local svc = testing.start(AT_ONCE .. [[
      local value = { text = ("x"):rep(3000) }
      local wanted, wrong, came = app.json.encode(value), {}, 0
      local function look(msg)
        came = came + 1
        if msg.raw ~= wanted then wrong[#wrong + 1] = msg.raw:sub(1, 30) end
        return true
      end
      app.listen("sink", look)
      app.on_start(function()
        assert(app.js.add_stream { name = "FINALIZER3", subjects = { "spec.gc4.>" },
          storage = "memory" })
        app.js.subscribe("spec.gc4.>", { stream = "FINALIZER3", ordered = true }, look)
        assert(app.js.publish("spec.gc4.first", value))
      end)
      local function encode() app.json.encode { other = ("y"):rep(9000) } end
      local opts = { timeout = 5, max = 1 }
      app.listen("work", function()
        app.js.publish_async("spec.gc4.second", value)
        for _ = 1, 3 do
          at_once(encode, app.publish, "sink", value)
          at_once(encode, app.request, "sink", value)
          at_once(encode, app.request_many, "sink", value, opts)
          at_once(encode, app.js.publish, "spec.gc4.a", value)
          at_once(encode, app.js.publish_async, "spec.gc4.b", value)
        end
        assert(app.js.flush(5))
        while came < 17 do app.sleep(0.01) end
        return wrong
      end)
      app.on_stop(function() app.js.delete_stream "FINALIZER3" end)
    ]])
    finally(function() svc:stop() end)
    local wrong = assert(svc:request("work", "", { timeout = 10, headers = {
      ["Request-Timeout-Ms"] = "10000",
      traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" } })).data
    assert.same({}, wrong)
  end)

  it("may change the headers of an answer", function()
    local svc = testing.start [[
      collectgarbage("generational", 1, 1)
      local headers
      local function clear() for name in pairs(headers) do headers[name] = nil end end
      app.http.get("/", function()
        headers = {}
        for i = 1, 400 do headers["X-" .. ("n"):rep(60) .. i] = i + 0.5 end
        for _ = 1, 4 do setmetatable({}, { __gc = clear }) end
        local _ = ("x"):rep(math.random(3000))
        return app.http.response { headers = headers, body = { ("x"):rep(math.random(1e6)) } }
      end)
    ]]
    finally(function() svc:stop() end)
    for _ = 1, 100 do assert.equal(200, assert(svc:http("GET", "/")).status) end
  end)

  it("may take the connection of a message with it that is being answered", function()
    local broker = testing.broker()
    local svc = testing.start(AT_ONCE .. ([[
      app.listen("work", function()
        local err
        for i = 1, 4 do
          local conn, ok = assert(app.connect { server = %q }), nil
          conn.listen("asked", function(msg)
            conn.publish(msg.reply_to, "x", { reply_to = "answers" })
          end)
          local msg = assert(conn.request("asked", "x"))
          assert(msg.reply_to == "answers")
          conn.close()
          app.sleep(0.2) -- it is gone for the server; here as long as somebody has it
          conn = nil
          local opts = setmetatable({}, { __index = function(_, name)
            collectgarbage()
            collectgarbage()
            return name == "headers" and { a = 1 } or nil
          end })
          ok, err = msg:respond("x", i > 2 and opts or { headers = {} })
          assert(not ok and err.code == "closed", err)
        end
        return err.code
      end)
    ]]):format(broker.url))
    finally(function()
      svc:stop()
      broker:stop()
    end)
    assert.equal("closed", assert(svc:request("work", "", { timeout = 10 })).raw)
  end)

  it("may stop listeners that are being listed", function()
    disturbed [[
      local handles = {}
      disturbed(300, function()
        for i, handle in pairs(handles) do
          handles[i] = nil
          handle:stop()
        end
      end, function()
        for i = 1, 3 do handles[i] = app.listen("listed." .. i, function() end) end
        core.listeners()
      end)
    ]]
  end)

  it("may change the words of a process that is being started", function()
    disturbed [[
      local words = {}
      disturbed(200, function() -- not always: some have to be started
        if math.random(8) == 1 then for i = 1, #words do words[i] = nil end end
      end, function()
        words = { "/bin/true", "word " .. math.random(), 12345 }
        assert(core.process(words, true)):wait()
      end)
    ]]
  end)

  it("may stop the readers of a stream while they read", function()
    local svc = disturbed [[
      app.on_start(function()
        assert(app.js.add_stream { name = "FINALIZER", subjects = { "spec.gc.>" },
          storage = "memory" })
        for _ = 1, 20 do assert(app.js.publish("spec.gc.x", ("x"):rep(3000))) end
      end)
      local reader, psub, stopped, got
      disturbed(100, function()
        stopped = true
        reader:stop()
        psub:stop()
      end, function()
        stopped, got = false, 0
        local opts = { stream = "FINALIZER", ordered = true }
        psub = app.js.pull_subscribe("spec.gc.>", { stream = "FINALIZER" })
        reader = app.js.subscribe("spec.gc.>", opts, function(msg)
          got = got + #msg.raw // 3000
        end)
        for _, msg in ipairs(psub:fetch(5, { timeout = 1 }) or {}) do msg:ack() end
        while got < 20 and not stopped do app.sleep(0.001) end
        reader:stop()
      end)
      app.on_stop(function() app.js.delete_stream "FINALIZER" end)
    ]]
    assert.equal(0, svc:stop())
  end)

  it("may call everything when the script ends, publish_async too", function()
    local svc = testing.start [[
      app.on_start(function()
        assert(app.js.add_stream { name = "FINALIZER2", subjects = { "spec.gc2.>" },
          storage = "memory" })
        app.js.publish_async("spec.gc2.x", "x")
      end)
      for _ = 1, 20 do
        setmetatable({}, { __gc = function()
          pcall(app.js.publish_async, "spec.gc2.x", "x")
          pcall(coroutine.wrap(function() app.sleep(0) end))
          pcall(app.publish, "spec.gc2.x", "x", { headers = { a = { "1", 2 } } })
        end })
      end
    ]]
    assert.equal(0, svc:stop())
    assert.is_true((app.js.delete_stream "FINALIZER2"))
  end)

  it("may count when the script ends, in metrics that are gone already", function()
    local svc = testing.start [[
      local c, g, h, told
      setmetatable({}, { __gc = function()
        for _, fn in ipairs { c.inc, g.set, g.dec, h.observe } do
          told = select(2, pcall(fn, fn == c.inc and c or fn == h.observe and h or g, 1))
          assert(tostring(told):find "the metric is gone")
        end
        assert(not pcall(c.__gc, io.stdout))
      end })
      c = app.metrics.counter { name = "c_total", help = "x" }
      g = app.metrics.gauge { name = "g", help = "x" }
      h = app.metrics.histogram { name = "h", help = "x" }
      app.listen("spec.gc3", function() end)
    ]]
    assert.equal(0, svc:stop())
    assert.same({}, svc:errors())
  end)

  it("takes a metric from who is counting with it", function()
    local svc = testing.start [[
      local options = { name = "a_total", help = "x", labels = { "a", "b" } }
      local counter = app.metrics.counter(options)
      app.listen("work", function()
        local gone = setmetatable({}, { __index = function()
          debug.getmetatable(counter).__gc(counter)
          return "x"
        end })
        return select(2, pcall(counter.inc, counter, 1, gone))
      end)
    ]]
    finally(function() svc:stop() end)
    assert.matches("the metric is gone", assert(svc:request("work", "")).raw)
  end)

  it("changes a cache in the middle of its functions", function()
    disturbed [[
      local cache = app.cache("disturbed", { max_bytes = 20000 })
      local value = ("v"):rep(500)
      disturbed(2000, function()
        for _, key in ipairs(cache:keys(5)) do cache:delete(key) end
        cache:set("other", value, { ttl = 1 })
      end, function(pad)
        for i = 1, 20 do
          cache:set(pad:sub(1, 20) .. i, value, { ttl = 10 })
          local got = cache:get(pad:sub(1, 20) .. i)
          assert(got == nil or got == value)
        end
        for _, key in ipairs(cache:keys(100)) do assert(#key > 0) end
        cache:incr("n", 1, { ttl = 5 })
        assert(cache:stats().bytes <= 20000)
      end)
    ]]
  end)

  it("of a script that ends finds its caches open or closed", function()
    local svc = testing.start [[
      local cache = app.cache "ends"
      setmetatable({}, { __gc = function() pcall(cache.get, cache, "k") end })
      local holder = setmetatable({ cache = cache }, { __gc = function(t)
        pcall(t.cache.set, t.cache, "k", 1)
        pcall(app.cache, "another")
      end })
      app.listen("ends", function() return holder and 1 end)
    ]]
    svc:stop()
    assert.same({}, svc:errors())
  end)
end)
