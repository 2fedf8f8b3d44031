---app.leader: a function that runs in one instance of the fleet.
---
---A lease is a key of a bucket (lunats.js.lease). Whoever does not hold it looks at it, and
---takes it once its holder has been silent for long enough.
local core = require "lunats.core"
local check = require "lunats.check"
local leases = require "lunats.js.lease"
local stored = require "lunats.js.stored"

local M = {
  ---Seconds before an instance whose function has failed stands again: the first, the longest.
  retry_first = 1, retry_last = 30,
}

local TTL, LEAST_TTL, MOST_TTL = leases.TTL, leases.LEAST_TTL, leases.MOST_TTL

---What was declared and not stopped, by name, and in order.
---@type table<string, leader>
local declared = {}
local order = {}

---The leases of the version before, by key.
---@type table<string, table>
local inherited = {}

local gauge

---@class leader
---@field name string
---@field label string
---@field ttl number
---@field token integer|nil  while it leads
---@field since number|nil  core.clock() of that
---@field stopped boolean|nil
local leader = {}

-- ---- telling ---------------------------------------------------------------------

local function show(self)
  gauge = gauge or core.meter("gauge", "lunats_leader",
    "1 in the instance that holds the lease, 0 in those that stand by.", { "leader" }, {})
  gauge:set(self.held and 1 or 0, { leader = self.name })
end

---Once for each reason.
local function warn(self, text)
  if self.warned ~= text then core.log(2, ("%s: %s"):format(self.label, text)) end
  self.warned = text
end

-- ---- getting the lease -----------------------------------------------------------

---Between 0 and 1: not of math.random, whose numbers are the script's.
local function some() return core.hrtime() * 1e6 % 1 end

---Whether the lease is to be had.
---@return integer|nil revision  to be expected by the write that takes it
---@return number|nil wait  seconds until it is worth another look
---@return table|nil err
local function look(self)
  local entry, err = stored.get({ name = leases.STREAM }, { last_by_subj = self.subject })
  if not entry then
    if err.code == "not_found" then return 0 end
    return nil, self.ttl / 3, err
  end
  if entry.headers["KV-Operation"] then return entry.sequence end
  -- Sequences begin anew in a bucket that was deleted and made again.
  local seen = ("%d %.6f"):format(entry.sequence, entry.created or 0)
  if seen ~= self.seen then
    self.seen, self.seen_at, self.seen_ttl = seen, core.exact_clock(),
      leases.value_of(entry.data).ttl
  end
  local left = self.seen_at + self.seen_ttl - core.exact_clock()
  if left <= 0 then return entry.sequence end
  return nil, left
end

---@param revision integer  the expected one
---@return table|nil held, table|nil err
local function take(self, revision)
  return leases.take(self.key, { service = app.name, instance = app.instance_id,
    ttl = self.ttl }, revision)
end

---Waits until this instance holds it.
---@return table|nil held  nil: it was stopped
local function acquire(self)
  while not self.stopped do
    local revision, wait, err = look(self)
    local held
    if revision then
      held, err = take(self, revision)
      if held then return held end
      wait = self.ttl / 6
    end
    if err and err.code ~= "wrong_last_sequence" then
      if err.code == "no_stream" then
        local _, missing = leases.ensure "app.leader"
        err = missing or err
      end
      warn(self, "nobody can lead for now: " .. err.message)
    end
    self.alarm:sleep(math.min(wait, self.ttl / 6) * (0.9 + 0.2 * some()))
  end
end

-- ---- leading ---------------------------------------------------------------------

local function work(self, held)
  if core.cancelled() then return end
  core.label(self.label)
  held.lease:enter()
  local ok, caught = core.protect(self.fn, held.state.token)
  if ok then return end
  if core.cancelled() then error(caught, 0) end
  self.failed = true
  local trace, err = core.caught(caught)
  core.report(("%s: %s"):format(self.label, trace), { kind = "leader", name = self.name }, err)
end

---Until the lease is lost, or given back.
local function lead(self, held)
  self.held, self.token, self.since = held, held.state.token, core.clock()
  self.failed, self.warned = false, nil
  show(self)
  core.log(1, ("%s: leads, token %d"):format(self.label, self.token))
  local gate = core.gate()
  local fiber = core.fiber(gate, work, self, held)
  if not fiber:ended() then gate:wait() end
  if self.failed then held.lease:release() end
  local why = held.lease:wait()
  self.held, self.token, self.since = nil, nil, nil
  show(self)
  if why then core.log(2, ("%s: does not lead any more: %s"):format(self.label, why)) end
