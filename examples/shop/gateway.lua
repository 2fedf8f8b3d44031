-- The shop on the web: a page, an API in front of the services, and a stream of events.
app.config { name = "shop_gateway", version = "1.0.0", description = "The shop on the web" }

app.http.files("/", "page")

app.http.post("/api/orders", function(req)
  return app.request("shop.orders.create", req.data, { timeout = 5 })
end)

app.http.get("/api/orders/:id", function(req)
  return app.request("shop.orders.get", { id = req.params.id }, { timeout = 5 })
end)

app.http.get("/api/shop", function()
  local stock, err = app.request("shop.stock.levels", nil, { timeout = 5 })
  if not stock then return nil, err end
  local summary
  summary, err = app.request("shop.summary", nil, { timeout = 5 })
  if not summary then return nil, err end
  return { stock = stock.data, summary = summary.data }
end)

-- A page that comes again says which event it has seen last, and misses none. One that has seen
-- none knows from `begin` where it stands.
app.http.events("/api/events", function(send, req)
  local last = req.headers["Last-Event-ID"] or req.query.after or ""
  local seen = math.tointeger(tonumber(last:match "^%d+$"))
    or assert(app.js.stream_info "SHOP_DONE").state.last_seq
  send("", { event = "begin", id = seen })
  local reader = assert(app.js.subscribe("shop.done.*", { ordered = true, stream = "SHOP_DONE",
    config = { deliver_policy = "by_start_sequence", opt_start_seq = seen + 1 } }, function(msg)
      send(msg.data, { id = msg.metadata.stream_sequence })
    end))
  local _ <close> = setmetatable({}, { __close = function() reader:stop() end })
  send("", { event = "ready" }) -- what happens from here on is told
  app.sleep(math.huge) -- until the page is closed
end)
