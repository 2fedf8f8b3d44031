---A map of what has been used lately: of a number of keys that others choose.
---@class resilience.recent
local recent = {}
recent.__index = recent

---@param most integer entries that are kept for sure; twice as many at most
function recent.new(most) return setmetatable({ most = most, young = {}, old = {}, count = 0 },
  recent) end

local function put(self, key, value)
  if self.young[key] == nil then self.count = self.count + 1 end
  if self.count > self.most then
    self.old, self.young, self.count = self.young, {}, 1
  end
  self.young[key] = value
  return value
end

---@return any value or nil
function recent:get(key)
  local value = self.young[key]
  if value == nil and self.old[key] ~= nil then value = put(self, key, self.old[key]) end
  return value
end

function recent:set(key, value) return put(self, key, value) end

---Calls fn(key, value) for all.
function recent:each(fn)
  for key, value in next, self.young do fn(key, value) end
  for key, value in next, self.old do
    if self.young[key] == nil then fn(key, value) end
  end
end

return recent