end

---Another instance gets its turn when the function has failed here.
local function supervise(self)
  core.label(self.label)
  local delay = M.retry_first
  local held = self.inherited and leases.open(self.inherited)
  self.inherited = nil
  while held or not self.stopped do
    held = held or acquire(self)
    if not held then return end
    local began = core.clock()
    lead(self, held)
    held = nil
    if self.failed then
      if core.clock() - began > 60 then delay = M.retry_first end
      self.alarm:sleep(delay)
      delay = math.min(delay * 2, M.retry_last)
    end
  end
end

-- ---- declaring -------------------------------------------------------------------

local NAME = "^[%w_=/-][%w_=/.-]*$"

local function check_name(what, name)
  if type(name) ~= "string" or not name:find(NAME) or name:find "%.%." or name:find "%.$"
    or #name > 200 then
    core.blame(("%s: the name '%s' of a lease may have letters, digits, '_', '-', '=', '/' and "
      .. "single dots between them"):format(what, check.shown(name)))
  end
end

local running = false

local function start(self)
  self.key = ("%s.%s"):format(app.name, self.name)
  self.subject = leases.subject(self.key)
  self.inherited, inherited[self.key] = inherited[self.key], nil
  show(self)
  core.background(supervise, self)
end

---@param what string  names the function in errors
---@param name string
---@param ttl number|nil
---@param fn fun(token: integer)
---@return leader
function M.declare(what, name, ttl, fn)
  check_name(what, name)
  if ttl and not (ttl >= LEAST_TTL and ttl <= MOST_TTL) then
    core.blame(("%s: ttl must be a number of seconds from %d to %d"):format(what, LEAST_TTL,
      MOST_TTL))
  end
  if declared[name] then
    core.blame(("%s: there is a lease '%s' already: give this one another name"):format(what,
      name))
  end
  local self = setmetatable({ name = name, label = "leader " .. name, ttl = ttl or TTL, fn = fn,
    alarm = core.alarm() }, leader)
  declared[name] = self
  order[#order + 1] = self
  core.declare()
  core.defer_start(function()
    if not core.loading() and running then return end -- it is looked for while it is needed
    local ok, err = leases.ensure(what)
    if not ok then error(err.message, 0) end
  end)
  if running then start(self) end
  return self
end

local OPTIONS = { ttl = "number" }

---Runs fn in one instance at a time.
---@param name string
---@param opts table|nil
---@param fn fun(token: integer)
---@return leader
function M.leader(name, opts, fn)
  if fn == nil then opts, fn = nil, opts end
  check.fn("app.leader", fn)
  opts = core.check("app.leader", opts, OPTIONS)
  return M.declare("app.leader", name, opts.ttl, fn)
end

---Gives the lease back, or stands for it no more. The function is cancelled.
function leader:stop()
  self.stopped = true
  if declared[self.name] == self then declared[self.name] = nil end
  for i, one in ipairs(order) do
    if one == self then table.remove(order, i) break end
  end
  if self.held then self.held.lease:release() end
  self.alarm:ring()
end

---The fencing token while this instance leads, else nil.
---@return integer|nil
function leader:leads()
  local held = self.held
  return held and held.lease:holds() and held.state.token or nil
end

-- ---- over reloads ----------------------------------------------------------------

---What the next version goes on with, by key.
---@return table<string, table>
function M.states()
  local states = {}
  for _, self in ipairs(order) do
    local now = self.held and self.held.lease:state()
    if now then
      local state = {}
      for name, value in pairs(self.held.state) do state[name] = value end
      for name, value in pairs(now) do state[name] = value end
      states[self.key] = state
    end
  end
  return states
end

---@param states table<string, table>  M.states() of the version before
function M.inherit(states) inherited = states end

---@return leader[]
function M.list() return order end

core.at_run(function()
  running = true
  for _, self in ipairs { table.unpack(order) } do start(self) end
  for key, state in pairs(inherited) do -- what this version has no use for
    inherited[key] = nil
    local held = leases.open(state)
    held.lease:release()
  end
end)

check.class("lead", leader)
M.methods = leader

return M
