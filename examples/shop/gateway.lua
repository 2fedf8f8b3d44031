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

-- A browser that comes again says which event it has seen last, and misses none.
app.http.events("/api/events", function(send, req)
  local seen = math.tointeger(tonumber((req.headers["Last-Event-ID"] or ""):match "^%d+$"))
  local from = seen and { deliver_policy = "by_start_sequence", opt_start_seq = seen + 1 }
    or { deliver_policy = "new" }
  local reader = assert(app.js.subscribe("shop.done.*",
    { ordered = true, stream = "SHOP_DONE", config = from }, function(msg)
      send(msg.data, { id = msg.metadata.stream_sequence })
    end))
  local _ <close> = setmetatable({}, { __close = function() reader:stop() end })
  send("", { event = "ready" }) -- what happens from here on is told
  app.sleep(math.huge) -- until the page is closed
end)
