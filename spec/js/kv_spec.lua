-- The key-value store against a real server.
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local failed = require "spec.support.failed"
local json = require "lunats.json"
local own = require "spec.support.own"
local process = require "spec.support.process"
local since = require "spec.support.since"
local unique = require "spec.support.unique"

describe("app.js key-value", function()
  local create = own.bucket

  local function watch(kv, ...) return own.keep(assert(kv:watch(...))) end

  after_each(function()
    own.close()
    process.close_all()
  end)

  describe("buckets", function()
    it("are created as other clients create them", function()
      local kv = create { history = 5, ttl = 3600, max_bytes = 100000, max_value_size = 1000,
        description = "settings" }
      local config = assert(app.js.stream_info("KV_" .. kv.bucket)).config
      assert.same({ ("$KV.%s.>"):format(kv.bucket) }, { table.unpack(config.subjects) })
      assert.equal(5, config.max_msgs_per_subject)
      assert.equal(3600, config.max_age)
      assert.equal(120, config.duplicate_window)
      assert.equal(1000, config.max_msg_size)
      assert.equal("new", config.discard)
      assert.is_true(config.allow_rollup_hdrs and config.deny_delete and config.allow_direct)
      local status = assert(kv:status())
      assert.equal(kv.bucket, status.bucket)
      assert.equal(5, status.history)
      assert.equal(3600, status.ttl)
      assert.equal(0, status.values)
      assert.equal("JetStream", status.backing_store)
      assert.equal("settings", status.description)
    end)

    it("may be created again, but not otherwise", function()
      local kv = create { history = 2 }
      create { bucket = kv.bucket, history = 2 }
      local again, err = app.js.create_key_value { bucket = kv.bucket, storage = "memory",
        history = 3 }
      assert.equal(10058, failed("jetstream", again, err).err_code)
    end)

    it("are read directly unless told otherwise", function()
      local kv = create { direct = false }
      assert.is_false(app.js.stream_info("KV_" .. kv.bucket).config.allow_direct)
      kv:put("a", "1")
      assert.equal("1", assert(kv:get "a").value)
    end)

    it("are found, listed and deleted", function()
      local kv = create()
      assert.equal(kv.bucket, assert(app.js.key_value(kv.bucket)).bucket)
      local listed = {}
      for _, name in ipairs(assert(app.js.key_value_names())) do listed[name] = true end
      assert.is_true(listed[kv.bucket])
      assert.is_true(assert(app.js.delete_key_value(kv.bucket)))
      local err = failed("not_found", app.js.key_value(kv.bucket))
      assert.truthy(err.message:find(kv.bucket, 1, true))
      failed("not_found", app.js.delete_key_value(kv.bucket))
      failed("no_stream", kv:put("a", "1"))
    end)

    it("have names of letters, digits, - and _", function()
      for _, name in ipairs { "", "a b", "a.b", "a*", "a>", "ä", ("x"):rep(300), 7 } do
        assert.has_error(function() app.js.create_key_value { bucket = name } end)
        assert.has_error(function() app.js.key_value(name) end)
        assert.has_error(function() app.js.delete_key_value(name) end)
      end
    end)

    it("have options that are checked", function()
      assert.has_error(function() app.js.create_key_value() end)
      assert.has_error(function() app.js.create_key_value { bucket = "a", histroy = 1 } end)
      assert.has_error(function() app.js.create_key_value { bucket = "a", history = 0 } end)
      assert.has_error(function() app.js.create_key_value { bucket = "a", history = 65 } end)
      assert.has_error(function() app.js.create_key_value { bucket = "a", ttl = "1h" } end)
      assert.has_error(function() app.js.create_key_value { bucket = "a", ttl = -1 } end)
    end)

    it("say what the server does not support", function()
      local name = own.bucket_name()
      local kv, err = app.js.create_key_value { bucket = name, limit_marker_ttl = 10 }
      if kv then return pending "this server knows limit markers" end
      failed("unsupported", kv, err)
      failed("not_found", app.js.key_value(name))
      failed("unsupported", create():create("a", 1, { ttl = 5 }))
    end)
  end)

  describe("a key", function()
    it("is put, read, and put again", function()
      local kv = create()
      assert.equal(1, kv:put("a.b", "first"))
      assert.equal(2, kv:put("a.b", "second"))
      local entry = assert(kv:get "a.b")
      assert.equal(kv.bucket, entry.bucket)
      assert.equal("a.b", entry.key)
      assert.equal("second", entry.value)
      assert.equal(2, entry.revision)
      assert.equal("PUT", entry.operation)
      assert.equal(0, entry.delta)
      assert.is_true(math.abs(entry.created - app.now()) < 60)
    end)

    it("holds JSON of what is not a string", function()
      local kv = create()
      for _, value in ipairs { 42, true, 1.5, math.maxinteger, { a = { 1, 2 } } } do
        kv:put("k", value)
        local entry = assert(kv:get "k")
        assert.equal(json.encode(value), entry.value)
        assert.same(json.encode(value), json.encode(entry.data))
      end
      kv:put("k", "no json")
      local entry = assert(kv:get "k")
      assert.equal("no json", entry.value)
      assert.error_matches(function() return entry.data end, "'k'.*not JSON")
      kv:put("k", "")
      assert.equal("", kv:get("k").value)
      assert.is_nil(kv:get("k").data)
    end)

    it("holds any bytes, and many of them", function()
      local kv = create()
      local big = ("\0\1\255\r\n"):rep(180000)
      assert(kv:put("big", big))
      assert.is_true(kv:get("big").value == big)
      local small = create { max_value_size = 100 }
      local revision, err = small:put("big", ("x"):rep(200))
      failed("jetstream", revision, err)
      failed("too_large", kv:put("big", ("x"):rep(2 << 20)))
    end)

    it("is not found when it does not exist or was deleted", function()
      local kv = create { history = 3 }
      assert.equal(404, failed("not_found", kv:get "nothing").status)
      kv:put("a", "1")
      assert.is_true(assert(kv:delete "a"))
      local err = failed("not_found", kv:get "a")
      assert.equal("DEL", err.operation)
      assert.equal(2, err.revision)
      assert.is_true(assert(kv:purge "a"))
      assert.equal("PURGE", failed("not_found", kv:get "a").operation)
    end)

    it("has revisions", function()
      local kv = create { history = 3 }
      kv:put("a", "1")
      kv:put("b", "2")
      kv:put("a", "3")
      assert.equal("1", kv:get("a", { revision = 1 }).value)
      assert.equal("3", kv:get("a", { revision = 3 }).value)
      failed("not_found", kv:get("a", { revision = 2 }))
      failed("not_found", kv:get("a", { revision = 99 }))
      assert.has_error(function() kv:get("a", { revision = -1 }) end)
      assert.has_error(function() kv:get("a", { revison = 1 }) end)
    end)

    it("is not what a header of its publisher says", function()
      local kv = create()
      assert(app.js.publish(("$KV.%s.a"):format(kv.bucket), "x", { headers = {
        ["Nats-Sequence"] = "999", ["Nats-Subject"] = "$KV.other.b", Status = "404",
        ["Nats-Time-Stamp"] = "2001-01-01T00:00:00Z" } }))
      local entry = assert(kv:get "a")
      assert.equal(1, entry.revision)
      assert.equal("a", entry.key)
      assert.is_true(entry.created > 1.7e9)
      assert(app.js.publish(("$KV.%s.a"):format(kv.bucket), "y",
        { headers = { ["Nats-Service-Error"] = "no" } }))
      assert.equal("y", assert(kv:get "a").value)
    end)

    it("is deleted when a marker of any kind says so", function()
      local kv = create { history = 5 }
      for marker, operation in pairs { ["KV-Operation"] = "DEL",
        ["Nats-Marker-Reason"] = "PURGE" } do
        for _, value in ipairs { "MaxAge", "Purge" } do
          assert(app.js.publish(("$KV.%s.a"):format(kv.bucket), "",
            { headers = { [marker] = value } }))
          -- An operation that we do not know is no value either.
          local want = value == "Purge" and marker == "KV-Operation" and "DEL" or operation
          assert.equal(want, failed("not_found", kv:get "a").operation)
        end
      end
      assert(app.js.publish(("$KV.%s.a"):format(kv.bucket), "",
        { headers = { ["Nats-Marker-Reason"] = "Remove" } }))
      assert.equal("DEL", failed("not_found", kv:get "a").operation)
      assert.same({}, kv:keys())
      assert(kv:create("a", "1"))
    end)

    it("of a bucket that is gone, or is not read directly any more, is told apart", function()
      local kv = create()
      kv:put("a", "1")
      local config = assert(app.js.stream_info("KV_" .. kv.bucket)).config
      config.allow_direct = false
      assert(core.request("$JS.API.STREAM.UPDATE.KV_" .. kv.bucket,
        require "lunats.js.config".to_wire(config)))
      assert.equal("1", assert(kv:get "a").value)
      app.js.delete_key_value(kv.bucket)
      failed("no_stream", kv:get "a")
    end)

    it("is read through the API where direct reading is off", function()
      local name = own.bucket_name()
      assert(app.js.add_stream { name = "KV_" .. name, subjects = { ("$KV.%s.>"):format(name) },
        max_msgs_per_subject = 2, allow_rollup_hdrs = true, storage = "memory" })
      local kv = assert(app.js.key_value(name))
      failed("not_found", kv:get "a")
      kv:put("a", "\0bytes")
      local entry = assert(kv:get "a")
      assert.equal("\0bytes", entry.value)
      assert.is_true(math.abs(entry.created - app.now()) < 60)
      assert.equal("\0bytes", kv:get("a", { revision = 1 }).value)
      kv:delete "a"
      assert.equal("DEL", failed("not_found", kv:get "a").operation)
      assert.equal(3, kv:create("a", "again"))
    end)

    it("has a valid name where it is written", function()
      local kv = create()
      for _, key in ipairs { "", ".a", "a.", "a..b", "a b", "a*", ">", "a\r\nb", "ü", "a\0",
        7, false } do
        for _, method in ipairs { "put", "create" } do
          assert.has_error(function() kv[method](kv, key, "v") end)
        end
        assert.has_error(function() kv:update(key, "v", 1) end)
      end
      for _, key in ipairs { "a", "a.b", "_x/=-.0" } do assert(kv:put(key, "v")) end
      assert.has_error(function() kv:put("a") end)
      assert.has_error(function() kv:update("a", "v") end)
    end)

    it("that no server can have stored raises where it is read", function()
      local kv = create()
      for _, key in ipairs { "", ".a", "a.", "a..b", "a b", "a\r\nb", "a\0", 7, false } do
        for _, method in ipairs { "get", "delete", "purge", "history" } do
          assert.has_error(function() kv[method](kv, key) end)
        end
      end
    end)

    it("that another tool has written is read, listed, watched and deleted", function()
      local kv = create { history = 3 }
      local keys = { "user:42", "ü.ö", "a*b", "$x", "{}", "a@b.c" }
      for _, key in ipairs(keys) do
        assert(app.js.publish(("$KV.%s.%s"):format(kv.bucket, key), "of " .. key))
      end
      assert.same(keys, assert(kv:keys()))
      local watched = {}
      local handle = watch(kv, "user:42", function(entry) watched[#watched + 1] = entry.key end)
      assert(handle:ready())
      assert.same({ "user:42" }, watched)
      for _, key in ipairs(keys) do
        assert.equal("of " .. key, assert(kv:get(key)).value)
        assert.equal(1, #assert(kv:history(key)))
        assert.same({ key }, assert(kv:keys(key)))
      end
      for i, key in ipairs(keys) do
        assert(i % 2 == 0 and kv:delete(key) or kv:purge(key))
        failed("not_found", kv:get(key))
      end
      assert.same({}, assert(kv:keys()))
      assert.equal(#keys, assert(kv:purge_deletes { older_than = 0 }))
    end)

    it("that looks like a pattern is one key", function()
      if app.nats.server_info().version:find "^2%.10%." then
        return pending "servers of 2.10 deliver another key for it"
      end
      local kv = create { history = 3 }
      kv:put("a", "1")
      kv:put("b.c", "2")
      for _, key in ipairs { "*", "b.*", ">" } do
        assert(core.request_literal(("$KV.%s.%s"):format(kv.bucket, key), "of " .. key))
      end
      assert.same({ "a", "b.c", "*", "b.*", ">" }, assert(kv:keys()))
      assert.equal("of *", assert(kv:get "*").value)
      assert.equal("of b.*", assert(kv:get "b.*").value)
      assert.equal("of >", assert(kv:history(">"))[1].value)
      failed("not_found", kv:get "*.*")
      assert(kv:delete "*")
      failed("unsupported", kv:purge ">")
      failed("unsupported", kv:delete("b.*", { revision = 4 }))
      failed("not_found", kv:get "*")
      assert(kv:purge_deletes { older_than = 0 })
      assert.same({ "a", "b.c", "b.*", ">" }, assert(kv:keys()))
    end)

    it("that looks like a pattern keeps nobody waiting", function()
      local kv = create { history = 3 }
      kv:put("a", "1")
      for _, key in ipairs { "*", "b.*", ">" } do
        assert(core.request_literal(("$KV.%s.%s"):format(kv.bucket, key), "x"))
      end
      assert.is_true(#assert(kv:keys()) >= 3)
    end)

    it("goes when its time is over", function()
      local kv = create { ttl = 1.5 }
      kv:put("a", "1")
      assert(kv:get "a")
      eventually("its end", function() return not kv:get "a" end)
      assert.same({}, assert(kv:keys()))
      assert(kv:create("a", "2"))
    end)
  end)

  describe("create", function()
    it("succeeds once", function()
      local kv = create()
      assert.equal(1, kv:create("a", "1"))
      local err = failed("wrong_last_sequence", kv:create("a", "2"))
      assert.truthy(err.message:find("exists", 1, true))
      assert.equal(1, err.revision)
      assert.equal("1", kv:get("a").value)
    end)

    it("succeeds after a delete and after a purge", function()
      local kv = create { history = 4 }
      kv:create("a", "1")
      kv:delete "a"
      assert.equal(3, kv:create("a", "2"))
      kv:purge "a"
      assert.equal(5, kv:create("a", "3"))
      assert.equal("3", kv:get("a").value)
    end)

    it("has one winner among many", function()
      local kv = create()
      kv:put("a", 0)
      kv:delete "a"
      local winners, done = 0, 0
      for i = 1, 20 do
        app.spawn(function()
          local revision, err = kv:create("a", i)
          if revision then winners = winners + 1 else
            assert.equal("wrong_last_sequence", err.code)
          end
          done = done + 1
        end)
      end
      eventually("all", function() return done == 20 end)
      assert.equal(1, winners)
    end)
  end)

  describe("update", function()
    it("wants the last revision", function()
      local kv = create()
      assert.equal(1, kv:update("a", "1", 0))
      assert.equal(2, kv:update("a", "2", 1))
      failed("wrong_last_sequence", kv:update("a", "3", 1))
      failed("wrong_last_sequence", kv:update("b", "3", 1))
      failed("wrong_last_sequence", kv:delete("a", { revision = 1 }))
      failed("wrong_last_sequence", kv:purge("a", { revision = 1 }))
      assert.equal("2", kv:get("a").value)
      assert(kv:delete("a", { revision = 2 }))
      assert(kv:purge("a", { revision = 3 }))
    end)

    it("counts without losing one, whoever does", function()
      local kv = create()
      kv:put("n", 0)
      local done = 0
      for _ = 1, 8 do
        app.spawn(function()
          for _ = 1, 5 do
            repeat
              local entry = assert(kv:get "n")
              local revision, err = kv:update("n", entry.data + 1, entry.revision)
              assert(revision or err.code == "wrong_last_sequence", err)
            until revision
          end
          done = done + 1
        end)
      end
      eventually("all", function() return done == 8 end)
      assert.equal(40, kv:get("n").data)
    end)
  end)

  describe("keys", function()
    it("are those with a value", function()
      local kv = create { history = 3 }
      assert.same({}, assert(kv:keys()))
      kv:put("a.1", "x")
      kv:put("b.1", "x")
      kv:put("a.2", "x")
      kv:put("b.1", "y")
      kv:put("c", "x")
      kv:delete "c"
      kv:put("d", "x")
      kv:purge "d"
      assert.same({ "a.1", "a.2", "b.1" }, assert(kv:keys()))
      assert.same({ "a.1", "a.2" }, assert(kv:keys "a.*"))
      assert.same({ "a.1", "b.1" }, assert(kv:keys "*.1"))
      assert.same({ "a.1", "a.2" }, assert(kv:keys "a.>"))
      assert.same({ "b.1" }, assert(kv:keys "b.1"))
      assert.same({}, assert(kv:keys "e"))
      for _, filter in ipairs { "", "a.", ">.a", "a.>.b", "a b" } do
        assert.has_error(function() kv:keys(filter) end)
      end
    end)

    it("are found by several filters at once, on servers that know several", function()
      local kv = create()
      for _, key in ipairs { "a.1", "b.1", "c.1", "d" } do assert(kv:put(key, "x")) end
      for _, filter in ipairs { {}, { "a.*", "b." }, { "a.*", 1 } } do
        assert.has_error(function() kv:keys(filter) end)
      end
      assert.same({ "b.1" }, assert(kv:keys { "b.*" }))
      local keys, err = kv:keys { "a.*", "d" }
      if since "2.10" then
        assert.same({ "a.1", "d" }, keys)
        assert.same({}, assert(kv:keys { "x", "y" }))
      else
        assert.is_nil(keys)
        assert.equal("unsupported", err.code)
        assert.matches("2%.10", err.message)
      end
    end)

    it("are complete while some of them are written all the time", function()
      local kv = create()
      for i = 1, 100 do kv:put("cold." .. i, i) end
      for _, key in ipairs { "hot.a", "hot.b" } do kv:put(key, 0) end
      local stop, errors = false, 0
      local function write(key)
        while not stop do assert(kv:put(key, "x")) end -- no faster than the server stores them
      end
      for _ = 1, 8 do
        for _, key in ipairs { "hot.a", "hot.b", "cold.1" } do app.spawn(write, key) end
      end
      for _ = 1, 40 do
        local keys = kv:keys()
        if not keys or #keys ~= 102 then errors = errors + 1 end
        if #assert(kv:history "hot.a") == 0 then errors = errors + 1 end
      end
      stop = true
      assert.equal(0, errors)
    end)

    it("come to an end when some of them are removed meanwhile", function()
      local patience = require("lunats.js.watch").patience
      local kv = create()
      for i = 1, 50 do kv:put("k" .. i, i) end
      -- Between the look at what is there and the reading: no marker tells of it.
      local ordered = require "lunats.js.ordered"
      local open = ordered.open
      finally(function() ordered.open = open end)
      function ordered.open(opts)
        ordered.open = open
        local subject = ("$KV.%s.k7"):format(kv.bucket)
        assert(app.js.purge_stream("KV_" .. kv.bucket, { subject = subject }))
        return open(opts)
      end
      local before = app.now()
      assert.equal(49, #assert(kv:keys()))
      assert.is_true(app.now() - before < patience)
    end)

    it("may be many", function()
      local kv = create()
      local want = {}
      for i = 1, 1500 do
        want[i] = ("k.%d"):format(i)
        app.publish(("$KV.%s.%s"):format(kv.bucket, want[i]), "x")
      end
      eventually("all stored", function() return kv:status().values == 1500 end)
      assert.same(want, assert(kv:keys()))
    end)
  end)

  it("history tells what happened to a key, in order", function()
    local kv = create { history = 4 }
    assert.same({}, assert(kv:history "a"))
    kv:put("a", "1")
    kv:put("b", "x")
    kv:put("a", "2")
    kv:delete "a"
    kv:put("a", "3")
    kv:put("a", "4")
    local told = {}
    for i, entry in ipairs(assert(kv:history "a")) do
      told[i] = ("%d %s %s %d"):format(entry.revision, entry.operation, entry.value,
        entry.delta)
    end
    assert.same({ "3 PUT 2 3", "4 DEL nil 2", "5 PUT 3 1", "6 PUT 4 0" }, told)
    kv:purge "a"
    local history = assert(kv:history "a")
    assert.equal(1, #history)
    assert.equal("PURGE", history[1].operation)
  end)

  it("purge_deletes removes markers, but keeps young ones", function()
    local kv = create { history = 3 }
    for _, key in ipairs { "a", "b", "c" } do
      kv:put(key, "1")
      kv:put(key, "2")
    end
    kv:delete "a"
    kv:purge "b"
    assert.equal(2, kv:purge_deletes())
    assert.equal(1, #kv:history "a")
    assert.equal(1, #kv:history "b")
    assert.equal(2, kv:purge_deletes { older_than = 0 })
    assert.same({}, kv:history "a")
    assert.same({}, kv:history "b")
    assert.equal(2, #kv:history "c")
  end)

  it("purge_deletes removes nothing that is written meanwhile", function()
    local bucket = require "lunats.js.bucket"
    local purge = bucket.purge
    finally(function() bucket.purge = purge end)
    for _, older_than in ipairs { 0, 3600 } do
      local kv = create { history = 3 }
      kv:delete "first" -- there is no message before it
      kv:put("a", "1")
      kv:delete "a"
      local subjects = {}
      function bucket.purge(stream, subject, ...)
        subjects[#subjects + 1] = subject:match "[^.]+$"
        assert(kv:put(subjects[#subjects], "new"))
        return purge(stream, subject, ...)
      end
      assert.equal(2, assert(kv:purge_deletes { older_than = older_than }))
      bucket.purge = purge
      table.sort(subjects)
      assert.same({ "a", "first" }, subjects)
      for _, key in ipairs(subjects) do assert.equal("new", assert(kv:get(key)).value) end
      assert.equal(older_than == 0 and 1 or 2, #kv:history "a")
    end
  end)

  it("a mirror is read here and written there", function()
    local origin = create()
    origin:put("a", "1")
    local mirror = create { bucket = unique "mirror", mirror = origin.bucket }
    eventually("the copy", function() return mirror:get "a" end)
    assert.equal("1", mirror:get("a").value)
    assert.equal(mirror.bucket, mirror:get("a").bucket)
    assert(mirror:put("b", "2"))
    -- The mirror answers for its origin, too, so both may be late.
    local function copied() return origin:get "b" and mirror:get "b" end
    assert.equal("2", eventually("the copy", copied).value)
    assert.same({ "a", "b" }, assert(mirror:keys()))
    failed("wrong_last_sequence", mirror:create("b", "3"))
    local opened = assert(app.js.key_value(mirror.bucket))
    assert.equal("2", assert(opened:get "b").value)
    local seen = {}
    watch(opened, "b", function(entry) seen[#seen + 1] = entry.value end)
    origin:put("b", "4")
    eventually("the change", function() return seen[#seen] == "4" end)
    local names = table.concat(assert(app.js.key_value_names()), " ")
    assert.truthy(names:find(mirror.bucket, 1, true))
  end)

  it("sources are collected where the server can rename subjects", function()
    local origin = create()
    local name = own.bucket_name()
    local kv, err = app.js.create_key_value { bucket = name, sources = { origin.bucket },
      storage = "memory" }
    if not kv then
      failed("unsupported", kv, err)
      return pending "this server cannot rename subjects"
    end
    origin:put("a", "1")
    eventually("the copy", function() return kv:get "a" end)
  end)
end)
