---The shop of the examples, with all that it works with: PostgreSQL, buckets, HTTP on both
---sides, dead letters, a page. Each service in a process of its own, since the books have to
---balance whichever of them dies.
local browser = require "spec.support.browser"
local eventually = require "spec.support.eventually"
local postgres = require "spec.support.postgres"
local process = require "spec.support.process"
local testing = require "lunats.testing"
local web = require "spec.support.web"

local SERVICES = { "orders", "stock", "payments", "projector", "gateway" }

describe("examples/shop", function()
  local database, env, url
  local children = {}

  local function start(name, ...)
    local words = { process.lunats(), "run", "--server", testing.server_url(), ... }
    words[#words + 1] = ("examples/shop/%s.lua"):format(name)
    local child = process.spawn(words, { env = env })
    children[name] = child
    return child
  end

  setup(function()
    if postgres.missing then return end
    database = postgres.start()
    env = { SHOP_DSN = database.dsn }
    local provider = start("provider", "--http", "127.0.0.1:0")
    env.SHOP_PROVIDER = web.url(provider) .. "/provider/charges"
    for _, name in ipairs(SERVICES) do
      local child = start(name, "--http", name == "gateway" and "127.0.0.1:0" or "off")
      child:expect "started, connected to"
    end
    url = web.url(children.gateway)
  end)

  teardown(function()
    for name, child in pairs(children) do
      assert(not child:output():find(" ERROR ", 1, true) or name == "payments", child:output())
    end
    process.close_all()
    if not database then return end
    database:stop()
    for _, name in ipairs { "PLACED", "PAY", "DONE", "DEAD" } do
      app.js.delete_stream("SHOP_" .. name)
    end
    for _, name in ipairs { "SHOP_LEVELS", "SHOP_STEPS" } do app.js.delete_key_value(name) end
  end)

  local function test(name, fn)
    if postgres.missing then return pending(name .. ": " .. postgres.missing) end
    it(name, fn)
  end

  local function ask(subject, data) return assert(app.request(subject, data)).data end

  local function order(id, sku, count)
    return app.request("shop.orders.create", { id = id, sku = sku, count = count })
  end

  local function expect_state(id, state)
    eventually(id .. " to be " .. state, function()
      return ask("shop.orders.get", { id = id }).state == state
    end)
  end

  local function level(sku) return ask("shop.stock.levels")[sku] end

  test("takes an order once, and its stock, and the money for it", function()
    local apples, cents = level "apple", ask("shop.provider.sum").cents
    assert.same({ id = "a1", state = "new" }, assert(order("a1", "apple", 3)).data)
    assert(order("a1", "apple", 3))
    local _, err = order("a1", "apple", 4)
    assert.same({ 409, "there is another order with this id" }, { err.status, err.message })
    expect_state("a1", "paid")
    assert.same({ id = "a1", state = "paid" }, assert(order("a1", "apple", 3)).data)
    assert.equal(apples - 3, level "apple")
    assert.equal(cents + 150, ask("shop.provider.sum").cents)
    assert.equal(0, children.orders:count "comes again")
    eventually(function()
      return ("%d cents in %s"):format(cents + 150, app.json.encode(ask "shop.summary"))
    end, function() return ask("shop.summary").cents == cents + 150 end)
  end)

  test("says what is wrong with an order", function()
    local _, err = order("a2", "stone", 1)
    assert.equal(400, err.status)
    assert.equal('invalid request: /sku: must be one of "apple", "bread", "cheese" (enum)',
      err.message)
    _, err = order("a 2", "apple", 1)
    assert.same({ 400, "id: letters, digits and -" }, { err.status, err.message })
    _, err = app.request("shop.orders.get", { id = "a2" })
    assert.equal(404, err.status)
  end)

  test("puts back what was refused, is sold out, or could not be paid", function()
    local cheese, bread = level "cheese", level "bread"
    assert(order("poor-1", "cheese", 2))
    expect_state("poor-1", "refused")
    for i = 1, 3 do assert(order("much-" .. i, "cheese", 1000)) end
    eventually("three ends", function()
      local states = {}
      for i = 1, 3 do
        local state = ask("shop.orders.get", { id = "much-" .. i }).state
        states[state] = (states[state] or 0) + 1
      end
      return (states.paid or 0) + (states.sold_out or 0) == 3
    end)
    local left = level "cheese"
    assert.is_true(left == cheese - 1000 or left == cheese - 2000)
    ask("shop.provider.failing", 1)
    assert(order("f1", "bread", 5))
    expect_state("f1", "failed")
    ask("shop.provider.failing", 0)
    eventually("its bread", function() return level "bread" == bread end)
    children.payments:expect "is a dead letter on 'shop.dead'"
  end)

  test("does not give back what is paid, when another try comes to be a dead letter", function()
    local before = ask("shop.provider.sum")
    assert(order("p1", "apple", 1))
    expect_state("p1", "paid")
    assert(app.js.publish("shop.dead", { id = "p1", sku = "apple", count = 1 }))
    assert(app.js.publish("shop.pay", { id = "p1", sku = "apple", count = 1 }))
    assert(order("p2", "apple", 1)) -- comes behind them
    expect_state("p2", "paid")
    eventually("nothing to wait for", function()
      for stream, name in pairs { SHOP_DEAD = "failed", SHOP_PAY = "payments" } do
        local info = assert(app.js.consumer_info(stream, name))
        if info.num_pending + info.num_ack_pending > 0 then return false end
      end
      return true
    end)
    assert.equal("paid", ask("shop.orders.get", { id = "p1" }).state)
    assert.same({ cents = before.cents + 100, charges = before.charges + 2 },
      ask "shop.provider.sum")
  end)

  test("charges nothing for an order that has failed", function()
    local sum = ask "shop.provider.sum"
    local apples = level "apple"
    ask("shop.provider.failing", 1)
    assert(order("f2", "apple", 5))
    expect_state("f2", "failed")
    ask("shop.provider.failing", 0)
    eventually("its apples", function() return level "apple" == apples end)
    eventually("the charge to be void", function()
      local info = assert(app.js.consumer_info("SHOP_DEAD", "failed"))
      return info.num_pending + info.num_ack_pending == 0
    end)
    assert(app.js.publish("shop.pay", { id = "f2", sku = "apple", count = 5 })) -- a late try
    eventually("that to be over", function()
      local info = assert(app.js.consumer_info("SHOP_PAY", "payments"))
      return info.num_pending + info.num_ack_pending == 0
    end)
    assert.same(sum, ask "shop.provider.sum")
    assert.equal("failed", ask("shop.orders.get", { id = "f2" }).state)
  end)

  test("is on the web", function()
    local res = web.get(url .. "/api/orders", "-d", '{"id":"w1","sku":"apple","count":1}')
    assert.equal(200, res.status)
    assert.same({ id = "w1", state = "new" }, app.json.decode(res.body))
    expect_state("w1", "paid")
    assert.matches('"state":"paid"', web.get(url .. "/api/orders/w1").body)
    assert.equal(404, web.get(url .. "/api/orders/w2").status)
    assert.equal(400, web.get(url .. "/api/orders", "-d", '{"sku":"apple"}').status)
    assert.matches("<title>Shop</title>", web.get(url .. "/").body)
  end)

  test("has a page on which one orders and sees what happens", function()
    if browser.missing then return pending("it wants " .. browser.missing) end
    local page = browser.start {
      { "screen", 390, 700, "light" },
      { "open", url .. "/" },
      { "wait", "document.querySelectorAll('#stock tr').length === 3" },
      { "wait", "document.querySelector('#events[aria-busy=false]') !== null" },
      { "evaluate", "form.count.value = 7; form.sku.value = 'bread'; form.requestSubmit(); 0" },
      { "wait", "document.querySelector('#events li')?.textContent === '7 bread is paid'" },
      { "wait", "document.querySelector('#said').value === 'Ordered.'" },
      { "evaluate", "document.documentElement.scrollWidth" },
      { "picture", browser.picture "shop" },
      { "complaints" },
    }
    assert.same({}, page:finish())
    assert.equal(390, page:step(8), "nothing sticks out on a phone")
  end)

  -- A browser comes again by itself after a lost connection, and not after an answer 503.
  test("has a page that misses nothing while the gateway is away, or is not ready", function()
    if browser.missing then return pending("it wants " .. browser.missing) end
    local function is_busy(busy)
      return ("document.querySelector('#events[aria-busy=%s]') !== null"):format(busy)
    end
    local page = browser.start {
      { "open", url .. "/" },
      { "wait", is_busy(false) },
      { "wait", is_busy(true) },
      { "evaluate", "form.requestSubmit()" },
      { "wait", "document.querySelector('#said').value === 'Not ordered: nobody is there'" },
      { "wait", "events.readyState === EventSource.CLOSED" },
      { "wait", "document.querySelector('#events li')?.textContent === '2 apple is paid'" },
      { "wait", is_busy(false) },
    }
    page:step(2)
    children.gateway:signal "KILL"
    children.gateway:wait()
    page:step(5)
    assert(order("away", "apple", 2))
    expect_state("away", "paid")
    local http = url:match "//(.*)$"
    local waits = process.spawn { process.lunats(), "run", "--retry", "--server",
      "nats://127.0.0.1:1", "--http", http, "examples/shop/gateway.lua" }
    waits:expect "HTTP at"
    page:step(6)
    waits:stop()
    start("gateway", "--http", http):expect "started, connected to"
    page:finish()
  end)

  local function restart(name)
    children[name]:signal "KILL"
    children[name]:wait()
    start(name, "--http", "off"):expect "started, connected to"
  end

  test("takes its stock once, however often it is told", function()
    local apples = level "apple"
    assert(order("t1", "apple", 2))
    expect_state("t1", "paid")
    local again = { id = "t1", sku = "apple", count = 2 }
    assert(app.js.publish("shop.placed", again))
    restart "stock"
    assert(app.js.publish("shop.placed", again))
    assert(order("t2", "apple", 1)) -- comes behind them
    expect_state("t2", "paid")
    eventually("nothing to wait for", function()
      local info = assert(app.js.consumer_info("SHOP_PLACED", "stock"))
      return info.num_pending + info.num_ack_pending == 0
    end)
    assert.equal(apples - 3, level "apple")
  end)

  test("tells an order again that was lost on its way", function()
    children.stock:signal "KILL"
    children.stock:wait()
    assert(order("l1", "apple", 1))
    eventually("its event", function()
      return assert(app.js.consumer_info("SHOP_PLACED", "stock")).num_pending > 0
    end)
    assert(app.js.purge_stream "SHOP_PLACED")
    start("stock", "--http", "off")
    env.SHOP_RETELL = "0.5"
    restart "orders"
    env.SHOP_RETELL = nil
    expect_state("l1", "paid")
    restart "orders"
  end)

  test("keeps its books while its services die", function()
    local before = { apple = level "apple", cents = ask("shop.provider.sum").cents,
      paid = ask("shop.orders.counts").paid or 0 }
    local sent = 0
    local sender = app.spawn(function()
      for i = 1, 300 do
        repeat
          local taken = order("k" .. i, "apple", 1)
          if not taken then app.sleep(0.05) end
        until taken
        sent = i
      end
    end)
    for _, name in ipairs { "stock", "payments", "orders" } do
      local goal = math.min(sent + 30, 300) -- on a busy machine a start takes as long as all
      eventually("some more orders", function() return sent >= goal end)
      restart(name)
    end
    sender:await()
    eventually("all to be paid", function()
      return ask("shop.orders.counts").paid == before.paid + 300
    end, 90)
    assert.equal(before.apple - 300, level "apple")
    assert.equal(before.cents + 300 * 50, ask("shop.provider.sum").cents)
  end)
end)
