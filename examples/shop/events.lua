-- What the services of the shop tell each other, and how it is kept: a module of all of them.
--
--   shop.placed     orders    -> stock      an order is in the database
--   shop.pay        stock     -> payments   its articles are taken
--   shop.done.ID    stock, payments -> all  its end: paid, refused, failed or sold_out
--   shop.dead       payments: what it has given up
local M = {}

local STREAMS = {
  { name = "SHOP_PLACED", subjects = { "shop.placed" } },
  { name = "SHOP_PAY", subjects = { "shop.pay" }, retention = "workqueue" },
  { name = "SHOP_DONE", subjects = { "shop.done.*" } },
  { name = "SHOP_DEAD", subjects = { "shop.dead" }, max_age = 7 * 24 * 3600 },
}

-- Whoever starts first makes the streams.
function M.ensure_streams()
  for _, config in ipairs(STREAMS) do assert(app.js.ensure_stream(config)) end
end

-- Who reads a stream. What a process has that is killed comes again in `ack_wait` seconds; who
-- lives may take longer.
function M.reader(subject, stream, durable)
  return app.js.pull_subscribe(subject,
    { durable = durable, stream = stream, config = { ack_wait = 3 } })
end

-- Tells a service what is to be done. The id spares it the same once more within two minutes;
-- it is no promise: what is told has to bear being told twice.
function M.tell(subject, order)
  return app.js.publish(subject, order, { msg_id = order.id .. "." .. (order.tells or 0) })
end

-- The end of an order. There is one, whoever comes first: the only message of its subject, for
-- ever. Returns the end that the order has: `state`, or what somebody else was faster with.
function M.finish(order, state)
  local subject = "shop.done." .. order.id
  local ack, err = app.js.publish(subject,
    { id = order.id, sku = order.sku, count = order.count, state = state },
    { expected_last_subject_seq = 0 })
  if ack then return state end
  if err.code ~= "wrong_last_sequence" then return nil, err end
  local msg
  msg, err = app.js.get_msg("SHOP_DONE", { last_by_subject = subject })
  if not msg then return nil, err end
  return msg.data.state
end

return M
