-- Waiting calls that fail at once, in loops that try again at once: everything else goes on.
local process = require "spec.support.process"
local unique = require "spec.support.unique"

---Calls as a script writes them; each runs in a task of its own.
local CALLS = {
  'app.request("spec.echo", 1, { timeout = 1 })',
  'app.request_many("spec.echo", 1, { max = 1, timeout = 1 })',
  'app.flush(1)',
  'app.js.publish("s.a", 1)',
  'app.js.publish("s.a", 1, { timeout = 1 })',
  'app.js.publish_async("s.a", 1):await()',
  'app.js.publish_async("s.a", 1) and app.js.flush(1)',
  'app.js.stream_info "S"',
  'kv:get "k"',
  'kv:put("k", 1)',
  'kv:keys()',
  'store:get "o"',
  'store:put("o", "x")',
}

local SERVICE = [[
  local kv, store, round = nil, nil, 0
  app.on_start(function()
    assert(app.js.add_stream { name = "S", subjects = { "s.>" } })
    kv = assert(app.js.create_key_value { bucket = "b" })
    store = assert(app.js.create_object_store { bucket = "o" })
    kv:put("k", 0)
    store:put("o", "x")
  end)
  app.listen("spec.echo", function(msg) return msg.data end)
  local calls = { %s }
  for i, call in ipairs(calls) do
    app.task(function()
      local tries, failed = 0, 0
      while true do
        local ok
        repeat
          ok = call()
          tries = tries + 1
          if not ok then failed = failed + 1 end
        until ok
        if failed > 2 then print("call", i, "is through after failures:", failed) failed = 0 end
        app.sleep(0.02)
      end
    end)
  end
  app.timer(0.05, function() round = round + 1 print("tick " .. round .. ".") end)
]]

describe("A loop that tries again at once", function()
  after_each(process.close_all)

  it("lets timers tick, the service reconnect and end while there is no server", function()
    local list = {}
    for i, call in ipairs(CALLS) do list[i] = ("function() return %s end"):format(call) end
    local args = { "-js", "-sd", process.path "js" }
    local server = process.server { args = args }
    local service = process.spawn { process.lunats(), "run", "-s", server.url,
      process.write("svc.lua", SERVICE:format(table.concat(list, ", "))) }
    local function lose()
      server:signal "KILL"
      server:wait()
      service:expect "connection lost"
      local ticks = tonumber(service:output():match ".*tick (%d+)%.")
      service:expect(("tick %d%%."):format(ticks + 8))
    end
    service:expect "tick 2%."
    lose()
    server = process.server { port = server.port, args = args }
    service:expect "connected again"
    for i, call in ipairs(CALLS) do
      local failures = tonumber(service:expect(
        ("call\t%d\tis through after failures:\t(%%d+)"):format(i)))
      assert.is_true(failures < 2000, call .. " has burnt the CPU: " .. failures)
    end
    lose()
    assert.equal(0, service:stop())
  end)

  describe("lets others run when the call can never succeed:", function()
    local name

    before_each(function()
      name = unique "retry"
      assert(app.js.add_stream { name = name, subjects = { name .. ".>" }, storage = "memory" })
    end)
    after_each(function()
      app.js.flush()
      app.js.delete_stream(name)
    end)

    local function never(what, prepare)
      it(what, function()
        local call, clean = prepare()
        local ran, tries = false, 0
        app.spawn(function()
          app.sleep(0)
          ran = true
        end)
        repeat
          assert.is_falsy(call())
          tries = tries + 1
        until ran or tries == 1000
        assert.is_true(ran)
        if clean then clean() end
      end)
    end

    local function big() return ("x"):rep(8 * 1024 * 1024 + 1) end

    never("a request that is too large", function()
      local data = big()
      return function() return app.request(name, data) end
    end)
    never("a publish that is too large", function()
      local data = big()
      return function() return app.js.publish(name .. ".a", data) end
    end)
    never("an asynchronous publish that is too large", function()
      local data = big()
      return function() return app.js.publish_async(name .. ".a", data):await() end
    end)
    never("a future that has failed", function()
      local future = app.js.publish_async(name .. ".a", "x", { expected_last_seq = 9 })
      return function() return future:await() end
    end)
    never("a future that is not awaited long enough", function()
      local listener = app.listen(name, function() end)
      local future = app.js.publish_async(name, "x", { timeout = 1 })
      return function() return future:await(0) or app.js.flush(0) end, function()
        listener:stop()
        future:await()
      end
    end)
    never("a fetch of a subscription that was stopped", function()
      local psub = app.js.pull_subscribe(name .. ".>", { stream = name })
      assert(psub:fetch(1, { no_wait = true }))
      psub:stop()
      return function() return psub:fetch() end
    end)
    never("an acknowledgement of what is acknowledged", function()
      assert(app.js.publish(name .. ".a", "x"))
      local psub = app.js.pull_subscribe(name .. ".>", { stream = name })
      local msg = assert(psub:fetch())[1]
      assert(msg:ack())
      return function() return msg:ack_sync() end, function() psub:stop() end
    end)
    never("a key with a ttl in a bucket that knows none", function()
      local kv = assert(app.js.create_key_value { bucket = name, storage = "memory" })
      return function() return kv:create("k", "v", { ttl = 1 }) end,
        function() app.js.delete_key_value(name) end
    end)
    never("a second place in a queue group", function()
      local function join()
        return app.js.subscribe(name .. ".>", { stream = name, queue = "q" }, function() end)
      end
      local first = assert(join())
      return join, function() first:stop() end
    end)
    never("the purge of a key that looks like a pattern", function()
      local kv = assert(app.js.create_key_value { bucket = name, storage = "memory" })
      return function() return kv:purge "a.*" end,
        function() app.js.delete_key_value(name) end
    end)
  end)
end)
