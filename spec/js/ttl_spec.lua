-- A ttl either has the effect that was asked for, or is an error.
local eventually = require "spec.support.eventually"
local own = require "spec.support.own"
local since = require "spec.support.since"

describe("A ttl", function()
  after_each(own.close)

  local function fails(code, ok, err)
    assert.is_nil(ok)
    assert.equal(code, err.code, err.message)
    return err
  end

  it("of a message is refused by a server that does not know it, as a header, too", function()
    if since "2.11" then return pending "this server does" end
    local stream = own.stream "ttl"
    local header = { headers = { ["Nats-TTL"] = 5 } }
    for _, opts in ipairs { { ttl = 5 }, { ttl = "never" }, header } do
      local err = fails("unsupported", app.js.publish(stream .. ".a", "x", opts))
      assert.truthy(err.message:find("2.11", 1, true))
      fails("unsupported", app.js.publish_async(stream .. ".a", "x", opts):await())
    end
    assert.equal(0, app.js.stream_info(stream).state.messages)
  end)

  since.it("2.11", "of a message is refused by a stream without allow_msg_ttl", function()
    local stream = own.stream "ttl"
    for _, send in ipairs { app.js.publish, function(...)
      return app.js.publish_async(...):await()
    end } do
      local err = fails("unsupported", send(stream .. ".a", "x", { ttl = 5 }))
      assert.same({ 10166, "allow_msg_ttl" }, { err.err_code, err.field })
      assert.matches("^the stream was made without allow_msg_ttl: ", err.message)
    end
    assert.equal(0, app.js.stream_info(stream).state.messages)
  end)

  since.it("2.11", "of a message is never shorter than asked for", function()
    local stream = own.stream("ttl", { allow_msg_ttl = true })
    for ttl, text in pairs { [1] = "1", [1.5] = "2", [2.0] = "2", ["1h"] = "1h" } do
      local ack = assert(app.js.publish(stream .. ".a", "x", { ttl = ttl }))
      assert.equal(text, app.js.get_msg(stream, { seq = ack.seq }, { data_type = "string" })
        :header "Nats-TTL")
    end
  end)

  it("of a key is refused by a bucket without limit_marker_ttl", function()
    local kv = own.bucket()
    fails("unsupported", kv:create("a", "x", { ttl = 5 }))
    fails("unsupported", kv:purge("a", { ttl = 5 }))
  end)

  since.it("2.11", "of a key is refused where the server would keep the key longer", function()
    local kv = own.bucket { history = 5, limit_marker_ttl = 3 }
    local err = fails("unsupported", kv:create("a", "x", { ttl = 1 }))
    assert.truthy(err.message:find("limit_marker_ttl, 3 s", 1, true))
    fails("unsupported", kv:purge("a", { ttl = 2 }))
    assert(kv:create("a", "x", { ttl = 3 }))
  end)

  since.it("2.11", "of a key ends the key", function()
    local kv = own.bucket { limit_marker_ttl = 60 }
    assert(kv:create("a", "x", { ttl = 1 }))
    fails("wrong_last_sequence", kv:create("a", "y", { ttl = 1 }))
    eventually("its end", function() return not kv:get "a" end)
    assert(kv:create("a", "y", { ttl = 1 }))
  end)

  it("of a call that knows none is a mistake that raises", function()
    local kv = own.bucket()
    for name, arguments in pairs { put = { "a", "x", { ttl = 1 } },
      update = { "a", "x", 1, { ttl = 1 } }, keys = { "*", { ttl = 1 } },
      history = { "a", { ttl = 1 } } } do
      local ok, text = pcall(kv[name], kv, table.unpack(arguments))
      assert.is_false(ok)
      assert.truthy(text:find("kv:" .. name .. " takes no options", 1, true), text)
    end
    for _, name in ipairs { "delete_stream", "key_value", "delete_key_value", "object_store",
      "delete_object_store" } do
      assert.has_error(function() app.js[name]("x", { ttl = 1 }) end)
    end
    assert.has_error(function() app.js.delete_consumer("x", "y", { ttl = 1 }) end)
    assert.is_false(pcall(kv.create, kv, "a", "x", { ttl = 0.5 }))
  end)
end)
