-- Numbers for the page: reads the stream from its beginning, in order, and keeps sums in a
-- cache. They are made again whenever the process is: nothing else has to be stored.
local catalogue = require "catalogue"
local events = require "events"

app.config { name = "shop_projector", version = "1.0.0", description = "Sums up what happens" }

local sums = app.cache("shop_sums", { max_bytes = 1e6 })

app.on_start(function()
  events.ensure_streams()
  local reader = assert(app.js.subscribe("shop.done.*", {
    ordered = true, stream = "SHOP_DONE",
    config = { -- a reload goes on where the version before it was
      deliver_policy = "by_start_sequence", opt_start_seq = (sums:get "seq" or 0) + 1,
    },
  }, function(msg)
    local seq = msg.metadata.stream_sequence
    if seq <= (sums:get "seq" or 0) then return end
    local order = msg.data
    sums:incr(order.state)
    if order.state == "paid" then
      sums:incr("cents", catalogue[order.sku].price * order.count)
    end
    sums:set("seq", seq)
  end))
  app.on_stop(function() reader:stop() end)
end)

app.listen("shop.summary", { description = "orders by state, and the turnover" }, function()
  local all = { cents = sums:get "cents" or 0, seq = sums:get "seq" or 0 }
  for _, state in ipairs { "paid", "refused", "failed", "sold_out" } do
    all[state] = sums:get(state) or 0
  end
  return all
end)
