---Retries: another attempt after an error that allows it, later and later, as long as there
---is a budget. The budget is what keeps retries from doing harm: where most requests fail, most
---retries would only add to what is too much already.
local core = require "lunats.core"

---@class resilience.retry
---@field name string
---@field spec table
---@field tokens number retries that may be made
---@field at number when there were so many
local retry = {}
retry.__index = retry

---So many retries are always possible, and one more each second: what is rarely called has a
---budget, too.
local RESERVE = 10

local counted

---@param name string
---@param spec table
function retry.new(name, spec)
  counted = counted or core.meter("counter", "lunats_retries_total",
    "Further attempts of requests, by how they ended; budget: those that were not made because "
    .. "too many requests fail.", { "name", "result" }, {})
  return setmetatable({ name = name, spec = spec, tokens = RESERVE, at = core.clock() }, retry)
end

local function count(self, result) counted:inc(1, { name = self.name, result = result }) end

---A request adds a part of a token, as time does.
local function deposit(self)
  local now = core.clock()
  local added = (self.spec.budget or 0) + math.max(0, now - self.at)
  self.tokens, self.at = math.min(RESERVE, self.tokens + added), now
end

local function withdraw(self)
  if not self.spec.budget then return true end
  if self.tokens < 1 then
    count(self, "budget")
    return false
  end
  self.tokens = self.tokens - 1
  return true
end

---Seconds until attempt `n`, the second one being the first of these; nil: there is none.
local function delay_of(self, n, err)
  local spec = self.spec
  local delay = math.min(spec.max_delay, spec.delay * 2 ^ (n - 2))
  delay = delay * (1 - spec.jitter * math.random())
  local asked = type(err) == "table" and err.retry_after
  if type(asked) == "number" then
    if asked > spec.max_delay then return nil end
    delay = math.max(delay, asked)
  end
  local rest = core.expires()
  return (not rest or delay < rest) and delay or nil
end

---Calls fn until it succeeds, or nothing more can be done.
---@param fn fun(...): any, any
---@return any value, any err
function retry:call(fn, ...)
  local spec = self.spec
  deposit(self)
  local value, err = fn(...)
  for n = 2, spec.attempts do
    if value ~= nil or err == nil or not spec.matches(err) then break end
    local delay = delay_of(self, n, err)
    if not delay or not withdraw(self) then break end
    if delay > 0 then core.sleep(delay) end
    value, err = fn(...)
    count(self, (value ~= nil or err == nil) and "ok" or "error")
    if type(err) == "table" and value == nil then err.attempts = n end
  end
  return value, err
end

return retry
