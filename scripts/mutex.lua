---app.mutex: one fiber at a time, in the order of their arrival.
local core = require "lunats.core"
local check = require "lunats.check"

---`owner` is the fiber that holds it (core.current()), true while it is handed to the one that
---has waited longest, false when it is free.
---@class mutex
local mutex = {}

---@param timeout number|nil
function mutex:lock(timeout)
  check.seconds("mutex:lock", "the timeout", timeout)
  local me = core.current()
  if not me then
    core.blame("mutex:lock: nothing runs yet; call it in app.on_start, a task, a timer or a "
      .. "handler")
  end
  if self.owner == me then core.blame "mutex:lock: this fiber holds the mutex already" end
  if self.owner and not self.gate:wait(timeout) then
    return nil, core.error("timeout", "the mutex was not unlocked in time")
  end
  self.owner = me
  return self
end

local function unlock(self) self.owner = self.gate:open(1) == 1 end

function mutex:unlock()
  if not self.owner or self.owner ~= core.current() then
    error("mutex:unlock: this fiber does not hold the mutex", 2)
  end
  unlock(self)
end

---End of `local _ <close> = m:lock()`; it may have been unlocked before.
function mutex.__close(self)
  if self.owner == core.current() then unlock(self) end
end

---Calls fn with the mutex locked, and unlocks it however that ends.
function mutex:with(fn, ...)
  check.fn("mutex:with", fn)
  local _ <close> = self:lock()
  return fn(...)
end

check.class("m", mutex)

---@return mutex
return function() return setmetatable({ gate = core.gate(), owner = false }, mutex) end
