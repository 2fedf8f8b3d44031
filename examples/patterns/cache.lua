-- Cache-aside: prices come from a bucket (a database, in earnest) and are kept in the process.
-- A change is told to all instances, which drop what they have.
--
--     lunats dev examples/patterns/cache.lua
--     export NATS_URL=nats://lunats:...       # in a second terminal: the URL that dev prints
--     lunats request prices.set '{"sku": "A1", "cents": 250}'   # {"sku": "A1", "cents": 250}
--     lunats request prices.get '{"sku": "A1"}'                 # {"sku": "A1", "cents": 250}
--     lunats request prices.stats                               # {"hits": 0, "misses": 1, ...}
--
-- What goes wrong: an instance does not hear of a change (what it has is a minute old at most,
-- and it drops all when its connection comes back); a price changes while it is being read
-- (what was read is not kept); a hundred ask for the same price at once (one of them reads it);
-- the memory is full (what was not used for longest goes).
app.config { name = "cache", version = "1.0.0" }

local kept = app.cache("prices", { max_bytes = 16e6, ttl = 60 })
local reads = {} -- sku -> { fiber = who reads it }
local prices

app.on_start(function() prices = assert(app.js.create_key_value { bucket = "prices" }) end)

local function read(sku, me)
  local entry, err = prices:get(sku)
  local value = entry and entry.value
  if reads[sku] ~= me then return value, err end -- changed meanwhile: maybe this is the old one
  reads[sku] = nil
  if value then kept:set(sku, value) end
  return value, err
end

local function price_of(sku)
  local value = kept:get(sku)
  if value then return value end
  local one = reads[sku]
  if not one then
    one = {}
    reads[sku] = one
    one.fiber = app.spawn(read, sku, one)
  end
  return one.fiber:await()
end

local function drop(sku)
  kept:delete(sku)
  reads[sku] = nil
end

-- Every instance hears of every change.
app.listen("prices.changed", { queue = false, data_type = "string" }, function(msg)
  drop(msg.data)
end)

app.on_connection(function(state)
  if state ~= "connected" then return end
  repeat
    local some = kept:keys(1000)
    for _, sku in ipairs(some) do drop(sku) end
  until #some == 0
end)

local function sku_of(msg)
  local sku = type(msg.data) == "table" and msg.data.sku
  if type(sku) == "string" and sku:find "^[%w_-]+$" and #sku <= 64 then return sku end
  return nil, { code = 400, message = "sku must be a word of letters and digits" }
end

app.listen("prices.get", function(msg)
  local sku, wrong = sku_of(msg)
  if not sku then return nil, wrong end
  local value, err = price_of(sku)
  if value then return value end
  if err.code ~= "not_found" then return nil, err end
  return nil, { code = 404, message = "no price of " .. sku }
end)

app.listen("prices.set", function(msg)
  local sku, wrong = sku_of(msg)
  if not sku then return nil, wrong end
  local price = { sku = sku, cents = math.tointeger(msg.data.cents) }
  if not price.cents then
    return nil, { code = 400, message = "cents must be a whole number" }
  end
  local revision, err = prices:put(sku, price)
  drop(sku) -- also after an error: it may have been stored
  app.publish("prices.changed", sku)
  if not revision then return nil, err end
  return price
end)

app.listen("prices.stats", function() return kept:stats() end)
