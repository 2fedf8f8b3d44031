---Watching the messages of a bucket: first those that are there already, then new ones, and a
---sign between the two.
local core = require "lunats.core"
local consumers = require "lunats.js.consumers"
local ordered = require "lunats.js.ordered"

local M = {
  ---Seconds without a message after which a collection fails.
  patience = 10,
}

-- ---- which messages were there already --------------------------------------------

---Counts down what was there when the consumer was made. (In a busy bucket num_pending alone
---might never be 0.)
---@return boolean over
local function count_down(self, msg)
  self.left = self.left - 1
  return self.left <= 0 or msg.metadata.num_pending == 0
end

---After a reset the rest is counted anew: what was missing may be gone.
local function count_again(self, handle)
  local info = consumers.info(handle.stream, handle.consumer)
  if info then self.left = info.num_pending + info.delivered.consumer_seq end
  return self.left <= 0
end

---A cluster that has just lost its leader does not answer for a while.
local OPEN_ATTEMPTS = 2

---@return ordered|nil handle, table|nil err
local function open(opts)
  for attempt = 1, OPEN_ATTEMPTS do
    local handle, err = ordered.open(opts)
    if handle or err.code ~= "timeout" or attempt == OPEN_ATTEMPTS then return handle, err end
  end
end

-- ---- collecting -------------------------------------------------------------------

local stopping = { __close = function(self) self.handle:stop() end }

---Calls fn for each message that is there now; returns when it has seen all.
---@param opts table { stream =, filter =, config = }
---@param fn fun(msg: msg)
---@return boolean|nil ok, table|nil err
function M.collect(opts, fn)
  local count = { left = 0 }
  local over, handle, err
  handle, err = open { stream = opts.stream, filter = opts.filter,
    config = opts.config, data_type = "string",
    on_reset = function() over = count_again(count, handle) end }
  if not handle then return nil, err end
  local _ <close> = setmetatable({ handle = handle }, stopping)
  count.left = handle.initial_pending
  over = count.left == 0
  while not over do
    local msg
    msg, err = handle:next(M.patience)
    if msg then
      over = count_down(count, msg)
      fn(msg)
    elseif not over then
      return nil, err
    end
  end
  return true
end

-- ---- watching ---------------------------------------------------------------------

---@class watch_handle
---@field initial boolean what was there already has been reported
local handle = {}
handle.__index = handle

local function signal(self)
  if self.initial then return end
  self.initial = true
  for _, alarm in ipairs(self.alarms) do alarm:ring() end
  if self.on_initial then self.on_initial() end
end

---Calls on_message for each message, one after the other. Returns when the consumer is there.
---@param opts table { stream =, filter =, config =, on_message =, on_initial =, on_error = }
---@return watch_handle|nil handle, table|nil err
function M.open(opts)
  local self = setmetatable({ initial = false, alarms = {}, on_initial = opts.on_initial },
    handle)
  local count = { left = 0 }
  local err
  self.ordered, err = open {
    stream = opts.stream, filter = opts.filter, config = opts.config, data_type = "string",
    on_error = opts.on_error,
    on_message = function(msg)
      local over = not self.initial and count_down(count, msg)
      local ok, trace = xpcall(opts.on_message, debug.traceback, msg)
      if over and not core.cancelled() then signal(self) end
      if not ok then error(trace, 0) end
    end,
    on_reset = function()
      if not self.initial and count_again(count, self.ordered) then signal(self) end
    end,
  }
  if not self.ordered then return nil, err end
  count.left = opts.config.deliver_policy == "new" and 0 or self.ordered.initial_pending
  if count.left == 0 then
    local ok, trace = pcall(signal, self)
    if not ok then
      self.ordered:stop()
      error(trace, 0)
    end
  end
  return self
end

---No further call, except one that runs now.
function handle:stop()
  self.ordered:stop()
  for _, alarm in ipairs(self.alarms) do alarm:ring() end
end

---Waits until what was there already has been reported.
---@param timeout number|nil seconds, default 10
---@return boolean|nil ok, table|nil err
function handle:ready(timeout)
  local due = core.clock() + (timeout or M.patience)
  local alarm = core.alarm()
  self.alarms[#self.alarms + 1] = alarm
  while not self.initial and not self.ordered.stopped and core.clock() < due do
    alarm:sleep(due - core.clock())
  end
  for i, one in ipairs(self.alarms) do
    if one == alarm then table.remove(self.alarms, i) break end
  end
  if self.initial then return true end
  if self.ordered.stopped then
    return core.fail(core.error("closed", "the watch was stopped"))
  end
  return core.fail(core.error("timeout", "the values that exist have not come in time"))
end

return M
