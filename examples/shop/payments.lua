-- Asks the provider for the money: a work queue, whose jobs are tried again, later and later.
-- What fails five times is a dead letter, and the order has failed.
local catalogue = require "catalogue"
local events = require "events"

app.config { name = "shop_payments", version = "1.0.0", description = "Collects the money" }

local PROVIDER = os.getenv "SHOP_PROVIDER" or "http://127.0.0.1:8080/provider/charges"

app.on_start(events.ensure_streams)

-- The provider takes the id of the order as the key of the charge: asking twice pays once.
local function charge(order)
  return app.http.request {
    url = PROVIDER, timeout = 5,
    headers = { ["Idempotency-Key"] = order.id },
    json = { order = order.id, cents = catalogue[order.sku].price * order.count },
  }
end

app.js.pull_subscribe("shop.pay", { durable = "payments", stream = "SHOP_PAY" }):consume({
  concurrency = 32, backoff = { 0.1, 0.3, 1, 3 }, max_deliver = 5, dead_letter = "shop.dead",
}, function(msg)
  local res, err = charge(msg.data)
  if not res then return nil, err end
  local state = res.status == 402 and "refused" or res.ok and "paid"
  if not state then return nil, "the provider answers " .. res.status end
  local ack
  ack, err = events.done(state, msg.data)
  if not ack then return nil, err end
end)

-- If it was paid after all, by a try whose answer was lost, the provider has to give it back.
app.js.pull_subscribe("shop.dead", { durable = "failed", stream = "SHOP_DEAD" }):consume({
  backoff = { 0.2, 1, 5 },
}, function(msg)
  local res, err = app.http.request { url = PROVIDER .. "/" .. msg.data.id, method = "DELETE" }
  if not res then return nil, err end
  if not res.ok and res.status ~= 404 then return nil, "the provider answers " .. res.status end
  local ack
  ack, err = events.done("failed", msg.data)
  if not ack then return nil, err end
end)
