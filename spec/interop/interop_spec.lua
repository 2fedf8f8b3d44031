-- Buckets, objects, headers, acknowledgements and service errors of other clients are read
-- here, and the other way round.
--
-- nats.go: Debian's golang-go and golang-github-nats-io-go-nats-dev.
-- nats.js: spec/interop/package.json, which ./dev test installs where there is npm.
local eventually = require "spec.support.eventually"
local json = require "lunats.json"
local lfs = require "lfs"
local process = require "spec.support.process"
local read = require "spec.support.read"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

local GOPATH = "/usr/share/gocode"
local GO_PACKAGE = GOPATH .. "/src/github.com/nats-io/nats.go"
local NPM = lfs.currentdir() .. "/build/interop/npm"

local function exists(path) return lfs.attributes(path, "mode") ~= nil end

---The command line of each client, or nil and what is missing.
local clients = {}

function clients.go()
  if not exists(GO_PACKAGE) then return nil, "golang-github-nats-io-go-nats-dev" end
  if not (exists "/usr/bin/go" or exists "/usr/local/go/bin/go") then return nil, "go" end
  local program = process.path "client"
  local build = process.spawn({ "go", "build", "-o", program, "spec/interop/client.go" },
    { env = { GO111MODULE = "off", GOPATH = GOPATH } })
  assert(build:wait(60) == 0, build:output())
  return { program }
end

function clients.node()
  if not exists(NPM .. "/node_modules/@nats-io/obj") then return nil, "@nats-io/obj" end
  return { "node", "spec/interop/client.cjs", NPM }
end

