---app.spawn and app.timeout: a fiber that somebody holds, with its results.
local core = require "lunats.core"
local check = require "lunats.check"

local M = {}

---@class fiber
local fiber = {}

---The metatable of a fiber whose error is kept for somebody to take: if nobody ever does, it is
---reported when the fiber is collected.
local failed = { __index = fiber }

function failed.__gc(self)
  if self.trace then core.report(self.trace, { kind = "fiber" }, self.value) end
end

---Fibers that are awaiting one, by core.current().
local awaiting = {}

-- ---- running ----------------------------------------------------------------

---An error is reported at once, unless it finds somebody: one that awaits the fiber, or the one
---that has started it and is busy awaiting another one.
local function fail(self, caught)
  local trace, value = core.caught(caught)
  self.failed, self.value = true, value
  if self.awaited > 0 or awaiting[self.parent] then
    self.trace = trace
    setmetatable(self, failed)
  else
    core.report(trace, { kind = "fiber" }, value)
  end
end

local function settle(self, ok, ...)
  if ok then
    self.results = table.pack(...)
  elseif core.cancelled() then
    error((...), 0)
  else
    fail(self, (...))
  end
end

local function run(self, fn, ...)
  if core.cancelled() then return end -- before it has begun
  self.id = core.current()
  settle(self, core.protect(fn, ...))
end

---@param fn function
---@return fiber
function M.spawn(fn, ...)
  check.callable("app.spawn", fn)
  local self = setmetatable({ parent = core.current(), awaited = 0, gate = core.gate() }, fiber)
  self.handle = core.fiber(self.gate, run, self, fn, ...)
  return self
end

-- ---- holding ----------------------------------------------------------------

local waiter = { __close = function(self)
  self.fiber.awaited = self.fiber.awaited - 1
  awaiting[self.me] = nil
end }

---@param timeout number|nil
---@return boolean ended
local function wait(self, timeout)
  local me = core.current()
  if not core.can_wait() then error("a fiber cannot be awaited here", 3) end
  if me == self.id then error("a fiber cannot await itself", 3) end
  self.awaited = self.awaited + 1
  awaiting[me] = true
  local _ <close> = setmetatable({ fiber = self, me = me }, waiter)
  return self.gate:wait(timeout) or self.handle:ended()
end

---What await returns for what was raised; errors that are tables pass as they are.
local function error_of(self)
  if not self.failed then
    local _, outside = self.handle:ended() -- of fn: no memory, or a yield by mistake
    if outside then return core.error("error", "the fiber has failed, see the log") end
    return core.error("cancelled", "the fiber was cancelled")
  end
  if type(self.value) == "table" then return self.value end
  return core.error("error", tostring(self.value))
end

---@param timeout number|nil
function fiber:await(timeout)
  check.seconds("f:await", "the timeout", timeout)
  if not self.handle:ended() and not wait(self, timeout) then
    return nil, core.error("timeout", "the fiber has not ended in time")
  end
  local results = self.results
  if results then return table.unpack(results, 1, results.n) end
  self.trace = nil
  self.err = self.err or error_of(self)
  if not self.told then
    self.told = true
    return nil, self.err
  end
  return core.fail(self.err) -- again: a loop around it must not keep the others from running
end

---@return boolean cancelled whether it had not ended yet
function fiber:cancel() return self.handle:cancel() end

-- ---- bounding ---------------------------------------------------------------

local bounded = { __close = function(self) self.fiber:cancel() end }

---@return boolean in_time whether it has ended by itself
local function within(self, seconds)
  local _ <close> = setmetatable({ fiber = self }, bounded) -- when the caller is cancelled
  if wait(self, seconds) then return true end
  self:cancel()
  wait(self)
  return false
end

local function outcome(self, in_time, seconds)
  if not in_time then
    return nil, core.error("timeout", ("not done within %g s"):format(seconds))
  end
  local results = self.results
  if results then return table.unpack(results, 1, results.n) end
  self.trace = nil
  if self.failed then error(self.value, 0) end
  error(error_of(self), 0)
end

---app.timeout() for a caller that goes on, with an error, where fn has called os.exit().
function M.bounded(seconds, fn, ...)
  local self = M.spawn(fn, ...)
  return outcome(self, within(self, seconds), seconds)
end

---@param seconds number
---@param fn function
function M.timeout(seconds, fn, ...)
  check.seconds("app.timeout", "the time", seconds or 0 / 0)
  check.callable("app.timeout", fn)
  if not core.can_wait() then
    error("app.timeout cannot wait here; call it in app.on_start, a task, a timer or a handler",
      2)
  end
  local self = M.spawn(fn, ...)
  local in_time = within(self, seconds)
  if in_time and select(3, self.handle:ended()) then core.leave() end
  return outcome(self, in_time, seconds)
end

check.class("f", fiber)

return M
