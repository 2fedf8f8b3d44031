-- Watching a bucket of the key-value store, against a real server.
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local failed = require "spec.support.failed"
local logged = require "spec.support.logged"
local own = require "spec.support.own"
local since = require "spec.support.since"

describe("app.js key-value: watch", function()
  local create = own.bucket

  local function watch(kv, ...) return own.keep(assert(kv:watch(...))) end

  after_each(own.close)

  describe("watch", function()
    ---A list of what is reported, with "initial" for the sign.
    local function record(kv, key, opts)
      local list = {}
      opts = opts or {}
      opts.on_initial = function() list[#list + 1] = "initial" end
      local handle = watch(kv, key, opts, function(entry)
        list[#list + 1] = ("%d %s %s %s"):format(entry.revision, entry.operation, entry.key,
          entry.value)
      end)
      return list, handle
    end

    local function expect(want, list)
      eventually(function() return table.concat(list, ", ") end, function()
        return #list >= #want
      end)
      assert.same(want, list)
    end

    it("reports what is there, gives a sign, then reports changes", function()
      local kv = create { history = 5 }
      kv:put("a", "1")
      kv:put("a", "2")
      kv:put("b", "3")
      kv:delete "b"
      local list = record(kv)
      expect({ "2 PUT a 2", "4 DEL b nil", "initial" }, list)
      kv:put("b", "5")
      kv:purge "a"
      expect({ "2 PUT a 2", "4 DEL b nil", "initial", "5 PUT b 5", "6 PURGE a nil" }, list)
    end)

    it("gives the sign at once in an empty bucket", function()
      local kv = create()
      local list, handle = record(kv)
      assert.is_true(handle.initial)
      assert.same({ "initial" }, list)
      assert.is_true(assert(handle:ready()))
      kv:put("a", "1")
      expect({ "initial", "1 PUT a 1" }, list)
    end)

    it("reports the keys of several filters, on servers that know several", function()
      local kv = create()
      for _, key in ipairs { "a.1", "b.1", "c.1" } do assert(kv:put(key, "x")) end
      assert.has_error(function() kv:watch({ "a", ".b" }, print) end)
      if not since "2.10" then
        local handle, err = kv:watch({ "a.*", "b.*" }, print)
        assert.is_nil(handle)
        assert.equal("unsupported", err.code)
        return assert.matches("2%.10", err.message)
      end
      local list = record(kv, { "a.*", "b.*" })
      expect({ "1 PUT a.1 x", "2 PUT b.1 x", "initial" }, list)
      kv:put("c.1", "y")
      kv:put("b.1", "y")
      expect({ "1 PUT a.1 x", "2 PUT b.1 x", "initial", "5 PUT b.1 y" }, list)
      local all = {}
      local handle = assert(kv:watch({ "c.*", "b.*" }, function(entry)
        all[#all + 1] = entry.key
      end))
      assert(handle:ready())
      handle:stop()
      assert.same({ "c.1", "b.1" }, all)
    end)

    it("gives the sign for a filter that nothing matches", function()
      local kv = create()
      kv:put("a", "1")
      local list = record(kv, "b.*")
      expect({ "initial" }, list)
      kv:put("b.1", "2")
      kv:put("c.1", "3")
      kv:put("b.2", "4")
      expect({ "initial", "2 PUT b.1 2", "4 PUT b.2 4" }, list)
    end)

    it("ready() waits for the sign", function()
      local kv = create()
      for i = 1, 50 do kv:put("k" .. i, i) end
      local seen = {}
      local handle = watch(kv, function(entry) seen[entry.key] = entry.data end)
      assert.is_false(handle.initial)
      assert(handle:ready())
      for i = 1, 50 do assert.equal(i, seen["k" .. i]) end
      handle:stop()
      assert(handle:ready()) -- it has been
    end)

    it("takes include_history, updates_only, ignore_deletes, meta_only, resume_from", function()
      local kv = create { history = 5 }
      kv:put("a", "1")
      kv:put("a", "2")
      kv:delete "a"
      kv:put("b", "4")
      local all = record(kv, ">", { include_history = true })
      local new = record(kv, ">", { updates_only = true })
      local puts = record(kv, ">", { ignore_deletes = true })
      local metas = record(kv, "b", { meta_only = true })
      local rest = record(kv, ">", { resume_from = 3 })
      expect({ "1 PUT a 1", "2 PUT a 2", "3 DEL a nil", "4 PUT b 4", "initial" }, all)
      expect({ "initial" }, new)
      expect({ "4 PUT b 4", "initial" }, puts)
      expect({ "4 PUT b nil", "initial" }, metas)
      expect({ "3 DEL a nil", "4 PUT b 4", "initial" }, rest)
      kv:put("b", "5")
      expect({ "initial", "5 PUT b 5" }, new)
      assert.has_error(function()
        kv:watch("a", { updates_only = true, include_history = true }, print)
      end)
      assert.has_error(function() kv:watch("a", { resume_from = 0 }, print) end)
      assert.has_error(function() kv:watch("a", { new = true }, print) end)
      assert.has_error(function() kv:watch "a" end)
      assert.has_error(function() kv:watch("a..b", print) end)
    end)

    it("gives the sign when the last deleted one is not reported", function()
      local kv = create()
      kv:put("a", "1")
      kv:delete "a"
      local list = record(kv, ">", { ignore_deletes = true })
      expect({ "initial" }, list)
    end)

    it("gives the sign after all that was there in a bucket that never rests", function()
      local kv = create()
      for i = 1, 100 do kv:put("k" .. i, 0) end
      local stop, incomplete = false, 0
      for i = 1, 3 do
        app.spawn(function()
          while not stop do
            for _ = 1, 8 do app.publish(("$KV.%s.k%d"):format(kv.bucket, i), "x") end
            app.sleep(0.001)
          end
        end)
      end
      for round = 1, 20 do
        local seen, count = {}, 0
        local handle = watch(kv, function(entry)
          if not seen[entry.key] then count = count + 1 end
          seen[entry.key] = true
          if round == 1 then app.sleep(0.001) end
        end)
        assert(handle:ready(10))
        if count ~= 100 then incomplete = incomplete + 1 end
        handle:stop()
      end
      stop = true
      assert.equal(0, incomplete)
    end)

    it("gives the sign when what was there is removed before it could be reported", function()
      local kv = create()
      for i = 1, 50 do kv:put("k" .. i, i) end
      local ordered = require "lunats.js.ordered"
      local open = ordered.open
      finally(function() ordered.open = open end)
      function ordered.open(opts)
        ordered.open = open
        assert(app.js.purge_stream("KV_" .. kv.bucket,
          { subject = ("$KV.%s.k50"):format(kv.bucket) }))
        return open(opts)
      end
      local list = record(kv)
      eventually("the sign", function() return list[#list] == "initial" end)
      assert.equal(50, #list)
    end)

    it("calls for one entry after the other", function()
      local kv = create()
      for i = 1, 20 do kv:put("k" .. i, i) end
      local running, seen = 0, {}
      watch(kv, function(entry)
        running = running + 1
        assert(running == 1)
        app.sleep(0.001)
        seen[#seen + 1] = entry.revision
        running = running - 1
      end)
      eventually("all", function() return #seen == 20 end)
      for i = 1, 20 do assert.equal(i, seen[i]) end
    end)

    it("stops", function()
      local kv = create()
      local list, handle = record(kv)
      kv:put("a", "1")
      expect({ "initial", "1 PUT a 1" }, list)
      handle:stop()
      handle:stop()
      kv:put("a", "2")
      assert(app.flush())
      assert.equal(2, #list)
    end)

    describe("whose consumer", function()
      local ordered = require "lunats.js.ordered"
      local heartbeat = ordered.heartbeat

      before_each(function() ordered.heartbeat = 0.2 end)
      after_each(function() ordered.heartbeat = heartbeat end)

      it("misses no change before its first report", function()
        local kv = create { history = 5 }
        local list, handle = record(kv)
        assert(app.js.delete_consumer("KV_" .. kv.bucket, handle.ordered.consumer))
        for i = 1, 3 do kv:put("a", tostring(i)) end
        expect({ "initial", "1 PUT a 1", "2 PUT a 2", "3 PUT a 3" }, list)
      end)

      it("is deleted, goes on", function()
        local kv = create { history = 5 }
        kv:put("a", "1")
        local list, handle = record(kv)
        expect({ "1 PUT a 1", "initial" }, list)
        assert(app.js.delete_consumer("KV_" .. kv.bucket, handle.ordered.consumer))
        kv:put("a", "2")
        expect({ "1 PUT a 1", "initial", "2 PUT a 2" }, list)
      end)

      it("is gone with its bucket, tells so and waits for it", function()
        local kv = create()
        local err, seen
        watch(kv, ">", { on_error = function(failure) err = failure end },
          function(entry) seen = entry end)
        app.js.delete_key_value(kv.bucket)
        eventually("the error", function() return err end)
        assert.equal("not_found", err.code)
        kv = assert(app.js.create_key_value { bucket = kv.bucket, storage = "memory" })
        assert(kv:put("a", "1"))
        eventually("the new bucket", function() return seen end)
        assert.equal("1", seen.value)
      end)

      it("is gone with its bucket, is reported where nobody listens to errors", function()
        local kv = create()
        local reported
        local report = core.report
        core.report = function(text) reported = text end -- luacheck: ignore
        finally(function() core.report = report end)
        watch(kv, ">", {}, print)
        app.js.delete_key_value(kv.bucket)
        eventually("the report", function() return reported end)
        assert.truthy(reported:find(kv.bucket, 1, true), reported)
      end)
    end)

    it("fails for a bucket that is gone", function()
      local kv = create()
      app.js.delete_key_value(kv.bucket)
      failed("not_found", kv:watch(print))
      failed("not_found", kv:keys())
    end)
  end)

  it("watch misses and repeats nothing when the server is killed and comes back", function()
    local svc, broker = own.service [[
      local kv
      app.on_start(function()
        kv = assert(app.js.create_key_value { bucket = "b", history = 64 })
        assert(kv:watch(function(entry) app.log.info("seen " .. entry.revision) end))
      end)
      app.listen("burst", function(msg)
        local last
        for i = 1, 30 do
          local value = ("burst %d, %d."):format(msg.data, i)
          repeat
            last = kv:put("k" .. i % 7, value)
            if not last then app.sleep(0.05) end
          until last
        end
        return last
      end)
    ]]
    local last
    for burst = 1, 4 do
      last = eventually("a burst", function()
        return svc:request("burst", burst, { timeout = 20 })
      end).data
      if burst < 4 then
        own.stored(broker, ("burst %d, 30."):format(burst))
        own.outage(svc, broker)
      end
    end
    logged(svc, ("^seen %d$"):format(last))
    local seen = svc:logs "^seen"
    for revision, line in ipairs(seen) do assert.equal("seen " .. revision, line.message) end
    assert.equal(last, #seen)
    assert.is_true(last >= 120)
  end)
end)
