-- A work queue: every order is handled once, by any instance. What fails is tried again, later
-- and later; what fails three times goes to a stream of dead letters, which an operator reads.
--
--     lunats dev examples/jetstream/work_queue.lua
--     export NATS_URL=nats://lunats:...       # in a second terminal: the URL that dev prints
--     lunats pub shop.orders '{"id": 1, "sku": "A1", "amount": 2}'
--     lunats request shop.dead                # what nobody could handle, and why
--     lunats request shop.stats
app.config { name = "work_queue", version = "1.0.0" }

local stock = { A1 = 10, B2 = 5 }
local shipped = {}

app.on_start(function()
  -- A message leaves a work queue when it was acknowledged.
  assert(app.js.ensure_stream { name = "SHOP_ORDERS", subjects = { "shop.orders" },
    retention = "workqueue", duplicate_window = 60 })
  assert(app.js.ensure_stream { name = "SHOP_DEAD", subjects = { "shop.dead_letters" },
    max_age = 7 * 24 * 3600 })
end)

local function ship(order)
  if type(order) ~= "table" or not stock[order.sku] then
    error("there is no such thing as " .. tostring(type(order) == "table" and order.sku))
  end
  if math.type(order.amount) ~= "integer" then error "amount must be a whole number" end
  if stock[order.sku] < order.amount then return nil, "not enough of " .. order.sku end
  stock[order.sku] = stock[order.sku] - order.amount
  return true
end

local orders = app.js.pull_subscribe("shop.orders", { durable = "shippers",
  config = { ack_wait = 30, max_ack_pending = 1000 } })

orders:consume({
  concurrency = 4,                    -- handlers at once, in each instance
  backoff = { 0.1, 0.3 },             -- seconds until the second and the third try
  max_deliver = 3,
  dead_letter = "shop.dead_letters",
}, function(msg)
  local order = msg.data
  local ok, why = ship(order)
  if not ok then return nil, why end  -- as an error: it is tried again
  shipped[#shipped + 1] = order.id
  app.log.info("shipped", { id = order.id, delivery = msg.metadata.num_delivered })
end)

app.listen("shop.restock", function(msg)
  local order = msg.data
  if type(order) ~= "table" or type(order.sku) ~= "string"
    or math.type(order.amount) ~= "integer" then
    return nil, { code = 400, message = "sku must be a string, amount a whole number" }
  end
  stock[order.sku] = (stock[order.sku] or 0) + order.amount
  return stock
end)

app.listen("shop.stats", function()
  local waiting = assert(orders:info())
  return { shipped = shipped, stock = stock, waiting = waiting.num_pending,
    under_way = waiting.num_ack_pending }
end)

-- The dead letters stay where they are: they are read one by one, not consumed.
app.listen("shop.dead", function()
  local state = assert(app.js.stream_info "SHOP_DEAD").state
  local letters = app.json.array()
  for seq = math.max(1, state.first_seq, state.last_seq - 99), state.last_seq do
    local letter = app.js.get_msg("SHOP_DEAD", { seq = seq }, { data_type = "string" })
    if letter then
      letters[#letters + 1] = { order = letter.data, why = letter:header "Dead-Letter-Error",
        deliveries = letter:header "Dead-Letter-Deliveries" }
    end
  end
  return letters
end)
