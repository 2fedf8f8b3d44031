---A circuit breaker: when too large a part of the calls within a window has failed it is
---open, and calls fail at once. After a while it lets some through on trial, half open, and
---closes when all of them succeed.
local core = require "lunats.core"
local refusal = require "lunats.resilience.refusal"

---@class resilience.breaker
---@field name string
---@field spec table
---@field state "closed"|"open"|"half_open"
---@field since number when it got into that state
---@field generation integer calls of the states before do not count any more
---@field raises boolean|nil it is about a handler, whose errors count
local breaker = {}
breaker.__index = breaker

---Parts of the window: one of them goes when time has gone on by as much.
local PARTS = 10
local VALUES = { closed = 0, open = 1, half_open = 2 }

local gauge

local function forget(self)
  self.good, self.bad, self.part_at = {}, {}, {}
  for i = 1, PARTS do self.good[i], self.bad[i], self.part_at[i] = 0, 0, -1 end
end

local function enter_state(self, state)
  self.state, self.since, self.generation = state, core.clock(), self.generation + 1
  self.trials, self.passed = 0, 0 -- under way; that have succeeded
  if state == "closed" then forget(self) end
  gauge:set(VALUES[state], { name = self.name })
end

---@param name string
---@param spec table
function breaker.new(name, spec)
  gauge = gauge or core.meter("gauge", "lunats_breaker_state",
    "State of a circuit breaker: 0 closed, 1 open, 2 half open.", { "name" }, {})
  local self = setmetatable({ name = name, spec = spec, generation = 0 }, breaker)
  enter_state(self, "closed")
  return self
end

-- ---- the window -----------------------------------------------------------------

---The part for calls that end now.
local function part_of(self)
  local number = core.clock() * PARTS // self.spec.window
  local i = math.tointeger(number % PARTS) + 1
  if self.part_at[i] ~= number then
    self.good[i], self.bad[i], self.part_at[i] = 0, 0, number
  end
  return i, number
end

---@return integer calls, integer failures within the window
local function sums(self)
  local _, now = part_of(self)
  local good, bad = 0, 0
  for i = 1, PARTS do
    if now - self.part_at[i] < PARTS and self.part_at[i] <= now then
      good, bad = good + self.good[i], bad + self.bad[i]
    end
  end
  return good + bad, bad
end

local function text_of(err)
  return type(err) == "table" and tostring(err.message or err.code) or tostring(err)
end

local function open(self, why, ...)
  enter_state(self, "open")
  core.log(2, ("circuit breaker '%s' is open for %g s: %s"):format(self.name, self.spec.open,
    why:format(...)))
end

local function close(self)
  enter_state(self, "closed")
  core.log(1, ("circuit breaker '%s' is closed again"):format(self.name))
end

---@param failed boolean
local function count(self, failed, err)
  local i = part_of(self)
  if not failed then
    self.good[i] = self.good[i] + 1
    return
  end
  self.bad[i] = self.bad[i] + 1
  local calls, failures = sums(self)
  if calls >= self.spec.min_calls and failures >= calls * self.spec.failure_rate then
    open(self, "%d of %d calls have failed, the last one with: %s", failures, calls,
      text_of(err))
  end
end

-- ---- calls --------------------------------------------------------------------

---What a call holds. It is settled with its result; one that is closed without, because it was
---refused behind the breaker or cancelled, says nothing. What a handler raises is a result.
---@class resilience.permit
local permit = {}
permit.__index = permit

function permit:__close(err)
  local of = self.breaker
  if self.settled then return end
  if err ~= nil and of.raises and not core.cancelled() then
    return self:settle(of.spec.matches(err), err)
  end
  if self.generation == of.generation and of.state == "half_open" then
    of.trials = of.trials - 1
  end
end

---@param failed boolean
function permit:settle(failed, err)
  local of = self.breaker
  self.settled = true
  if self.generation ~= of.generation then return end -- begun in another state
  if of.state == "closed" then return count(of, failed, err) end
  of.trials = of.trials - 1
  if failed then return open(of, "a call on trial has failed: %s", text_of(err)) end
  of.passed = of.passed + 1
  if of.passed >= of.spec.trials then close(of) end
end

local function refuse(self, rest)
  return refusal.refuse("breaker", self.name, "breaker_open", 503, rest,
    "the circuit breaker '%s' is %s: too many calls have failed%s", self.name,
    self.state == "open" and "open" or "half open",
    self.state == "open" and (", the next ones are let through in %.3g s"):format(rest) or "")
end

---@return resilience.permit|nil permit to be closed
---@return table|nil err
function breaker:enter()
  if self.state ~= "closed" then
    local rest = self.since + self.spec.open - core.clock()
    -- Half open it tries anew when trials do not come to an end.
    if rest <= 0 then
      enter_state(self, "half_open")
    elseif self.state == "open" or self.trials + self.passed >= self.spec.trials then
      return refuse(self, rest)
    end
    self.trials = self.trials + 1
  end
  return setmetatable({ breaker = self, generation = self.generation }, permit)
end

-- ---- reload -------------------------------------------------------------------

function breaker:save()
  return { state = self.state, since = self.since, good = self.good, bad = self.bad,
    part_at = self.part_at, window = self.spec.window }
end

---Goes on as the version before was. Its calls have ended, or do not count.
function breaker:load(saved)
  enter_state(self, saved.state)
  self.since = saved.since
  if saved.state == "closed" and saved.window == self.spec.window then
    self.good, self.bad, self.part_at = saved.good, saved.bad, saved.part_at
  end
end

return breaker
