---Watching the messages of a bucket: first those that are there already, then new ones, and a
---sign between the two.
local core = require "lunats.core"
local check = require "lunats.check"
local initial_of = require "lunats.js.initial"
local ordered = require "lunats.js.ordered"

local M = {
  ---Seconds without a message after which a collection fails.
  patience = 10,
}

---Seconds without a message after which it is looked for what is missing.
local SILENCE = 0.5

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
  local initial, err = initial_of(opts.stream, opts.filter, opts.config)
  if not initial then return nil, err end
  if initial.over then return true end
  local handle
  handle, err = open { stream = opts.stream, filter = opts.filter, config = opts.config,
    data_type = "string", created = initial.created, last = initial.last }
  if not handle then return nil, err end
  local _ <close> = setmetatable({ handle = handle }, stopping)
  local due = core.clock() + M.patience
  while not initial.over do
    local msg
    msg, err = handle:next(SILENCE)
    if msg then
      due = core.clock() + M.patience
      initial:see(msg)
      fn(msg)
    elseif err.code ~= "timeout" or core.clock() >= due then
      return nil, err
    else
      initial:look_again()
    end
  end
  return true
end

-- ---- watching ---------------------------------------------------------------------

---@class watch_handle
---@field initial boolean what was there already has been reported
local handle = {}

local function signal(self)
  if self.initial then return end
  self.initial = true
  for _, alarm in ipairs(self.alarms) do alarm:ring() end
  if self.on_initial then self.on_initial() end
end

---Looks for what is missing whenever there was silence for a while.
local function look_again(self, state)
  local alarm = core.alarm()
  self.alarms[#self.alarms + 1] = alarm
  while not self.initial and not self.ordered.stopped do
    local came = state.came
    alarm:sleep(SILENCE)
    local silent = came == state.came and not state.busy and not self.initial
    if silent and state.initial:look_again() and not state.busy then signal(self) end
  end
end

---Calls on_message for each message, one after the other. Returns when the consumer is there.
---@param opts table { stream =, filter =, config =, on_message =, on_initial =, on_error = }
---@return watch_handle|nil handle, table|nil err
function M.open(opts)
  local self = setmetatable({ initial = false, alarms = {}, on_initial = opts.on_initial },
    handle)
  local initial, err = initial_of(opts.stream, opts.filter, opts.config)
  if not initial then return nil, err end
  local state = { came = 0, initial = initial }
  self.ordered, err = open {
    stream = opts.stream, filter = opts.filter, config = opts.config, data_type = "string",
    on_error = opts.on_error, created = initial.created, last = initial.last,
    on_message = function(msg)
      state.came, state.busy = state.came + 1, true
      local over = not self.initial and initial:see(msg)
      local ok, caught = core.protect(opts.on_message, msg)
      state.busy = false
      if over and not core.cancelled() then signal(self) end
      if not ok then error(caught, 0) end -- with its traceback
    end,
  }
  if not self.ordered then return nil, err end
  if not initial.over then
    core.background(look_again, self, state)
    return self
  end
  local ok, trace = pcall(signal, self)
  if not ok then
    self.ordered:stop()
    error(trace, 0)
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
  check.seconds("watch:ready", "the timeout", timeout)
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

check.class("watch", handle)

return M
