-- JetStream of another domain, or of another account: all requests go by the prefix of its API.
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local testing = require "lunats.testing"

---Uses all of app.js; what it saw is asked for by "result".
local SOURCE = [[
  local result = {}

  app.on_start(function()
    local js = app.js
    assert(js.add_stream { name = "EVENTS", subjects = { "events.>" } })
    for i = 1, 3 do result.stream = assert(js.publish("events.a", i)).stream end
    result.info = assert(js.stream_info "EVENTS").state.messages
    result.stored = assert(js.get_msg("EVENTS", { seq = 2 })).data

    local psub = js.pull_subscribe("events.>", { stream = "EVENTS", durable = "pull" })
    local msgs = assert(psub:fetch(3, { timeout = 5 }))
    for _, msg in ipairs(msgs) do assert(msg:ack_sync(5)) end
    result.fetched = #msgs
    result.domain = msgs[1].metadata.domain
    result.unacknowledged = assert(psub:info()).num_ack_pending

    local kv = assert(js.create_key_value { bucket = "b", history = 3 })
    assert(kv:put("k", "one"))
    assert(kv:put("k", "two"))
    result.value = assert(kv:get "k").value
    result.keys = #assert(kv:keys())
    result.history = #assert(kv:history "k")
    assert(kv:delete "k")
    result.deleted = kv:get "k" == nil

    local store = assert(js.create_object_store { bucket = "o" })
    local data = ("x"):rep(300000)
    assert(store:put("file", data))
    result.object = store:get "file" == data
    assert(store:delete "file")
  end)

  local consumed, pushed, ordered = 0, 0, 0
  app.on_start(function()
    app.js.pull_subscribe("events.>", { stream = "EVENTS", durable = "consume" })
      :consume(function() consumed = consumed + 1 end)
    assert(app.js.subscribe("events.>", { stream = "EVENTS", durable = "push" },
      function() pushed = pushed + 1 end))
    assert(app.js.subscribe("events.>", { stream = "EVENTS", ordered = true },
      function() ordered = ordered + 1 end))
  end)

  app.listen("result", function()
    result.consumed, result.pushed, result.ordered = consumed, pushed, ordered
    return result
  end)
]]

---The same by a context of a script whose own JetStream is another one.
local function in_context(opts) return (SOURCE:gsub("app%.js", "app.js.context " .. opts)) end

local function count_streams(client, prefix)
  local reply, err = client.request(prefix .. ".STREAM.NAMES", "", { timeout = 5 })
  return reply and reply.data.total, err
end

local function check(svc)
  local result
  eventually("all messages", function()
    result = assert(svc:request "result").data
    return result.consumed >= 3 and result.pushed >= 3 and result.ordered >= 3
  end)
  assert.same({ consumed = 3, pushed = 3, ordered = 3, stream = "EVENTS", info = 3, stored = 2,
    fetched = 3, unacknowledged = 0, value = "two", keys = 1, history = 2, deleted = true,
    object = true, domain = result.domain }, result)
end

describe("JetStream of another domain", function()
  local HUB = [[
    server_name: hub
    leafnodes { listen: "127.0.0.1:%d" }
    jetstream { domain: hub }
  ]]
  local LEAF = [[
    server_name: leaf
    leafnodes { remotes: [ { url: "nats://127.0.0.1:%d" } ] }
    jetstream { domain: leaf }
  ]]

  it("is used over a leaf node", function()
    local port = core.free_port()
    local hub = testing.broker { config = HUB:format(port) }
    local leaf = testing.broker { config = LEAF:format(port) }
    local client = assert(core.connect { servers = { leaf.url } })
    local svc
    finally(function()
      if svc then svc:stop() end
      client.handle:close()
      leaf:stop()
      hub:stop()
    end)
    eventually("the leaf node", function() return count_streams(client, "$JS.hub.API") end)
    svc = testing.start(SOURCE, { server = leaf.url, js_domain = "hub" })
    check(svc)
    assert.equal(3, count_streams(client, "$JS.hub.API"))
    assert.equal(0, count_streams(client, "$JS.leaf.API"))
    svc:stop()
    for _, name in ipairs { "EVENTS", "KV_b", "OBJ_o" } do
      assert(client.request("$JS.hub.API.STREAM.DELETE." .. name, ""))
    end
    svc = testing.start(in_context '{ domain = "hub" }', { server = leaf.url })
    check(svc)
    assert.equal(3, count_streams(client, "$JS.hub.API"))
    assert.equal(0, count_streams(client, "$JS.leaf.API"))
    svc:stop()
    -- Both domains in one script; each has its own streams, whatever they are called.
    svc = testing.start([[
      local hub = app.js.context { domain = "hub" }
      app.on_start(function()
        assert(app.js.add_stream { name = "EVENTS", subjects = { "own.>" } })
        assert(app.js.publish("own.a", "mine"))
      end)
      app.listen("both", function()
        local late, err = hub.publish("own.a", "not for you")
        local future, why = hub.publish_async("own.a", "not for you"):await()
        return { own = app.js.stream_info("EVENTS").config.subjects,
          hub = hub.stream_info("EVENTS").config.subjects,
          own_first = app.js.get_msg("EVENTS", { seq = 1 }, { data_type = "string" }).raw,
          hub_first = hub.get_msg("EVENTS", { seq = 1 }).data,
          late = late or err.message, acked_by = err and err.ack and err.ack.domain,
          future = future or why.message }
      end)
    ]], { server = leaf.url })
    local wrong = "the stream 'EVENTS' of the domain 'leaf' has stored the message, "
      .. "not one of 'hub'"
    assert.same({ own = { "own.>" }, hub = { "events.>" }, own_first = "mine", hub_first = 1,
      late = wrong, acked_by = "leaf", future = wrong }, assert(svc:request "both").data)
  end)

  it("may be that of the server itself", function()
    local broker = testing.broker { config = "jetstream { domain: hub }" }
    local svc = testing.start(SOURCE, { server = broker.url, js_domain = "hub" })
    finally(function()
      svc:stop()
      broker:stop()
    end)
    check(svc)
  end)
end)

