-- The stock, in a bucket: a level for each article, which is changed by compare-and-set.
-- Messages may come twice, and a process may die between any two lines: each step of an order
-- has a tag, and is done once.
local catalogue = require "catalogue"
local events = require "events"

app.config { name = "shop_stock", version = "1.0.0", description = "Knows what is in stock" }

local levels, steps

app.on_start(function()
  events.ensure_streams()
  levels = assert(app.js.create_key_value { bucket = "SHOP_LEVELS" })
  steps = assert(app.js.create_key_value { bucket = "SHOP_STEPS" })
  for sku, article in pairs(catalogue) do
    local made, err = levels:create(sku, { level = article.stock, open = app.json.object {} })
    if not made and err.code ~= "wrong_last_sequence" then error(err) end -- it may be there
  end
end)

-- ---- once -------------------------------------------------------------------

local locks = {}
for sku in pairs(catalogue) do locks[sku] = app.mutex() end

-- What became of a step, or false; nil and an error if that cannot be had: that nothing can be
-- read does not mean that nothing is there.
local function result_of(tag)
  local entry, err = steps:get(tag)
  if entry then return entry.value end
  if err.code == "not_found" then return false end
  return nil, err
end

-- The level and a mark with what became of a step are one value, so either both are written or
-- none. Marks stay until the step itself is written down; the next change drops them.
local written = {} -- the last tag of each article that this process has written down

local function drop_marks(sku, open)
  for tag in pairs(open) do
    if written[sku] == tag or result_of(tag) then open[tag] = nil end
  end
end

local function attempt(sku, tag, amount)
  local entry, err = levels:get(sku)
  if not entry then return nil, err end
  local result
  result, err = result_of(tag) -- behind the level: what is written later fails the update
  if result or result == nil then return result, err end
  local value = entry.data
  result = value.open[tag]
  if not result then
    drop_marks(sku, value.open)
    result = value.level + amount < 0 and "refused" or "done"
    if result == "done" then value.level = value.level + amount end
    value.open[tag] = result
    local revision
    revision, err = levels:update(sku, value, entry.revision)
    if not revision then return nil, err end
  end
  local stored
  stored, err = steps:put(tag, result)
  if not stored then return nil, err end
  written[sku] = tag
  return result
end

-- Changes a level once for a tag: "done", or "refused" if that would be less than nothing.
local function once(sku, tag, amount)
  return locks[sku]:with(function()
    local result, err
    for _ = 1, 20 do
      result, err = attempt(sku, tag, amount)
      -- Another instance was faster: once more.
      if result or err.code ~= "wrong_last_sequence" then break end
    end
    return result, err
  end)
end

-- ---- orders -----------------------------------------------------------------

events.reader("shop.placed", "SHOP_PLACED", "stock"):consume({
  concurrency = 16, backoff = { 0.2, 1, 5 },
}, function(msg)
  local order = msg.data
  local result, err = once(order.sku, order.id .. ".take", -order.count)
  if not result then return nil, err end
  local told
  if result == "refused" then
    told, err = events.finish(order, "sold_out")
  else
    told, err = events.tell("shop.pay", order)
  end
  if not told then return nil, err end
end)

-- What is not paid for goes back.
local UNPAID = { refused = true, failed = true }

events.reader("shop.done.*", "SHOP_DONE", "stock"):consume({
  concurrency = 16, backoff = { 0.2, 1, 5 },
}, function(msg)
  local order = msg.data
  if not UNPAID[order.state] then return end
  local result, err = once(order.sku, order.id .. ".back", order.count)
  if not result then return nil, err end
end)

app.listen("shop.stock.levels", { description = "what is in stock" }, function()
  local all = app.json.object {}
  for sku in pairs(catalogue) do
    local entry, err = levels:get(sku)
    if not entry then return nil, err end
    all[sku] = entry.data.level
  end
  return all
end)
