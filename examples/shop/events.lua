-- What the services of the shop tell each other, and how it is kept: a module of all of them.
--
--   shop.placed         orders    -> stock      an order is in the database
--   shop.pay            stock     -> payments   its articles are taken
--   shop.done.STATE     stock, payments -> all  paid, refused, failed or sold_out
--   shop.dead           payments: what it has given up
local M = {}

-- Whoever starts first makes the streams. What is told has one id for each step of an order, so
-- that telling it again within two minutes stores nothing.
function M.ensure_streams()
  assert(app.js.ensure_stream { name = "SHOP", subjects = { "shop.placed", "shop.done.*" },
    duplicate_window = 120 })
  assert(app.js.ensure_stream { name = "SHOP_PAY", subjects = { "shop.pay" },
    retention = "workqueue", duplicate_window = 120 })
  assert(app.js.ensure_stream { name = "SHOP_DEAD", subjects = { "shop.dead" },
    max_age = 7 * 24 * 3600 })
end

-- The end of an order. There is one: the id says nothing of the state.
function M.done(state, order)
  return app.js.publish("shop.done." .. state, order, { msg_id = "done." .. order.id })
end

return M
