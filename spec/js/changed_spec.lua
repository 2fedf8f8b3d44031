-- What exists with another configuration: the error tells what differs, and what to do.
local unique = require "spec.support.unique"

local js = app.js

describe("a stream that exists with another configuration", function()
  local name

  before_each(function() name = unique "changed" end)
  after_each(function() js.delete_stream(name) end)

  it("is an error with its name, what differs, and ensure_stream", function()
    assert(js.add_stream { name = name, subjects = { name }, max_msgs = 10, max_age = 60 })
    local info, err = js.add_stream { name = name, subjects = { name }, max_msgs = 11,
      description = "new" }
    assert.is_nil(info)
    assert.equal("jetstream", err.code)
    assert.equal(10058, err.err_code)
    assert.equal(("stream '%s' exists with another configuration: description is not set on "
      .. 'the server and "new" here; max_age is 60 s on the server and not set here; '
      .. "max_msgs is 10 on the server and 11 here. app.js.ensure_stream changes it "
      .. "where it can be changed (JetStream error 10058)"):format(name), err.message)
    assert.same({
      { field = "description", asked = "new" }, { field = "max_age", asked = nil, found = 60 },
      { field = "max_msgs", asked = 11, found = 10 },
    }, err.differences)
    assert(js.ensure_stream { name = name, max_msgs = 11, description = "new" })
  end)

  it("is none for what the server has filled in", function()
    for _, config in ipairs {
      { name = name }, { name = name, max_age = 60 }, { name = name, max_msgs = 0 },
      { name = name, sources = { { name = name .. "x", filter_subject = "a" } } },
      { name = name, retention = "interest", subjects = { name .. ".>" }, max_bytes = -1 },
      { name = name, mirror = { name = name .. "x", opt_start_seq = 5 } },
      { name = name, republish = { src = ">", dest = "copy." .. name .. ".>" } },
    } do
      local made = assert(js.add_stream(config))
      assert.equal(made.created, assert(js.add_stream(config)).created)
      assert.equal(made.created, assert(js.add_stream(made.config)).created)
      assert(js.delete_stream(name))
    end
  end)

  it("tells what the server never changes", function()
    assert(js.add_stream { name = name })
    for _, call in ipairs { "ensure_stream", "update_stream" } do
      local info, err = js[call] { name = name, storage = "memory" }
      assert.is_nil(info)
      assert.matches(("^stream '%s' cannot be changed so: .*storage.*: storage is \"file\" on "
        .. "the server and \"memory\" here%%. Delete it with app.js.delete_stream")
        :format(name), err.message)
      assert.same({ { field = "storage", asked = "memory", found = "file" } }, err.differences)
    end
    local _, err = js.update_stream { name = name, max_age = 5, duplicate_window = 6 }
    assert.falsy(err.message:find("Delete", 1, true))
  end)

  it("shows the beginning of what is long", function()
    local subjects = {}
    for i = 1, 200 do subjects[i] = name .. "." .. i end
    assert(js.add_stream { name = name, subjects = subjects })
    local _, err = js.add_stream { name = name, subjects = { name } }
    assert.is_true(#err.message < 500)
    assert.equal(200, #err.differences[1].found)
  end)
end)

describe("a consumer that exists with another configuration", function()
  local stream

  before_each(function()
    stream = unique "changed"
    assert(js.add_stream { name = stream, subjects = { stream .. ".>" } })
    assert(js.add_consumer { stream = stream, durable_name = "d", ack_wait = 5,
      filter_subject = stream .. ".a" })
  end)
  after_each(function() js.delete_stream(stream) end)

  local function check(err)
    assert.equal("jetstream", err.code)
    assert.matches(("^consumer 'd' of stream '%s' cannot be changed so: deliver policy can "
      .. "not be updated"):format(stream), err.message)
    assert.matches('deliver_policy is "all" on the server and "new" here', err.message, 1, true)
    assert.matches(("Delete it with app.js.delete_consumer(%q, \"d\"), or use another name")
      :format(stream), err.message, 1, true)
    for _, one in ipairs(err.differences) do
      if one.field == "deliver_policy" then return assert.equal("new", one.asked) end
    end
    error "deliver_policy is missing"
  end

  it("is named by add_consumer, ensure_consumer and update_consumer", function()
    for _, call in ipairs { "add_consumer", "ensure_consumer", "update_consumer" } do
      local info, err = js[call] { stream = stream, durable_name = "d", ack_wait = 5,
        filter_subject = stream .. ".a", deliver_policy = "new" }
      assert.is_nil(info)
      check(err)
      assert.equal(1, #err.differences)
    end
  end)

  it("is named by a pull subscription", function()
    local psub = js.pull_subscribe(stream .. ".a", { durable = "d",
      config = { deliver_policy = "new" } })
    local _, err = psub:fetch(1, { timeout = 1 })
    check(err)
    psub:stop()
  end)

  it("is named by a push subscription", function()
    assert(js.delete_consumer(stream, "d"))
    assert(js.add_consumer { stream = stream, durable_name = "d",
      filter_subject = stream .. ".a", deliver_subject = "deliver." .. stream })
    local sub, err = js.subscribe(stream .. ".a", { durable = "d",
      config = { deliver_policy = "new" } }, function() end)
    assert.is_nil(sub)
    check(err)
  end)

  it("is changed where the server can", function()
    assert.equal(9, assert(js.add_consumer { stream = stream, durable_name = "d", ack_wait = 9,
      filter_subject = stream .. ".a" }).config.ack_wait)
  end)
end)

describe("a bucket that exists with another configuration", function()
  local name

  before_each(function() name = unique "changed" end)
  after_each(function()
    js.delete_key_value(name)
    js.delete_object_store(name)
  end)

  it("is an error in the words of the bucket, with the call that changes it", function()
    assert(js.create_key_value { bucket = name, history = 5 })
    assert(js.create_key_value { bucket = name, history = 5 })
    local kv, err = js.create_key_value { bucket = name, history = 6, ttl = 60, direct = false }
    assert.is_nil(kv)
    local call = ('app.js.update_stream { name = "KV_%s", allow_direct = false, max_age = 60, '
      .. "max_msgs_per_subject = 6 }"):format(name)
    assert.equal(("bucket '%s' exists with another configuration: direct is true on the server "
      .. "and false here; ttl is not set on the server and 60 s here; history is 5 on the "
      .. "server and 6 here. app.js.key_value(%q) opens it as it is, %s changes it where it "
      .. "can be changed (JetStream error 10058)"):format(name, name, call), err.message)
    assert(load(call))()
    assert(js.create_key_value { bucket = name, history = 6, ttl = 60, direct = false })
  end)

  it("is one for object stores, too", function()
    assert(js.create_object_store { bucket = name, description = "a" })
    local store, err = js.create_object_store { bucket = name }
    assert.is_nil(store)
    assert.matches('description is "a" on the server and not set here', err.message, 1, true)
    assert.matches(("app.js.update_stream { name = \"OBJ_%s\", description = app.json.null }")
      :format(name), err.message, 1, true)
  end)
end)
