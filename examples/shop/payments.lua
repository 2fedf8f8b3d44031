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

local STATES = { [200] = "paid", [402] = "refused" }

events.reader("shop.pay", "SHOP_PAY", "payments"):consume({
  concurrency = 32, backoff = { 0.1, 0.3, 1, 3 }, max_deliver = 5, dead_letter = "shop.dead",
}, function(msg)
  local res, err = charge(msg.data)
  if not res then return nil, err end
  if res.status == 410 then return end -- it has failed before, see below
  local state = STATES[res.status]
  if not state then return nil, "the provider answers " .. res.status end
  -- If it has failed meanwhile, whoever has said so voids the charge.
  local ended
  ended, err = events.finish(msg.data, state)
  if not ended then return nil, err end
end)

-- First the word that counts, then the money: a try whose answer was lost may have paid, and
-- one may still be on its way. What is voided is given back, and cannot be charged any more.
events.reader("shop.dead", "SHOP_DEAD", "failed"):consume({
  concurrency = 8, backoff = { 0.2, 1, 5 },
}, function(msg)
  local ended, err = events.finish(msg.data, "failed")
  if not ended then return nil, err end
  if ended ~= "failed" then return end
  local res
  res, err = app.http.request { url = PROVIDER .. "/" .. msg.data.id, method = "DELETE" }
  if not res then return nil, err end
  if not res.ok then return nil, "the provider answers " .. res.status end
end)
