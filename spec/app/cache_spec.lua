-- app.cache: values outside of Lua's memory.
local eventually = require "spec.support.eventually"
local testing = require "lunats.testing"

---Of this spec; each test has one of its own, as they live as long as the service.
local names = 0
local function fresh(opts)
  names = names + 1
  return app.cache("spec " .. names, opts)
end

describe("app.cache", function()
  it("keeps strings, numbers and booleans as they are", function()
    local cache = fresh()
    for i, value in ipairs { "text", "", "a\0b\xff", ("x"):rep(100000), 1, -1, 2.5, 1.0, true,
      false, math.maxinteger, math.mininteger, math.huge, -0.0 } do
      assert.is_true(cache:set(i, value))
      assert.equal(value, cache:get(i))
      assert.equal(math.type(value), math.type(cache:get(i)))
    end
    cache:set("nan", 0 / 0)
    assert.not_equal(cache:get "nan", cache:get "nan")
    assert.is_nil(cache:get "other")
    assert.equal(0, select("#", cache:get "other"))
  end)

  it("takes any bytes as a key, and an integer as its text", function()
    local cache = fresh()
    local keys = { "", "\0", "\0\0", "a", "a\0", "7", ("k"):rep(65535) }
    for i, key in ipairs(keys) do cache:set(key, i) end
    for i, key in ipairs(keys) do assert.equal(i, cache:get(key)) end
    assert.equal(6, cache:get(7))
    assert.error_matches(function() cache:get(("k"):rep(65536)) end,
      "^cache:get: a key has 65535 bytes at most, not 65536$")
  end)

  it("is one cache for one name", function()
    local cache = fresh { max_bytes = 10000, ttl = 50 }
    local name = "spec " .. names
    cache:set("k", "v")
    assert.equal(cache, app.cache(name))
    assert.equal(10000, cache:stats().max_bytes)
    assert.equal(cache, app.cache(name, { max_bytes = 20000 }))
    assert.equal(20000, cache:stats().max_bytes)
    assert.equal("v", cache:get "k")
    assert.is_nil(fresh():get "k")
  end)

  it("replaces, adds and deletes", function()
    local cache = fresh()
    assert.is_true(cache:add("k", "first"))
    assert.is_false(cache:add("k", "second"))
    assert.equal("first", cache:get "k")
    assert.is_true(cache:set("k", "a longer one than the first"))
    assert.equal("a longer one than the first", cache:get "k")
    assert.is_true(cache:delete "k")
    assert.is_false(cache:delete "k")
    assert.is_nil(cache:get "k")
    assert.is_true(cache:add("k", "third"))
  end)

  it("counts", function()
    local cache = fresh()
    assert.equal(1, cache:incr "n")
    assert.equal(2, cache:incr "n")
    assert.equal(12, cache:incr("n", 10))
    assert.equal(2.5, cache:incr("n", -9.5))
    assert.equal(101, cache:incr("m", { init = 100 }))
    assert.equal(95, cache:incr("o", -5, { init = 100, ttl = 60 }))
    assert.equal("integer", math.type(cache:get "o"))
    cache:set("text", "1")
    assert.error_matches(function() cache:incr "text" end,
      "cache:incr: what the cache 'spec %d+' has under this key is no number$")
    assert.equal("1", cache:get "text")
  end)

  it("lets the least recently used go when it is full", function()
    local cache = fresh { max_bytes = 20000 }
    local i = 0
    while cache:stats().evictions == 0 do
      i = i + 1
      cache:set(i, "0123456789")
      cache:get(1)
    end
    assert.is_nil(cache:get(2))
    assert.equal("0123456789", cache:get(1))
    assert.equal("0123456789", cache:get(i))
    local stats = cache:stats()
    assert.is_true(stats.bytes <= 20000 and stats.bytes > 19800, stats.bytes)
    assert.is_true(stats.entries > 200)
  end)

  it("refuses an entry that would push out too many", function()
    local cache = fresh { max_bytes = 8000 }
    cache:set("k", "before")
    local ok, err = cache:set("k", ("x"):rep(1000))
    assert.is_nil(ok)
    assert.equal("too_large", err.code)
    assert.matches("^the entry has 10%d%d bytes with its key; in the cache 'spec %d+' it may "
      .. "have 1000, an eighth of its max_bytes$", err.message)
    assert.equal("before", cache:get "k")
    ok, err = cache:add("other", ("x"):rep(1000))
    assert.is_nil(ok)
    assert.equal("too_large", err.code)
  end)

  it("lists the keys that were used last", function()
    local cache = fresh()
    for i = 1, 2000 do cache:set(i, i) end
    cache:get(5)
    local keys = cache:keys(3)
    assert.same({ "5", "2000", "1999" }, keys)
    assert.equal(1000, #cache:keys())
    assert.equal(2000, #cache:keys(10000))
    for _, n in ipairs { 0, -1, 10001 } do
      assert.error_matches(function() cache:keys(n) end,
        "cache:keys: from 1 to 10000 keys can be asked for$")
    end
    assert.same({}, fresh():keys())
  end)

  it("tells what it has and how it was used", function()
    local cache = fresh { max_bytes = 10000 }
    cache:set("a", "x")
    cache:get "a"
    cache:get "b"
    cache:get "b"
    local stats = cache:stats()
    assert.is_true(stats.bytes > 50 and stats.bytes < 100)
    stats.bytes = nil
    assert.same({ entries = 1, max_bytes = 10000, hits = 1, misses = 2, evictions = 0,
      expirations = 0 }, stats)
  end)

  it("says what to do with other values, keys and options", function()
    local cache = fresh()
    for text, fn in pairs {
      ["cache:set: a cache holds strings, numbers and booleans, not tables: keep "
        .. "app.json.encode(value), and app.json.decode() what you get"] =
        function() cache:set("k", {}) end,
      ["cache:set: a cache holds strings, numbers and booleans, not a function"] =
        function() cache:set("k", print) end,
      ["cache:add: a cache holds strings, numbers and booleans, not a userdata"] =
        function() cache:add("k", app.json.null) end,
      ["cache:set: no value; cache:delete(key) removes one"] = function() cache:set("k") end,
      ["cache:get: the key must be a string or an integer, not a nil"] =
        function() cache:get() end,
      ["cache:get: the key must be a string or an integer, not a number"] =
        function() cache:get(1.5) end,
      ["cache:set: the key must be a string or an integer, not a table"] =
        function() cache:set({}, 1) end,
      ["cache:set: ttl must be more than 0 seconds (math.huge: for ever; cache:delete() "
        .. "removes)"] = function() cache:set("k", 1, { ttl = 0 }) end,
      ["cache:set: unknown option 'tll' (did you mean 'ttl'?)"] =
        function() cache:set("k", 1, { tll = 1 }) end,
      ["cache:incr: a number expected, not a string"] = function() cache:incr("k", "1") end,
      ["app.cache: max_bytes must be a whole number of bytes, 1024 or more"] =
        function() app.cache("x", { max_bytes = 100 }) end,
      ["app.cache: unknown option 'size'"] = function() app.cache("x", { size = 1 }) end,
      ["app.cache: the name must be a string of 1 to 255 bytes"] =
        function() app.cache(("x"):rep(256)) end,
    } do
      local ok, err = pcall(fn)
      assert.is_false(ok)
      assert.equal(text, err:match "^spec/app/cache_spec.lua:%d+: (.*)$" or err)
    end
    assert.is_nil(cache:get "k")
  end)

  it("cannot be opened anew once a script has finalized it", function()
    local cache = fresh()
    local name = "spec " .. names
    debug.getmetatable(cache).__gc(cache)
    for _, fn in ipairs { function() cache:get "k" end, function() cache:set("k", 1) end,
      function() cache:keys() end, function() cache:stats() end,
      function() app.cache(name, { max_bytes = 5000 }) end } do
      assert.error_matches(fn, "the cache is closed$")
    end
    debug.getmetatable(cache).__gc(cache)
  end)

  it("is not seen by the collector", function()
    local cache = fresh { max_bytes = 20e6 }
    collectgarbage()
    local before = collectgarbage "count"
    local value = ("x"):rep(10000)
    for i = 1, 1000 do cache:set(i, value) end
    collectgarbage()
    assert.is_true(collectgarbage "count" - before < 1000)
    assert.is_true(cache:stats().bytes > 10e6)
  end)
end)

local COUNTER = [[
  local cache = app.cache("shared", { max_bytes = %d, ttl = %s })
  app.listen("%s", function(msg)
    local op, key, value = table.unpack(msg.data)
    local result, stats = cache[op](cache, key, value), cache:stats()
    return { value = result, max_bytes = stats.max_bytes, bytes = stats.bytes }
  end)]]

describe("A cache of services", function()
  local open = {}
  after_each(function()
    for _, svc in ipairs(open) do svc:stop() end
    open = {}
  end)

  local function start(subject, max_bytes, opts)
    local source = COUNTER:format(max_bytes or 1e6, opts and opts.ttl or "nil", subject)
    local svc = testing.start(source, { clock = opts and opts.clock })
    open[#open + 1] = svc
    return function(...) return assert(svc:request(subject, { ... })).data end, svc
  end

  it("is shared by them, and has the largest size that one of them asks for", function()
    local one, service = start("cache.one", 50000)
    local two = start("cache.two", 100000)
    one("set", "k", "from one")
    local found = two("get", "k")
    assert.equal("from one", found.value)
    assert.equal(100000, found.max_bytes)
    two("incr", "n", 2)
    assert.equal(3, one("incr", "n").value)
    service:stop()
    assert.equal("from one", two("get", "k").value)
  end)

  it("survives a reload, which may change its size", function()
    local call, svc = start("cache.reload", 100000)
    for i = 1, 500 do call("set", i, ("x"):rep(20)) end
    call("set", "k", "kept")
    assert(svc:reload(COUNTER:format(40000, "nil", "cache.reload")))
    assert.equal("kept", call("get", "k").value)
    eventually("the new size", function()
      local found = call("get", "k")
      return found.max_bytes == 40000 and found.bytes <= 40000
    end)
    assert.equal("kept", call("get", "k").value)
  end)

  it("stays as it is when a reload fails", function()
    local call, svc = start("cache.failed", 100000)
    call("set", "k", "kept")
    local ok = svc:reload 'app.cache("shared", { max_bytes = 2000 }) error "no"'
    assert.is_nil(ok)
    local found = call("get", "k")
    assert.equal("kept", found.value)
    assert.equal(100000, found.max_bytes)
    assert.equal(1, #svc:errors())
  end)

  it("is kept for a version that opens it late", function()
    local call, svc = start "cache.late"
    call("set", "k", "kept")
    assert(svc:reload [[
      app.listen("cache.late", function(msg)
        return { value = app.cache("shared"):get(msg.data[2]) }
      end)]])
    app.sleep(0)
    assert.equal("kept", call("get", "k").value)
  end)

  it("is gone with the last of them", function()
    local call, svc = start "cache.first"
    call("set", "k", "v")
    svc:stop()
    assert.is_nil(start "cache.second"("get", "k").value)
  end)

  it("ages by the clock of its services", function()
    local call, svc = start("cache.ages", 1e6, { clock = "manual", ttl = 10 })
    call("set", "k", "v")
    call("incr", "n")
    svc:advance(9)
    assert.equal("v", call("get", "k").value)
    assert.equal(2, call("incr", "n").value) -- keeps its age
    svc:advance(1)
    assert.is_nil(call("get", "k").value)
    assert.equal(1, call("incr", "n").value)
    assert.is_true(call("add", "k", "again").value)
  end)
end)
