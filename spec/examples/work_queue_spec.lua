---The work queue of the examples: retries, dead letters, and no order handled twice.
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local testing = require "lunats.testing"

describe("examples/jetstream/work_queue.lua", function()
  local service

  local function run()
    local command = { process.lunats(), "run", "--server", testing.server_url(),
      "examples/jetstream/work_queue.lua" }
    local started = process.spawn(command)
    started:expect "work_queue: started"
    return started
  end

  setup(function() service = run() end)
  teardown(function()
    assert.equal(0, service:stop())
    process.close_all()
    for _, name in ipairs { "SHOP_ORDERS", "SHOP_DEAD" } do app.js.delete_stream(name) end
  end)

  local function stats() return assert(app.request("shop.stats")).data end

  local function order(id, sku, amount)
    return assert(app.js.publish("shop.orders", { id = id, sku = sku, amount = amount },
      { msg_id = "order-" .. id }))
  end

  local function is_shipped(id)
    for _, one in ipairs(stats().shipped) do
      if one == id then return true end
    end
  end

  it("ships what is there, once", function()
    order(1, "A1", 2)
    assert.is_true(order(1, "A1", 2).duplicate)
    eventually("shipped", function() return is_shipped(1) end)
    assert.equal(8, stats().stock.A1)
    eventually("an empty queue", function()
      return app.js.stream_info("SHOP_ORDERS").state.messages == 0
    end)
  end)

  it("tries again what may succeed later", function()
    order(2, "B2", 6)
    service:expect "not enough of B2"
    assert(app.request("shop.restock", { sku = "B2", amount = 3 }))
    eventually("shipped", function() return is_shipped(2) end)
    assert.equal(2, stats().stock.B2)
  end)

  it("puts aside what cannot succeed", function()
    order(3, "C3", 1)
    eventually("a dead letter", function()
      return #assert(app.request("shop.dead")).data == 1
    end)
    local letter = assert(app.request("shop.dead")).data[1]
    assert.equal(3, app.json.decode(letter.order).id)
    assert.equal("3", letter.deliveries)
    assert.truthy(letter.why:find("there is no such thing as C3", 1, true))
    eventually("an empty queue", function()
      return app.js.stream_info("SHOP_ORDERS").state.messages == 0
    end)
  end)

  it("survives an instance that is killed at work", function()
    local second = run()
    for id = 10, 15 do order(id, "A1", 0) end
    second:signal "KILL"
    second:wait()
    eventually("all shipped", function()
      return app.js.stream_info("SHOP_ORDERS").state.messages == 0
    end, 40)
  end)
end)