describe("app.js.context", function()
  it("is the same table for the same domain or prefix", function()
    local hub = app.js.context { domain = "hub" }
    assert.equal(hub, app.js.context { prefix = "$JS.hub.API" })
    assert.equal(hub, hub.context { domain = "hub" })
    assert.equal(app.js, app.js.context { prefix = "$JS.API" })
    assert.equal(app.js, hub.context { prefix = "$JS.API" })
    assert.not_equal(hub, app.js)
  end)

  it("has the functions of app.js", function()
    local hub = app.js.context { domain = "hub" }
    for name, value in pairs(app.js) do assert.equal(type(value), type(hub[name]), name) end
    assert.equal("function", type(hub.create_object_store))
  end)

  it("wants one of domain and prefix", function()
    for _, opts in ipairs { {}, { domain = "a", prefix = "b" }, { domain = "a.b" },
      { domain = "*" }, { prefix = "a b" }, { prefix = "" }, { domani = "a" } } do
      assert.has_error(function() app.js.context(opts) end)
    end
  end)

  it("says that nobody answers where there is no such domain", function()
    local nowhere = app.js.context { prefix = "no.such.api" }
    local info, err = nowhere.stream_info "S"
    assert.is_nil(info)
    assert.equal("no_responders", err.code)
  end)
end)

describe("JetStream of another account", function()
  local ACCOUNTS = [[
    accounts {
      OWNER {
        jetstream: enabled
        users: [ { user: owner, password: x } ]
        exports: [
          { service: "$JS.API.>", response_type: stream }, { service: "$JS.ACK.>" }
          { service: "events.>" }, { service: "$KV.>" }
        ]
      }
      GUEST {
        users: [ { user: guest, password: x } ]
        imports: [
          { service: { account: OWNER, subject: "$JS.API.STREAM.>" }, to: "JS.owner.STREAM.>" }
          { service: { account: OWNER, subject: "$JS.API.CONSUMER.>" }
            to: "JS.owner.CONSUMER.>" }
          { service: { account: OWNER, subject: "$JS.API.DIRECT.>" }, to: "JS.owner.DIRECT.>" }
          { service: { account: OWNER, subject: "$KV.>" }, to: "JS.owner.$KV.>" }
          { service: { account: OWNER, subject: "$JS.ACK.>" } }
          { service: { account: OWNER, subject: "events.>" } }
        ]
      }
    }
  ]]

  it("is used under the prefix of an import", function()
    local broker = testing.broker { config = ACCOUNTS }
    local svc = testing.start([[
      local result = {}
      app.on_start(function()
        local js = app.js
        assert(js.add_stream { name = "EVENTS", subjects = { "events.>" } })
        for i = 1, 3 do result.stream = assert(js.publish("events.a", i)).stream end
        local psub = js.pull_subscribe("events.>", { stream = "EVENTS", durable = "d" })
        local msgs = assert(psub:fetch(3, { timeout = 5 }))
        for _, msg in ipairs(msgs) do assert(msg:ack_sync(5)) end
        result.fetched = #msgs
        local kv = assert(js.create_key_value { bucket = "b" })
        assert(kv:put("k", "one"))
        result.value = assert(kv:get "k").value
        assert(kv:delete "k")
      end)
      local consumed = 0
      app.js.pull_subscribe("events.>", { stream = "EVENTS", durable = "c" })
        :consume(function() consumed = consumed + 1 end)
      app.listen("result", function()
        result.consumed = consumed
        return result
      end)
    ]], { server = broker.url, user = "guest", password = "x", js_prefix = "JS.owner" })
    finally(function()
      svc:stop()
      broker:stop()
    end)
    local result
    eventually("all messages", function()
      result = assert(svc:request "result").data
      return result.consumed >= 3
    end)
    assert.same({ consumed = 3, fetched = 3, stream = "EVENTS", value = "one" }, result)
  end)
end)
