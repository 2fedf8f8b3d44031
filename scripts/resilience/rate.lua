---A limit of the rate: a bucket that fills with tokens up to `burst`, `limit` of them within
---`per` seconds. A call takes one.
local core = require "lunats.core"
local refusal = require "lunats.resilience.refusal"

---@class resilience.rate
---@field name string
---@field spec table
---@field tokens number negative: calls that wait have taken them already
---@field at number when there were so many
local rate = {}
rate.__index = rate

---@param name string
---@param spec table
function rate.new(name, spec)
  return setmetatable({ name = name, spec = spec, tokens = spec.burst, at = core.clock() },
    rate)
end

local function fill(self)
  local spec, now = self.spec, core.clock()
  local grown = math.max(0, now - self.at) * spec.limit / spec.per
  self.tokens, self.at = math.min(spec.burst, self.tokens + grown), now
end

---What computing with seconds leaves missing of a token.
local ROUNDING = 1e-6

---Takes a token, and waits for it as long as `wait` allows, in the order of arrival.
---@return boolean|nil ok, table|nil err
function rate:take()
  fill(self)
  local spec = self.spec
  local missing = 1 - self.tokens
  if missing <= ROUNDING then
    self.tokens = self.tokens - 1
    return true
  end
  local delay = missing * spec.per / spec.limit
  if delay > spec.wait then
    return refusal.refuse("rate", self.name, "rate_limited", 429, delay,
      "'%s' is limited to %g calls within %g s: the next one is free in %.3g s", self.name,
      spec.limit, spec.per, delay)
  end
  self.tokens = self.tokens - 1
  core.sleep(delay)
  return true
end

function rate:save() return { tokens = self.tokens, at = self.at } end

---Goes on where the version before has stopped, whatever the limits are now.
function rate:load(saved) self.tokens, self.at = saved.tokens, saved.at end

return rate
