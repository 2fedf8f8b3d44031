-- A small but complete service: takes orders, checks them, stores them in a stream.
--
--   lunats dev examples/orders.lua
--
-- orders.create  {"sku": "A1", "amount": 2}  ->  {"status": "created", "id": ..., "seq": ...}
-- orders.count   (anything)                  ->  {"orders": 17}
-- Wrong orders get an error reply with code 422 and the reason; an order that could not be
-- stored gets 503, so nobody believes in an order that does not exist.
app.config { name = "orders", version = "1.0.0" }

local STREAM = "ORDERS"
local STOCK = { A1 = 500, B2 = 20, C3 = 0 } -- how many of each may be ordered at once

app.on_start(function()
  assert(app.js.add_stream { name = STREAM, subjects = { "orders.stored.>" }, max_age = 86400 })
end)

-- Returns nothing for a good order, else what is wrong with it.
local function complaint(order)
  if type(order) ~= "table" then return "an order is an object" end
  if type(order.sku) ~= "string" then return "sku must be a string" end
  if STOCK[order.sku] == nil then return ("there is no %s"):format(order.sku) end
  if math.type(order.amount) ~= "integer" or order.amount < 1 then
    return "amount must be a whole number, 1 or more"
  end
  if order.amount > STOCK[order.sku] then
    return ("only %d of %s are left"):format(STOCK[order.sku], order.sku)
  end
end

local taken = 0
local function new_id()
  taken = taken + 1
  return ("%s-%d"):format(app.instance_id:sub(1, 6), taken)
end

app.listen("orders.create", function(msg)
  local order = msg.data
  local wrong = complaint(order)
  if wrong then return nil, { code = 422, message = wrong } end

  order.id = new_id()
  -- The id of the message lets the server drop a second copy if this is ever sent twice.
  local ack, err = app.js.publish("orders.stored." .. order.sku, order, { msg_id = order.id })
  if not ack then
    app.log.error("order not stored", { id = order.id, reason = err.message })
    return nil, { code = 503, message = "the order could not be stored, please try again" }
  end
  app.log.info("order stored", { id = order.id, sku = order.sku, seq = ack.seq })
  return { status = "created", id = order.id, seq = ack.seq }
end)

app.listen("orders.count", function()
  local info, err = app.js.stream_info(STREAM)
  if not info then return nil, { code = 503, message = err.message } end
  return { orders = info.state.messages }
end)
