---app.timer and app.task: fibers in a loop.
local core = require "lunats.core"
local check = require "lunats.check"

local M = {}

---What was declared before the service runs, in order.
local declared = {}
local started = false

---@class periodic.handle
---@field name string|nil
---@field ticks integer  calls of the function so far
---@field skipped integer  ticks left out because the one before took too long
---@field errors integer
local handle = {}

---A handle that has ended is forgotten: scripts may start and stop timers all day long.
local function forget(self)
  for i, one in ipairs(declared) do
    if one == self then table.remove(declared, i) break end
  end
end

---No further call; one that runs now goes on to its end.
function handle:stop()
  self.stopped = true
  self.alarm:ring()
  if self.leader and not self.leader:leads() then
    self.leader:stop()
    forget(self)
  end
end

---The counter of ticks, made with the first timer: it belongs to the service, and goes on over
---reloads as long as one version has it.
local ticks

local function count(self, result, n)
  local labels = self.labels
  labels.result = result
  ticks:inc(n, labels)
end

---Calls fn; an error is reported with its traceback and counted. Returns whether it succeeded.
---A call that ends soon is a trace of its own; what a task without interval sends begins one.
local function call(self, fn)
  self.ticks = self.ticks + 1
  if self.interval then core.trace_enter(self.label) end
  local ok, caught = core.protect(fn)
  if self.interval then core.trace_leave(not ok and (core.caught(caught)) or nil) end
  if ok then
    count(self, "ok", 1)
    return true
  end
  if core.cancelled() then error(caught, 0) end -- a stop, not a failure
  self.errors = self.errors + 1
  count(self, "error", 1)
  local trace, err = core.caught(caught)
  core.report(("%s: %s"):format(self.label, trace), { kind = self.kind, name = self.name }, err)
  return false
end

---Due times of the version before, by key(): a reload keeps the phase of a timer.
local inherited = {}

---What makes two timers of different versions the same one.
local function key(self)
  return ("%s %s %a"):format(self.kind, self.name or "", self.interval)
end

local function first_due(self)
  local due = table.remove(inherited[key(self)] or {}, 1)
  return due or core.clock() + self.delay
end

---The clock counts milliseconds; in seconds they are doubles, so 30 s may be 29.999999999999.
local ROUNDING = 1e-6

---Ticks on a fixed grid: a late tick does not move the ones after it, a missed one is skipped.
local function run_timer(self)
  if self.stopped then return end -- before it slept: nothing would wake it before its time
  self.due = first_due(self)
  while true do
    local wait = self.due - core.clock()
    if wait > 0 then self.alarm:sleep(wait) end
    if self.stopped then return end
    self.due = self.due + self.interval -- before the call: a reload meanwhile takes it over
    call(self, self.fn)
    if self.stopped then return end -- at once: what fn holds may be large, the interval long
    local late = core.clock() - self.due + ROUNDING
    local missed = math.max(0, math.floor(late / self.interval))
    self.skipped = self.skipped + missed
    if missed > 0 then count(self, "skipped", missed) end
    self.due = self.due + missed * self.interval
    if self.due <= core.clock() then core.sleep(0) end -- others get their turn
  end
end

---Restarts a failed task after 0.1 s, doubling up to 30 s; a minute of good work resets it.
local function run_task(self)
  local delay = 0.1
  while not self.stopped do
    local began = core.clock()
    if call(self, self.fn) or self.restart ~= "on_error" or self.stopped then return end
    if core.clock() - began > 60 then delay = 0.1 end
    self.alarm:sleep(delay)
    delay = math.min(delay * 2, 30)
  end
end

local function run(self)
  core.label(self.label)
  if self.interval then run_timer(self) else run_task(self) end
  forget(self)
end

local function start(self)
  if not self.leader then core.background(run, self) end
end

local function add(self)
  self.ticks, self.skipped, self.errors = 0, 0, 0
  self.alarm = core.alarm()
  ticks = ticks or core.meter("counter", "lunats_timer_ticks_total",
    "Ticks of timers and runs of tasks, by how they ended; skipped: the one before took too "
    .. "long.", { "timer", "result" }, {})
  self.labels = { timer = self.name or self.interval and ("every %g s"):format(self.interval)
    or "task" }
  count(self, "error", 0) -- shown before there is one, so that a rate sees the first
  setmetatable(self, handle)
  declared[#declared + 1] = self
  core.declare()
  if started then start(self) end
  return self
end

local function check_seconds(what, name, value)
  local number = type(value) == "number" and value == value -- NaN differs from itself
  if not number or value <= 0 or value == math.huge then
    error(("%s: %s must be a number of seconds greater than 0"):format(what, name), 3)
  end
end

---Ticks begin anew in each instance that comes to lead.
local function run_singleton(self)
  local _ <close> = setmetatable({}, { __close = function() self.due = nil end })
  run(self)
  self.leader:stop()
end

local function lead(self)
  local name = "timer." .. (self.name or ("%gs"):format(self.interval):gsub("+", ""))
  self.leader = require("lunats.leader").declare("app.timer", name, nil,
    function() run_singleton(self) end)
end

function M.timer(interval, opts, fn)
  if fn == nil then opts, fn = nil, opts end
  check_seconds("app.timer", "the interval", interval)
  check.fn("app.timer", fn)
  opts = core.check("app.timer", opts, { delay = "number", name = "string",
    singleton = "boolean" })
  if opts.delay and (opts.delay ~= opts.delay or opts.delay < 0) then
    error("app.timer: delay must be 0 or more seconds", 2)
  end
  local self = { kind = "timer", interval = interval, delay = opts.delay or 0, fn = fn,
    name = opts.name, label = "timer " .. (opts.name or ("every %g s"):format(interval)) }
  if opts.singleton then lead(self) end
  return add(self)
end

function M.task(opts, fn)
  if fn == nil then opts, fn = nil, opts end
  check.fn("app.task", fn)
  opts = core.check("app.task", opts, { interval = "number", restart = "string",
    name = "string" })
  if opts.interval then check_seconds("app.task", "interval", opts.interval) end
  if opts.restart and opts.restart ~= "on_error" and opts.restart ~= "never" then
    error('app.task: restart must be "on_error" or "never"', 2)
  end
  return add { kind = "task", interval = opts.interval, delay = 0, fn = fn,
    restart = opts.restart, name = opts.name,
    label = opts.name and "task " .. opts.name or "task" }
end

---The service runs: everything declared so far starts.
function M.start()
  started = true
  for _, one in ipairs { table.unpack(declared) } do start(one) end
end

---When each timer is due, for the next version.
---@return table<string, number[]>
function M.phases()
  local dues = {}
  for _, one in ipairs(declared) do
    if one.due and not one.stopped then
      local list = dues[key(one)] or {}
      dues[key(one)] = list
      list[#list + 1] = one.due
    end
  end
  return dues
end

---@param dues table<string, number[]>  M.phases() of the version before
function M.inherit(dues) inherited = dues end

---@return periodic.handle[]
function M.list() return declared end

check.class("timer", handle)

return M
