-- SPDX-License-Identifier: Apache-2.0
-- For ./dev bench --state: holds BENCH_RECORDS records, and each request replaces one of them.
-- BENCH_STATE says how: "none" makes the record and drops it, "tables" has 1,000 tables,
-- "table" one, "cache" an app.cache.
-- luacheck: ignore 241
local records = tonumber(os.getenv "BENCH_RECORDS") or 1000000
local kind = os.getenv "BENCH_STATE" or "none"
local random = math.random
local TABLES = 1000

local function record(id)
  return { id = id, name = "customer " .. id, total = id * 1.5, city = "Berlin " .. id % 1000 }
end

---As much as such a table needs.
local FORMAT = '{"id":%d,"name":"customer %d","total":%.1f,"city":"Berlin %d","pad":"'
  .. ("x"):rep(180) .. '"}'
local function text(id) return FORMAT:format(id, id, id * 1.5, id % 1000) end

local keepers = {}

function keepers.none()
  return function(id) return text(id) end
end

function keepers.tables()
  local tables = {}
  for i = 1, TABLES do tables[i] = {} end
  return function(id) tables[id % TABLES + 1][id // TABLES + 1] = record(id) end
end

function keepers.table()
  local table = {}
  return function(id) table[id + 1] = record(id) end
end

function keepers.cache()
  local cache = app.cache("bench", { max_bytes = 1000 * records })
  return function(id) assert(cache:set(id, text(id))) end
end

local keep = keepers[kind]()
if kind ~= "none" then
  for id = 0, records - 1 do keep(id) end
end
collectgarbage()
print(("heap %d"):format(collectgarbage "count" // 1))

app.listen("bench.state", { data_type = "string" }, function(msg)
  keep(random(0, records - 1))
  return msg.raw
end)

---CPU time between two requests: what the worst of them has waited for this process, however
---busy the machine is.
local clock, before, worst = os.clock, 0, 0
app.listen("bench.pause", { data_type = "string" }, function(msg)
  local now = clock()
  if now - before > worst then worst = now - before end
  keep(random(0, records - 1))
  before = clock()
  return msg.raw
end)
app.listen("bench.worst", function()
  local result = worst * 1e3
  before, worst = clock(), 0
  return result
end)
