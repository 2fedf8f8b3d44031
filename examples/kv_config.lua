-- Settings that change while the service runs: they live in a key-value bucket, and a watch
-- tells every instance about each change.
--
--   lunats dev examples/kv_config.lua
--
-- shop.price     {"cents": 1000}                     ->  {"cents": 900, "currency": "EUR"}
-- shop.set       {"key": "discount", "value": 0.1}   ->  {"revision": 4}
-- shop.settings  (anything)                          ->  {"discount": 0.1, "currency": "EUR"}
-- Everybody else may write to the bucket as well: nats kv put shop_settings discount 0.2
app.config { name = "kv_config", version = "1.0.0" }

local BUCKET = "shop_settings"

-- What holds while the bucket says nothing, and what a value must be like.
local DEFAULTS = { discount = 0, currency = "EUR" }
local VALID = {
  discount = function(value) return type(value) == "number" and value >= 0 and value < 1 end,
  currency = function(value) return type(value) == "string" and value:find "^%u%u%u$" end,
}

local settings = {}
for key, value in pairs(DEFAULTS) do settings[key] = value end

-- An entry of the bucket becomes a setting. A wrong one changes nothing: the bucket may be
-- written to by anybody.
local function apply(entry)
  local valid = VALID[entry.key]
  if not valid then return app.log.warn("unknown setting", { key = entry.key }) end
  if entry.operation ~= "PUT" then
    settings[entry.key] = DEFAULTS[entry.key]
    return app.log.info("setting is back to its default", { key = entry.key })
  end
  local ok, value = pcall(function() return entry.data end) -- raises for what is not JSON
  if not ok or not valid(value) then
    return app.log.warn("setting refused", { key = entry.key, value = entry.value })
  end
  settings[entry.key] = value
  app.log.info("setting changed", { key = entry.key, value = entry.value,
    revision = entry.revision })
end

local bucket

-- The service starts when it knows all settings, not with defaults for the first requests.
app.on_start(function()
  bucket = assert(app.js.create_key_value { bucket = BUCKET, history = 5 })
  local watch = assert(bucket:watch(apply))
  assert(watch:ready())
end)

app.listen("shop.price", function(msg)
  local cents = type(msg.data) == "table" and msg.data.cents
  if math.type(cents) ~= "integer" then
    return nil, { code = 400, message = "cents must be a whole number" }
  end
  local price = math.floor(cents * (1 - settings.discount) + 0.5)
  return { cents = price, currency = settings.currency }
end)

app.listen("shop.set", function(msg)
  if type(msg.data) ~= "table" then
    return nil, { code = 400, message = "a setting is an object with key and value" }
  end
  local key, value = msg.data.key, msg.data.value
  local valid = VALID[key]
  if not valid then return nil, { code = 404, message = "there is no such setting" } end
  if not valid(value) then return nil, { code = 422, message = "not a value of " .. key } end
  -- As JSON, so that a string is told from a number.
  local revision, err = bucket:put(key, app.json.encode(value))
  if not revision then return nil, { code = 503, message = err.message } end
  return { revision = revision }
end)

app.listen("shop.settings", function() return settings end)
