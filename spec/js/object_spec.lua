-- The object store against a real server.
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local failed = require "spec.support.failed"
local logged = require "spec.support.logged"
local own = require "spec.support.own"
local since = require "spec.support.since"
local process = require "spec.support.process"
local testing = require "lunats.testing"

local CHUNK = 128 * 1024

local function sha256(bytes)
  return "SHA-256=" .. core.base64url(core.sha256():update(bytes):final())
end

---Bytes that are not the same everywhere.
local function bytes(size)
  local block = {}
  for i = 1, 4096 do block[i] = string.char(i * 7919 % 251) end
  return (table.concat(block)):rep(size // 4096 + 1):sub(1, size)
end

describe("app.js object store", function()
  local create = own.store

  ---How many chunks the store has, of any object.
  local function chunks(store)
    local info = assert(app.js.stream_info("OBJ_" .. store.bucket,
      { subjects_filter = store.chunk_prefix .. ">" }))
    local count = 0
    for _, one in pairs(info.state.subjects or {}) do count = count + one end
    return count
  end

  after_each(function()
    own.close()
    process.close_all()
  end)

  describe("stores", function()
    it("are created as other clients create them", function()
      local store = create { ttl = 3600, max_bytes = 1 << 20, description = "files" }
      local config = assert(app.js.stream_info("OBJ_" .. store.bucket)).config
      assert.same({ ("$O.%s.C.>"):format(store.bucket), ("$O.%s.M.>"):format(store.bucket) },
        { table.unpack(config.subjects) })
      assert.equal(3600, config.max_age)
      assert.equal("new", config.discard)
      assert.is_true(config.allow_rollup_hdrs and config.allow_direct)
      local status = assert(store:status())
      assert.equal(3600, status.ttl)
      assert.equal("files", status.description)
      assert.is_false(status.sealed)
      create { bucket = store.bucket, ttl = 3600, max_bytes = 1 << 20, description = "files" }
    end)

    it("are found, listed and deleted", function()
      local store = create()
      assert.equal(store.bucket, assert(app.js.object_store(store.bucket)).bucket)
      local names = table.concat(assert(app.js.object_store_names()), " ")
      assert.truthy(names:find(store.bucket, 1, true))
      assert(app.js.delete_object_store(store.bucket))
      failed("not_found", app.js.object_store(store.bucket))
    end)

    it("have names and options that are checked", function()
      for _, name in ipairs { "", "a b", "a.b", "a*", 7 } do
        assert.has_error(function() app.js.create_object_store { bucket = name } end)
        assert.has_error(function() app.js.object_store(name) end)
        assert.has_error(function() app.js.delete_object_store(name) end)
      end
      assert.has_error(function() app.js.create_object_store { bucket = "a", histroy = 1 } end)
      assert.has_error(function() app.js.create_object_store { bucket = "a", ttl = "x" } end)
    end)
  end)

  describe("an object", function()
    for _, size in ipairs { 0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK } do
      it(("of %d bytes is stored and read"):format(size), function()
        local store = create()
        local data = bytes(size)
        local info = assert(store:put("dir/some file.bin", data))
        assert.equal("dir/some file.bin", info.name)
        assert.equal(store.bucket, info.bucket)
        assert.equal(size, info.size)
        assert.equal(-(-size // CHUNK), info.chunks)
        assert.equal(sha256(data), info.digest)
        assert.equal(22, #info.nuid)
        assert.equal(info.chunks, chunks(store))
        assert.is_true(assert(store:get "dir/some file.bin") == data)
        local again = assert(store:info "dir/some file.bin")
        again.modified, info.modified = nil, nil
        assert.same(info, again)
      end)
    end

    it("of 5 MiB passes in pieces, there and back", function()
      local store = create()
      local piece, sent = bytes(50000), 0
      local pieces = 5 * 1024 * 1024 // #piece + 1
      local digest = core.sha256()
      local most = 0
      collectgarbage()
      local before = collectgarbage "count"
      local info = assert(store:put("big", function()
        sent = sent + 1
        if sent > pieces then return nil end
        digest:update(piece)
        collectgarbage()
        most = math.max(most, collectgarbage "count" - before)
        return piece
      end))
      assert.equal(pieces * #piece, info.size)
      assert.equal("SHA-256=" .. core.base64url(digest:final()), info.digest)
      assert.is_true(most < 2500, ("%d KiB"):format(most // 1))
      local got, size = core.sha256(), 0
      local result = assert(store:get("big", { write = function(chunk)
        got:update(chunk)
        size = size + #chunk
      end }))
      assert.equal(info.size, size)
      assert.equal(info.digest, "SHA-256=" .. core.base64url(got:final()))
      assert.equal("big", result.name)
    end)

    it("comes from a file and goes to one", function()
      local store = create()
      local from, to = process.path "from", process.path "to"
      local data = bytes(300000)
      local file = assert(io.open(from, "wb"))
      file:write(data)
      file:close()
      file = assert(io.open(from, "rb"))
      assert.equal(sha256(data), assert(store:put("f", file)).digest)
      file:close()
      assert(store:get("f", { file = to }))
      file = assert(io.open(to, "rb"))
      assert.is_true(file:read "a" == data)
      file:close()
      file = assert(io.open(to, "wb"))
      assert(store:get("f", { file = file }))
      file:close()
      file = assert(io.open(to, "rb"))
      assert.is_true(file:read "a" == data)
      file:close()
      failed("io", store:get("f", { file = "/nonexistent/path" }))
      failed("not_found", store:get("none", { file = to .. ".none" }))
      assert.is_nil(io.open(to .. ".none"))
    end)

    it("carries description, headers and metadata, and chunks of another size", function()
      local store = create()
      assert(store:put("a", "1234567", { description = "seven", chunk_size = 3,
        headers = { A = "1", B = { "2", "3" } }, metadata = { k = "v" } }))
      local info = assert(store:info "a")
      assert.equal(3, info.chunks)
      assert.equal(3, info.chunk_size)
      assert.equal("seven", info.description)
      assert.same({ "1" }, { table.unpack(info.headers.A) })
      assert.same({ "2", "3" }, { table.unpack(info.headers.B) })
      assert.equal("v", info.metadata.k)
      assert.equal("1234567", store:get "a")
    end)

    it("replaces the one of that name, whose chunks go", function()
      local store = create()
      assert(store:put("a", "12345", { chunk_size = 1 }))
      assert.equal(5, chunks(store))
      assert(store:put("a", "67", { chunk_size = 1 }))
      assert.equal(2, chunks(store))
      assert.equal("67", store:get "a")
      assert(store:put("a", ""))
      assert.equal(0, chunks(store))
      assert.equal("", store:get "a")
    end)

    it("is one of those that were put at the same time, and only its chunks stay", function()
      local store = create()
      local done = 0
      for i = 1, 8 do
        app.spawn(function()
          assert(store:put("a", tostring(i):rep(i), { chunk_size = 1 }))
          if i % 4 == 0 then store:delete "a" end
          done = done + 1
        end)
      end
      eventually("all", function() return done == 8 end)
      local info = store:info "a"
      assert.equal(info and info.chunks or 0, chunks(store))
      if info then assert.equal(tostring(info.size):rep(info.size), store:get "a") end
    end)

    it("is deleted with its chunks, and may come again", function()
      local store = create()
      assert(store:put("a", "1"))
      assert.is_true(assert(store:delete "a"))
      assert.equal(0, chunks(store))
      failed("not_found", store:get "a")
      failed("not_found", store:info "a")
      failed("not_found", store:delete "a")
      failed("not_found", store:delete "b")
      assert(store:put("a", "2"))
      assert.equal("2", store:get "a")
    end)

    it("is damaged when its bytes are others", function()
      local store = create()
      local info = assert(store:put("a", "12", { chunk_size = 1 }))
      local subject = store.chunk_prefix .. info.nuid
      assert(app.js.publish(subject, "3"))
      failed("damaged", store:get "a")
      local path = process.path "damaged"
      failed("damaged", store:get("a", { file = path }))
      assert.is_nil(io.open(path))
      assert.is_nil(io.open(path .. ".part"))
      assert(core.request("$JS.API.STREAM.PURGE.OBJ_" .. store.bucket, { filter = subject }))
      assert(app.js.publish(subject, "1"))
      assert(app.js.publish(subject, "3"))
      local err = failed("damaged", store:get "a")
      assert.truthy(err.message:find("digest", 1, true))
      assert(core.request("$JS.API.STREAM.PURGE.OBJ_" .. store.bucket, { filter = subject }))
      failed("damaged", store:get "a")
      assert(store:put("a", ("x"):rep(300), { chunk_size = 1 }))
      local read = 0
      failed("damaged", store:get("a", { write = function()
        read = read + 1
        if read == 1 then assert(store:put("a", "other")) end
      end }))
      assert.is_true(read < 300)
    end)

    it("that others describe wrongly concerns only itself", function()
      local json = require "lunats.json"
      local store = create()
      assert(store:put("good", "1"))
      local function describe_bad(fields)
        fields.name = "bad"
        assert(app.js.publish(store.meta_prefix .. core.base64url "bad", json.encode(fields)))
      end
      for _, nuid in ipairs { ">", "*", "", "a b", "a.>", 7, {} } do
        describe_bad { nuid = nuid, size = 1, chunks = 1 }
        failed("damaged", store:get "bad")
        assert(store:put("bad", "2"))
        describe_bad { nuid = nuid, size = 1, chunks = 1 }
        assert(store:delete "bad")
        assert.equal("1", store:get "good")
      end
      for _, link in ipairs { 7, { bucket = "a.b", name = "x" }, { name = "x" },
        { bucket = store.bucket, name = 7 } } do
        describe_bad { size = "1", chunks = {}, digest = {}, options = { link = link } }
        assert.is_nil((store:info "bad").link)
        assert(store:get "bad")
      end
      describe_bad { size = -1, chunks = 1.5, options = 1 }
      assert.equal(2, #assert(store:list()))
    end)

    it("has a name and data that are checked", function()
      local store = create()
      for _, name in ipairs { "", 7, false } do
        for _, method in ipairs { "put", "get", "info", "delete", "add_link" } do
          assert.has_error(function() store[method](store, name, "x") end)
        end
      end
      assert.has_error(function() store:put("a") end)
      assert.has_error(function() store:put("a", {}) end)
      assert.has_error(function() store:put("a", "x", { chunk_size = 0 }) end)
      assert.has_error(function() store:put("a", "x", { chunksize = 1 }) end)
      assert.has_error(function() store:get("a", { wirte = print }) end)
      assert.has_error(function() store:get("a", { write = print, file = "x" }) end)
      local name = "ä/б \0.*>" .. ("long"):rep(50)
      assert(store:put(name, "x"))
      assert.equal("x", store:get(name))
      assert.equal(name, store:list()[1].name)
    end)
  end)

  describe("a put that fails", function()
    it("leaves no chunks when the source raises, returns an error or a wrong type", function()
      local store = create()
      assert(store:put("a", "old"))
      local function source(outcome)
        local count = 0
        return function()
          count = count + 1
          if count > 20 then return outcome() end
          return "xx"
        end
      end
      assert.error_matches(function()
        store:put("a", source(function() error "oops" end), { chunk_size = 2 })
      end, "oops")
      assert.equal(1, chunks(store))
      local info, err = store:put("a", source(function() return nil, "no more" end),
        { chunk_size = 2 })
      assert.is_nil(info)
      assert.equal("no more", err)
      assert.equal(1, chunks(store))
      assert.has_error(function()
        store:put("a", source(function() return {} end), { chunk_size = 2 })
      end)
      assert.equal(1, chunks(store))
      assert.equal("old", store:get "a")
    end)

    it("leaves no chunks when the store is full", function()
      local store = create { max_bytes = 1000000 }
      assert(store:put("a", bytes(300000)))
      local before = chunks(store)
      local info, err = store:put("b", bytes(2000000))
      assert.is_nil(info)
      assert.equal("jetstream", err.code)
      assert.equal(before, chunks(store))
      failed("not_found", store:info "b")
      assert(store:put("c", bytes(100000)))
    end)

    it("leaves no chunks when its fiber is cancelled", function()
      local store = create()
      for i = 1, 10 do
        local fiber = app.spawn(function()
          store:put("cancelled", bytes(2000000), { chunk_size = 20000 })
        end)
        app.sleep(i % 5 / 1000)
        fiber:cancel()
      end
      assert(app.flush()) -- all that was on its way is there
      eventually("their end", function() return chunks(store) == 0 end)
    end)

    it("leaves no chunks when its fiber ends with the service", function()
      -- Newer ones may do what they are asked for before they store what came first, and nobody
      -- is left to ask again.
      if since "2.10" then return pending "servers before 2.10" end
      local store = create()
      local svc = testing.start(([[
        app.task(function()
          local store = assert(app.js.object_store("%s"))
          local count = 0
          store:put("endless", function()
            app.sleep(0.01)
            count = count + 1
            if count == 20 then app.publish "under.way" end
            return "x"
          end, { chunk_size = 1 })
        end)
      ]]):format(store.bucket))
      svc:expect "under.way"
      assert.is_true(chunks(store) > 0)
      assert.equal(0, svc:stop())
      eventually("no chunks", function() return chunks(store) == 0 end)
    end)
  end)

  it("a get goes on when its consumer is deleted", function()
    local store = create()
    local data = bytes(20 * CHUNK)
    assert(store:put("a", data))
    local stream, count, parts = "OBJ_" .. store.bucket, 0, {}
    assert(store:get("a", { write = function(piece)
      count = count + 1
      parts[count] = piece
      if count % 8 ~= 5 then return end -- once in each batch
      local reply = assert(core.request("$JS.API.CONSUMER.NAMES." .. stream))
      assert.equal(1, #reply.data.consumers)
      assert(app.js.delete_consumer(stream, reply.data.consumers[1]))
    end }))
    assert.is_true(table.concat(parts) == data)
    eventually("no consumer", function()
      return app.js.stream_info(stream).state.consumer_count == 0
    end)
  end)

  it("a get survives the death of the server, a put leaves nothing behind", function()
    local svc, broker = own.service [[
      app.task(function()
        local store = assert(app.js.create_object_store { bucket = "b" })
        local count = 0
        local function slowly(text)
          app.sleep(0.02)
          count = count + 1
          if count == 20 then app.log.info(text) end
        end
        assert(store:put("a", ("x"):rep(4000000), { chunk_size = 100000 }))
        local info, err = store:get("a", { write = function() slowly "reading" end })
        app.log.info(("read %s"):format(info and info.size or err))
        count = 0
        info, err = store:put("b", function()
          slowly "writing"
          return ("y"):rep(1000)
        end, { chunk_size = 1000 })
        app.log.info(("written %s"):format(info))
        while true do
          local known = app.js.stream_info("OBJ_b", { subjects_filter = "$O.b.C.>" })
          local chunks = 0
          for _, n in pairs(known and known.state.subjects or {}) do chunks = chunks + n end
          if known and chunks == 40 then break end
          app.sleep(0.1)
        end
        app.log.info "clean"
      end)
    ]]
    for _, text in ipairs { "reading", "writing" } do
      logged(svc, text)
      own.stored(broker, "$O.b.M.") -- the message behind the chunks of "a"
      own.outage(svc, broker)
      if text == "reading" then logged(svc, "^read 4000000$") end
    end
    logged(svc, "^written nil$")
    logged(svc, "^clean$")
  end)

  describe("list and watch", function()
    it("tell which objects there are", function()
      local store = create()
      assert.same({}, assert(store:list()))
      for _, name in ipairs { "a", "b", "c", "b" } do assert(store:put(name, name)) end
      store:delete "a"
      local names = {}
      for i, info in ipairs(assert(store:list())) do names[i] = info.name end
      assert.same({ "c", "b" }, names)
      local all = assert(store:list { deleted = true })
      assert.equal(3, #all)
      assert.equal("a", all[3].name)
      assert.is_true(all[3].deleted)
    end)

    it("tell what changes", function()
      local store = create()
      store:put("a", "1")
      store:put("b", "2")
      store:delete "b"
      local seen = {}
      local handle = assert(store:watch({ on_initial = function()
        seen[#seen + 1] = "initial"
      end }, function(info)
        seen[#seen + 1] = info.name .. (info.deleted and " deleted" or " " .. info.size)
      end))
      assert(handle:ready())
      store:put("c", "333")
      store:delete "a"
      eventually("all", function() return #seen == 5 end)
      assert.same({ "a 1", "b deleted", "initial", "c 3", "a deleted" }, seen)
      handle:stop()
      assert.has_error(function() store:watch() end)
      assert.has_error(function() store:watch({ new = true }, print) end)
    end)
  end)

  describe("update_meta", function()
    it("changes what is told and the name, not the bytes", function()
      local store = create()
      assert(store:put("a", "1", { description = "old" }))
      assert(store:put("b", "2"))
      assert(store:update_meta("a", { description = "new", metadata = { k = "v" } }))
      local info = assert(store:info "a")
      assert.equal("new", info.description)
      assert.equal("v", info.metadata.k)
      assert(store:update_meta("a", { name = "c" }))
      failed("not_found", store:info "a")
      assert.equal("1", store:get "c")
      assert.equal("new", store:info("c").description)
      assert.equal(2, #store:list { deleted = true })
      failed("exists", store:update_meta("c", { name = "b" }))
      failed("not_found", store:update_meta("x", { name = "y" }))
      assert.has_error(function() store:update_meta("c", { size = 7 }) end)
    end)
  end)

  describe("links", function()
    it("lead to objects, here and in other stores", function()
      local one, two = create(), create()
      local info = assert(one:put("a", "1"))
      assert(one:add_link("here", info))
      assert(two:add_link("there", info))
      assert.equal("1", one:get "here")
      assert.equal("1", two:get "there")
      assert.same({ bucket = one.bucket, name = "a" }, two:info("there").link)
      assert(one:put("a", "2"))
      assert.equal("2", two:get "there")
      failed("exists", one:add_link("a", info))
      failed("jetstream", one:add_link("c", one:info "here"))
      assert(one:put("b", "3"))
      assert(one:add_link("here", one:info "b")) -- a link may be replaced
      assert.equal("3", one:get "here")
      assert(one:delete "here")
      assert.equal("3", one:get "b")
      assert(one:delete "a")
      failed("not_found", two:get "there")
      assert.has_error(function() one:add_link("x", "a") end)
    end)

    it("lead to stores", function()
      local one, two = create(), create()
      local link = assert(one:add_bucket_link("two", two))
      assert.same({ bucket = two.bucket }, link.link)
      local err = failed("jetstream", one:get "two")
      assert.truthy(err.message:find(two.bucket, 1, true))
      assert(one:add_bucket_link("two", two.bucket))
      assert.has_error(function() one:add_bucket_link("two", {}) end)
    end)
  end)

  it("seal makes that nothing can be changed", function()
    local store = create()
    store:put("a", "1")
    assert.is_true(assert(store:seal()))
    assert.is_true(store:status().sealed)
    assert.equal("1", store:get "a")
    assert.equal(10109, failed("jetstream", store:put("b", "2")).err_code)
    failed("jetstream", store:delete "a")
    assert.equal("1", store:get "a")
  end)
end)
