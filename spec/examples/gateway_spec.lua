---The gateway of the examples, with the two services behind it: as curl sees it, and a browser.
local browser = require "spec.support.browser"
local process = require "spec.support.process"
local testing = require "lunats.testing"
local web = require "spec.support.web"

local child, url

setup(function()
  child = process.spawn { process.lunats(), "dev", "--admin", "off", "--http", "127.0.0.1:0",
    "examples/gateway.lua", "examples/orders.lua", "examples/hello.lua" }
  for _, name in ipairs { "gateway", "orders", "hello" } do
    child:expect(name .. ": started")
  end
  url = web.url(child)
end)

teardown(function()
  local status, output = child:stop(), child:output()
  process.close_all()
  assert.equal(0, status)
  assert.is_nil(output:match "[^\n]* ERROR [^\n]*")
end)

local function order(body)
  local res = web.get(url .. "/orders", "--data-binary", body)
  return res.status, app.json.decode(res.body)
end

local function count() return app.json.decode(web.get(url .. "/orders/count").body).orders end

describe("examples/gateway.lua", function()
  it("takes orders for the service behind it", function()
    local before = count()
    local status, answer = order '{"sku":"A1","amount":2}'
    assert.equal(201, status)
    assert.equal("created", answer.status)
    assert.equal(before + 1, count())
  end)

  it("says what is wrong with an order, by itself or as the service does", function()
    for body, wrong in pairs {
      ['{"sku":"A1"}'] = { 400, "amount" }, ['{"sku":"A1","amount":0}'] = { 400, "/amount" },
      ['{"sku":"A1","amount":1,"x":1}'] = { 400, "x" }, ['{"sku":'] = { 400, "not JSON" },
      [""] = { 400, "invalid request" },
      ['{"sku":"Z9","amount":1}'] = { 422, "there is no Z9" },
      [('{"sku":"%s"}'):format(("x"):rep(5000))] = { 413, "too long" },
    } do
      local status, answer = order(body)
      assert.equal(wrong[1], status, body)
      assert.equal(wrong[1], answer.code)
      assert.matches(wrong[2], answer.message, 1, true)
    end
  end)

  it("passes on what is in the path", function()
    assert.equal('{"text":"Hello, Ada!"}', web.get(url .. "/greetings/Ada").body)
    assert.equal(404, web.get(url .. "/greetings/").status)
    assert.equal(405, web.get(url .. "/orders").status)
  end)

  it("streams each order that is stored to everybody who listens", function()
    -- Who asks for what comes behind the last one misses none, however long it takes to begin.
    local _, last = order '{"sku":"A1","amount":1}'
    local after = "Last-Event-ID: " .. last.seq
    local one = process.spawn { "curl", "-sN", "-H", after, url .. "/events" }
    local two = process.spawn { "curl", "-sN", "-H", after, url .. "/events" }
    local _, answer = order '{"sku":"B2","amount":3}'
    for _, client in ipairs { one, two } do
      client:expect(("event: order\nid: %d\ndata: {[^\n]*\"amount\":3"):format(answer.seq))
    end
  end)

  it("gives a client that comes again what it has missed, and nothing twice", function()
    local _, first = order '{"sku":"B2","amount":4}'
    local _, second = order '{"sku":"B2","amount":5}'
    local again = process.spawn { "curl", "-sN", "-H", "Last-Event-ID: " .. first.seq,
      url .. "/events" }
    again:expect(("id: %d\ndata: {[^\n]*\"amount\":5"):format(second.seq))
    assert.is_nil(again:output():find('"amount":4', 1, true))
  end)

  it("gives a client what it has missed that had seen none", function()
    local before = process.spawn { "curl", "-sN", url .. "/events" }
    local id = before:expect "\nid: (%d+)\n"
    before:signal "KILL"
    local _, answer = order '{"sku":"B2","amount":6}'
    for _, again in ipairs {
      process.spawn { "curl", "-sN", "-H", "Last-Event-ID: " .. id, url .. "/events" },
      process.spawn { "curl", "-sN", url .. "/events?after=" .. id },
    } do
      again:expect(("id: %d\ndata: {[^\n]*\"amount\":6"):format(answer.seq))
    end
  end)

  local seen = browser.missing and function(name)
    pending(("%s (needs %s)"):format(name, browser.missing))
  end or it

  seen("shows a page on which orders are made, and appear", function()
    local run = browser.start {
      { "open", url .. "/" },
      { "wait", "document.querySelector('form') !== null" },
      { "wait", [[(document.querySelector('form button').click(),
        document.querySelector('ul').textContent.includes('1 of A1'))]] },
      { "wait", "document.querySelector('output').textContent === 'created'" },
    }
    assert.is_true(run:finish())
  end)

  -- A browser comes again by itself after a lost connection, and not after an answer 503.
  seen("has a page that misses nothing while the gateway is away, or is not ready", function()
    local function start(http)
      local gateway = process.spawn { process.lunats(), "run", "--server",
        testing.server_url(), "--http", http, "examples/orders.lua",
        "examples/gateway.lua" }
      gateway:expect "gateway: started"
      return gateway, web.url(gateway)
    end
    local gateway, at = start "127.0.0.1:0"
    local page = browser.start {
      { "open", at .. "/" },
      { "wait", "last !== ''" },
      { "wait", "events.readyState === EventSource.CONNECTING" },
      { "wait", "events.readyState === EventSource.CLOSED" },
      { "wait", "document.querySelector('ul').textContent.includes('7 of B2')" },
    }
    page:step(2)
    gateway:signal "KILL"
    gateway:wait()
    page:step(3)
    local http = at:match "//(.*)$"
    local waits = process.spawn { process.lunats(), "run", "--retry", "--server",
      "nats://127.0.0.1:1", "--http", http, "examples/gateway.lua" }
    waits:expect "HTTP at"
    page:step(4)
    assert(app.js.publish("orders.stored.B2", { id = "7", sku = "B2", amount = 7 }))
    waits:stop()
    start(http)
    assert.is_true(page:finish())
  end)
end)
