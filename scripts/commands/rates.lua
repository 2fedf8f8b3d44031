---What services have done between two looks at their counters: for `top`.
local M = {}

local rates = {}
rates.__index = rates

function M.new() return setmetatable({ before = {} }, rates) end

---@class rates.row
---@field name string  of the service
---@field id string
---@field endpoint cluster.endpoint|nil
---@field requests number|nil  a second; nil: not known yet
---@field errors number|nil  a second
---@field nanoseconds number|nil  the mean of these requests; nil: none
---@field total integer  requests since its start
---@field service cluster.service

---Counters that have gone back are those of one that began anew.
local function since(before, now)
  return now >= before and now - before or now
end

local function compare(row, counters, last)
  row.total = counters.requests
  if not last then return row end
  local elapsed = math.max(counters.at - last.at, 1e-3)
  local requests = since(last.requests, counters.requests)
  row.requests = requests / elapsed
  row.errors = since(last.errors, counters.errors) / elapsed
  row.nanoseconds = requests > 0
    and since(last.nanoseconds, counters.nanoseconds) / requests or nil
  return row
end

---@param key string
---@param numbers { requests: integer, errors: integer, nanoseconds: integer }
local function add(self, rows, row, key, numbers, at)
  local counters = { requests = numbers.requests, errors = numbers.errors,
    nanoseconds = numbers.nanoseconds, at = at }
  rows[#rows + 1] = compare(row, counters, self.before[key])
  self.now[key] = counters
end

---Compares with the look before this one.
---@param services cluster.service[]
---@param sums fun(service: cluster.service): table
---@param at number  seconds, of a clock that never goes back
---@return rates.row[] services, rates.row[] endpoints
function rates:look(services, sums, at)
  local whole, parts = {}, {}
  self.now = {}
  for _, service in ipairs(services) do
    local key = service.name .. "/" .. service.id
    local function row(endpoint)
      return { name = service.name, id = service.id, service = service, endpoint = endpoint }
    end
    add(self, whole, row(), key, sums(service), at)
    for i, endpoint in ipairs(service.endpoints) do
      add(self, parts, row(endpoint), ("%s %d %s"):format(key, i, endpoint.subject), endpoint,
        at)
    end
  end
  self.before = self.now
  return whole, parts
end

return M
