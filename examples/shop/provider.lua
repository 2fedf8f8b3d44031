-- Stands for the company that handles cards. It refuses some of them, fails now and then, and
-- forgets all charges when it ends.
app.config { name = "shop_provider", version = "1.0.0" }

local state = app.state
state.charges, state.failing = state.charges or {}, state.failing or 0
local charges = state.charges

app.http.post("/provider/charges", function(req)
  local key = req.headers["Idempotency-Key"]
  if not key then return nil, { code = 400, message = "Idempotency-Key is missing" } end
  if math.random() < state.failing then return nil, { code = 503, message = "busy" } end
  if key:find("poor", 1, true) then return nil, { code = 402, message = "no money" } end
  charges[key] = charges[key] or req.data.cents
  return { charged = charges[key] }
end)

app.http.delete("/provider/charges/:key", function(req)
  local key = req.params.key
  if not charges[key] then return nil, { code = 404, message = "no such charge" } end
  charges[key] = nil
end)

-- How often it fails: for specs, and for those who want to see retries.
app.listen("shop.provider.failing", function(msg)
  state.failing = tonumber(msg.data) or 0
  return true
end)

app.listen("shop.provider.sum", function()
  local cents, count = 0, 0
  for _, one in pairs(charges) do cents, count = cents + one, count + 1 end
  return { cents = cents, charges = count }
end)
