-- Fan-out (scatter and gather): all vendors are asked at once, and the best offer of those that
-- answer in time counts. Nobody has to know how many vendors there are.
--
--     lunats dev examples/patterns/fan_out.lua
--     export NATS_URL=nats://lunats:...       # in a second terminal: the URL that dev prints
--     lunats request offers.best '{"sku": "A1", "count": 3}'   # {"vendor": "north", ...}
--
-- What goes wrong: a vendor is slow, or down (the others are not kept waiting for longer than
-- half a second); one has nothing to offer, or answers with nonsense (it is left out); nobody
-- offers anything (404); nobody is there (503).
app.config { name = "fan_out", version = "1.0.0" }

-- What can be used of a reply, or nil.
local function offer_in(reply)
  if reply:header "Nats-Service-Error-Code" then return nil end
  local ok, offer = pcall(function() return reply.data end) -- raises for what is not JSON
  if ok and type(offer) == "table" and math.type(offer.cents) == "integer"
    and type(offer.vendor) == "string" then return offer end
  app.log.warn("a vendor answers with nonsense", { reply = reply.raw:sub(1, 100) })
end

local function order_in(msg)
  local order = type(msg.data) == "table" and msg.data
  if order and type(order.sku) == "string" and math.type(order.count) == "integer"
    and order.count > 0 then return order end
  return nil, { code = 400, message = "sku must be a string, count a whole number, 1 or more" }
end

app.listen("offers.best", function(msg)
  local order, wrong = order_in(msg)
  if not order then return nil, wrong end
  -- Half a second at most; less when nobody has said anything more for a fifth of one.
  local replies, err = app.request_many("vendors.offer",
    { sku = order.sku, count = order.count }, { timeout = 0.5, stall = 0.2 })
  if not replies then return nil, err end
  local best
  for _, reply in ipairs(replies) do
    local offer = offer_in(reply)
    if offer and (not best or offer.cents < best.cents) then best = offer end
  end
  if not best then return nil, { code = 404, message = "nobody offers " .. order.sku } end
  return { vendor = best.vendor, cents = best.cents, asked = #replies }
end)

-- Three vendors, so that it can be tried alone. Each has a queue group of its own: one instance
-- of every vendor answers.
for vendor, price in pairs { north = 90, south = 95, west = 110 } do
  app.listen("vendors.offer", { queue = "vendor_" .. vendor }, function(msg)
    local order, wrong = order_in(msg)
    if not order then return nil, wrong end
    if order.sku ~= "A1" then return nil, { code = 404, message = "no " .. order.sku } end
    return { vendor = vendor, cents = price * order.count }
  end)
end