for name, find in pairs(clients) do
  describe("the client of " .. name, function()
    local command, missing = nil, nil
    local bucket

    setup(function() command, missing = find() end)

    teardown(process.close_all)

    before_each(function() bucket = unique "interop" end)

    after_each(function()
      app.js.delete_key_value(bucket)
      app.js.delete_object_store(bucket)
    end)

    ---Runs one operation of the other client; returns its result.
    local function call(op, ...)
      local words = { table.unpack(command) }
      for _, word in ipairs { testing.server_url(), op, bucket, ... } do
        words[#words + 1] = word
      end
      local run = process.spawn(words)
      run:wait()
      local reply = json.decode(run:output():match "^[^\n]*")
      assert(type(reply) == "table", run:output())
      if type(reply.result) == "table" and reply.result.error then
        return nil, reply.result.error
      end
      return reply.result
    end

    local function shared(text, fn)
      it(text, function()
        if not command then return pending(missing .. " is not installed") end
        fn()
      end)
    end

    local function write_file(bytes)
      local path = process.path "bytes"
      local file = assert(io.open(path, "wb"))
      file:write(bytes)
      file:close()
      return path
    end

    ---What the other client reads. (nats.go does not shorten a file that exists.)
    local function fetch(object)
      local to = process.path "to"
      assert(call("obj_get", object, to))
      return read(to)
    end

    shared("understands headers and service errors, and is understood", function()
      local s = unique "interop"
      local svc = testing.start(([[
        app.listen("%s", { data_type = "string" }, function(msg)
          if msg.data == "wrong" then return nil, { code = 418, message = "not today" } end
          msg:respond(msg.data, { headers = { Y = msg.headers.X } })
        end)
      ]]):format(s))
      finally(function() svc:stop() end)
      local reply = assert(call("msg_request", s, "hello"))
      assert.equal("hello", reply.data)
      assert.same({ "1", "2" }, { table.unpack(reply.headers.Y) })
      reply = assert(call("msg_request", s, "wrong"))
      assert.equal("418", reply.headers["Nats-Service-Error-Code"][1])
      assert.equal("not today", reply.headers["Nats-Service-Error"][1])

      local refused
      app.spawn(function()
        refused = call("msg_refuse", s .. ".theirs", "419", "nor tomorrow")
      end)
      local err = eventually("an answer", function()
        local _, answer = app.request(s .. ".theirs", "x", { timeout = 15 })
        return answer.code ~= "no_responders" and answer
      end)
      assert.equal("service_error", err.code)
      assert.equal(419, err.status)
      assert.matches("nor tomorrow", err.message)
      eventually("its end", function() return refused end)
    end)

    shared("shares a stream: headers, acknowledgements", function()
      assert(app.js.add_stream { name = bucket, subjects = { bucket }, storage = "memory" })
      finally(function() app.js.delete_stream(bucket) end)
      assert(app.js.add_consumer { stream = bucket, durable_name = "both" })
      assert(app.js.publish(bucket, "ours", { headers = { X = "ours" } }))
      assert.equal("ours", assert(call("msg_ack", bucket, "both")))
      eventually("its acknowledgement", function()
        return app.js.consumer_info(bucket, "both").ack_floor.stream_seq == 1
      end)
      assert.equal(2, assert(call("msg_store", bucket, "theirs")))
      local psub = app.js.pull_subscribe(bucket, { stream = bucket, durable = "both" })
      local msg = assert(psub:fetch(1, { data_type = "string" }))[1]
      assert.equal("theirs", msg.data)
      assert.equal("stored", msg:header "X")
      assert.equal(2, msg.metadata.stream_sequence)
      assert(msg:ack_sync())
      assert.equal(0, psub:info().num_ack_pending)
      psub:stop()
    end)

    shared("shares a bucket that it made", function()
      assert(call "kv_create")
      local kv = assert(app.js.key_value(bucket))
      assert.equal(5, kv:status().history)
      assert(call("kv_put", "a.b", "one"))
      assert.equal("one", assert(kv:get "a.b").value)
      assert.equal(2, kv:put("a.b", { n = 2 }))
      assert.equal('{"n":2}', assert(call("kv_get", "a.b")).value)
      assert(call("kv_delete", "a.b"))
      local _, err = kv:get "a.b"
      assert.equal("not_found", err.code)
      assert.equal("DEL", err.operation)
      assert.equal(4, kv:create("a.b", "four"))
      assert.is_nil(call("kv_new", "a.b", "five"))
      assert(kv:put("c", "x"))
      local told = {}
      for i, entry in ipairs(assert(kv:history "a.b")) do
        told[i] = ("%d %s %s"):format(entry.revision, entry.operation, entry.value or "")
      end
      assert.same({ "1 PUT one", '2 PUT {"n":2}', "3 DEL ", "4 PUT four" }, told)
      for i, entry in ipairs(assert(call("kv_history", "a.b"))) do
        assert.equal(told[i], ("%d %s %s"):format(entry.revision, entry.operation, entry.value))
      end
      assert(call("kv_purge", "a.b"))
      assert.same({ "c" }, assert(kv:keys()))
      assert.same({ "c" }, { table.unpack(assert(call "kv_keys")) })
      if name == "go" then -- nats.js leaves out deny_delete
        assert(app.js.create_key_value { bucket = bucket, history = 5 })
      end
    end)

    shared("shares a bucket that we made", function()
      local kv = assert(app.js.create_key_value { bucket = bucket, history = 5 })
      assert(call "kv_create")
      assert(kv:put("k", "v"))
      assert.equal("v", assert(call("kv_get", "k")).value)
      assert(kv:delete "k")
      assert.is_nil(call("kv_get", "k"))
      assert.equal(3, call("kv_new", "k", "again"))
      assert(kv:purge "k")
      assert.is_nil(call("kv_get", "k"))
      assert.equal(5, call("kv_new", "k", "again"))
      assert.equal("again", kv:get("k").value)
    end)

    shared("shares an object store that it made", function()
      local bytes = ("0123456789abcdef"):rep(20000)
      local object = name == "go" and "dir/näme 1" or "dir/name 1" -- nats.js: Latin-1 only
      assert(call "obj_create")
      assert(call("obj_put", object, write_file(bytes), "of another client"))
      local store = assert(app.js.object_store(bucket))
      local info = assert(store:info(object))
      assert.equal(#bytes, info.size)
      assert.equal(3, info.chunks)
      assert.equal("of another client", info.description)
      assert.same({ "1", "2" }, { table.unpack(info.headers.X) })
      assert.is_true(assert(store:get(object)) == bytes)
      assert(call("obj_link", "link", object))
      assert.is_true(assert(store:get "link") == bytes)
      assert(call("obj_put", "empty", write_file "", ""))
      assert.equal("", assert(store:get "empty"))
      assert(call("obj_delete", object))
      assert.is_nil(store:get(object))
      assert.is_nil(store:get "link")
      assert(store:put(object, "back"))
      assert.equal("back", fetch(object))
    end)

    shared("shares an object store that we made", function()
      local bytes = ("fedcba9876543210"):rep(20000)
      local store = assert(app.js.create_object_store { bucket = bucket })
      assert(call "obj_create")
      local made = assert(store:put("a", bytes, { description = "ours",
        headers = { X = { "1", "2" } } }))
      local info = assert(call("obj_info", "a"))
      assert.equal(made.digest, info.digest)
      assert.equal(made.size, info.size)
      assert.equal(made.nuid, info.nuid)
      assert.equal("ours", info.description)
      assert.same({ "1", "2" }, { table.unpack(info.headers.X) })
      assert.is_true(fetch "a" == bytes)
      assert(store:add_link("b", made))
      assert.is_true(fetch "b" == bytes)
      assert(store:put("empty", ""))
      assert.equal("", fetch "empty")
      local names = assert(call "obj_list")
      table.sort(names)
      assert.same({ "a", "b", "empty" }, { table.unpack(names) })
      assert(store:update_meta("a", { name = "c" }))
      assert.is_true(fetch "c" == bytes)
      assert(store:delete "c")
      assert.is_nil(call("obj_get", "c", process.path "none"))
      assert(call("obj_put", "c", write_file "new", ""))
      assert.equal("new", assert(store:get "c"))
    end)
  end)
end
