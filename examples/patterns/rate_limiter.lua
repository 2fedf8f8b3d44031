-- A rate limiter: each client may ask five times a second, and ten times at once after a pause.
--
--     lunats dev examples/patterns/rate_limiter.lua
--     export NATS_URL=nats://lunats:...       # in a second terminal: the URL that dev prints
--     for i in $(seq 12); do lunats request quotes.get -H 'Client: ada' & done; wait
--
-- Twelve requests at once: ten quotes, and two errors 429 that say when to try again.
--
-- What goes wrong: a client has no name (all of those share one allowance); somebody makes up
-- names (the memory is bounded: what was not used for longest goes; take the name from what the
-- client has proved, as a gateway does); several instances run (each counts what it gets, so
-- the fleet lets through as many times more: divide RATE by the instances. Counting together
-- would cost a round trip for each request, and a limit that protects an instance need not be
-- exact).
app.config { name = "rate_limiter", version = "1.0.0" }

local RATE, BURST = 5, 10 -- requests a second, and at once

-- When the allowance of a client will be whole again; not there: it is.
local whole_at = app.cache("rate_limiter", { max_bytes = 4e6, ttl = BURST / RATE })

-- Takes one request from the allowance. Else nil, and the seconds until there is one.
local function take(client)
  local now = app.now()
  local at = math.max(whole_at:get(client) or now, now) + 1 / RATE
  local wait = at - now - BURST / RATE
  if wait > 1e-6 then return nil, wait end
  whole_at:set(client, at)
  return true
end

app.use("listen", function(ctx, next)
  local client = (ctx.msg:header "Client" or ""):sub(1, 64)
  local ok, wait = take(client)
  if ok then return next(ctx) end
  return nil, { code = 429, message = ("too many requests, try again in %.1f s"):format(wait) }
end)

app.listen("quotes.get", function()
  return { quote = "Slow is smooth, and smooth is fast." }
end)
