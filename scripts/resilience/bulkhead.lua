---A bulkhead: so many calls at once, and so many that wait for one of them to end.
local core = require "lunats.core"
local refusal = require "lunats.resilience.refusal"

---@class resilience.bulkhead
---@field name string
---@field spec table
---@field running integer
---@field waiting integer
local bulkhead = {}
bulkhead.__index = bulkhead

local running

---@param name string
---@param spec table
function bulkhead.new(name, spec)
  running = running or core.meter("gauge", "lunats_bulkhead_running",
    "Calls that are under way behind a bulkhead.", { "name" }, {})
  return setmetatable({ name = name, spec = spec, running = 0, waiting = 0,
    gate = core.gate() }, bulkhead)
end

local function count(self, n)
  self.running = self.running + n
  running:set(self.running, { name = self.name })
end

local function let_in(self)
  if self.running < self.spec.limit then self.gate:open(1) end
end

---What a call holds; closed when it ends, however that is.
local slot = {}
slot.__index = slot
function slot:__close()
  count(self.bulkhead, -1)
  let_in(self.bulkhead)
end

---What a call holds that waits. One that is cancelled may have been let in already: then it is
---the turn of another one.
local place = {}
place.__index = place
function place:__close(err)
  self.bulkhead.waiting = self.bulkhead.waiting - 1
  if err ~= nil then let_in(self.bulkhead) end
end

local function wait(self)
  self.waiting = self.waiting + 1
  local _ <close> = setmetatable({ bulkhead = self }, place)
  local due = core.clock() + self.spec.wait
  repeat
    local rest = due - core.clock()
    if not (rest > 0 and self.gate:wait(rest)) then return false end
  until self.running < self.spec.limit
  return true
end

---@return table|nil slot to be closed
---@return table|nil err
function bulkhead:enter()
  local spec = self.spec
  if self.running >= spec.limit or self.waiting > 0 then
    if self.waiting >= spec.queue or not wait(self) then
      return refusal.refuse("bulkhead", self.name, "bulkhead_full", 503, nil,
        "'%s' is busy: %d calls are under way%s", self.name, self.running,
        self.waiting > 0 and (", %d wait"):format(self.waiting) or "")
    end
  end
  count(self, 1)
  return setmetatable({ bulkhead = self }, slot)
end

return bulkhead
