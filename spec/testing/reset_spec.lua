-- Streams that are gone between two tests.
local testing = require "lunats.testing"
local own = require "spec.support.own"

local SERVICE = [[
  app.config { name = "orders" }
  app.on_start(function()
    assert(app.js.ensure_stream { name = "ORDERS", subjects = { "orders.>" } })
  end)
  app.js.pull_subscribe("orders.new", { durable = "worker" }):consume(function(msg)
    app.publish("handled", msg.data)
  end)
]]

describe("testing.reset", function()
  before_each(function() testing.reset() end)
  after_each(own.close)

  it("deletes streams, consumers and buckets", function()
    local js = app.js
    assert(js.add_stream { name = "A" })
    assert(js.add_consumer { stream = "A", durable_name = "c" })
    assert(js.create_key_value { bucket = "prices" }):put("a", "1")
    assert(js.create_object_store { bucket = "files" }):put("a", "1")
    assert.equal(3, testing.reset())
    assert.same({}, js.stream_names())
    assert.equal(0, testing.reset(testing.server_url()))
    assert(js.add_stream { name = "A" })
    assert.same({}, js.consumer_names "A")
  end)

  it("deletes more streams than the server lists at once", function()
    for i = 1, 1030 do assert(app.js.add_stream { name = "S" .. i, storage = "memory" }) end
    assert.equal(1030, testing.reset())
    assert.same({}, app.js.stream_names())
  end)

  for i = 1, 2 do
    it("lets each test begin with nothing, test " .. i, function()
      local svc = own.start(SERVICE)
      assert(app.js.publish("orders.new", { n = i }))
      assert.equal(i, svc:expect "handled".data.n)
      assert.equal(1, app.js.stream_info "ORDERS".state.last_seq)
    end)
  end

  it("says which service is in the way, and deletes nothing", function()
    local svc = own.start(SERVICE)
    local ok, err = pcall(testing.reset)
    assert.is_false(ok)
    assert.matches('testing.reset: the service "orders" of .*own.lua:%d+ is running and uses '
      .. "ORDERS: call svc:stop%(%) before, or give { purge = true }", err)
    assert.same({ "ORDERS" }, app.js.stream_names())
    svc:stop()
    assert.equal(1, testing.reset())
  end)

  it("takes only the messages where a service goes on", function()
    local svc = own.start(SERVICE)
    assert(app.js.publish("orders.new", { n = 1 }))
    svc:expect "handled"
    assert.equal(1, testing.reset(nil, { purge = true }))
    assert.equal(0, app.js.stream_info "ORDERS".state.messages)
    assert(app.js.publish("orders.new", { n = 2 }))
    assert.equal(2, svc:expect "handled".data.n)
  end)

  it("does not mind services of another server", function()
    local other = own.keep(testing.broker())
    own.start(SERVICE, { server = other.url })
    assert(app.js.add_stream { name = "ORDERS" })
    assert.equal(1, testing.reset())
    assert.is_false((pcall(testing.reset, other)))
  end)

  it("resets one account of several", function()
    local many = own.keep(testing.broker { config = [[
      accounts {
        A { users: [ { user: a, password: x } ], jetstream: enabled }
        B { users: [ { user: b, password: x } ], jetstream: enabled }
        C { users: [ { user: c, password: x } ] }
      }
    ]] })
    for _, user in ipairs { "a", "b" } do
      own.start('app.on_start(function() app.js.add_stream { name = "S" } end)\n',
        { server = many.url, user = user, password = "x" }):stop()
    end
    assert.equal(1, testing.reset(many, { user = "a", password = "x" }))
    assert.equal(0, testing.reset(many, { user = "a", password = "x" }))
    assert.equal(1, testing.reset(many, { user = "b", password = "x" }))
    local _, err = pcall(testing.reset, many, { user = "c", password = "x" })
    assert.matches("testing.reset: ", err, 1, true)
  end)

  it("resets a cluster", function()
    local cluster = own.keep(testing.cluster(3))
    local svc = own.start([[
      app.on_start(function()
        local made, err
        for _ = 1, 200 do -- until it has a leader
          made, err = app.js.add_stream { name = "S", num_replicas = 3 }
          if made then return end
          app.sleep(0.1)
        end
        error(err)
      end)
    ]], { server = cluster.urls })
    assert.is_false((pcall(testing.reset, cluster)))
    svc:stop()
    assert.equal(1, testing.reset(cluster))
  end)

  it("refuses options that it does not have", function()
    assert.has_error(function() testing.reset(nil, { purg = true }) end)
  end)

  it("does not mind a service that uses none of the streams", function()
    own.start 'app.listen("echo", function(msg) return msg.raw end)\n'
    assert(app.js.add_stream { name = "A" })
    assert.equal(1, testing.reset())
  end)
end)
