---The options retry, breaker, rate and bulkhead: what they may hold, and what they stand for.
local core = require "lunats.core"
local refusal = require "lunats.resilience.refusal"

local M = {}

---The errors that mean that nobody has handled a request; numbers are codes of answers.
local UNHANDLED = { "no_responders" }
---The errors that say something of the other side.
local FAILURES = { "timeout", "no_responders" }

---@type table<string, table<string, any>> what is left out; a function is told what is given
local DEFAULTS = {
  retry = { attempts = 3, delay = 0.1, max_delay = 2, jitter = 0.5, budget = 0.2 },
  breaker = { failure_rate = 0.5, min_calls = 20, window = 30, open = 5, trials = 3 },
  rate = { per = 1, wait = 0, burst = function(given) return math.max(1, given.limit) end },
  bulkhead = { queue = 0, wait = 10 },
}

local FIELDS = {
  retry = { name = "string", attempts = "number", delay = "number", max_delay = "number",
    jitter = "number", budget = "number|boolean", on = "table|function" },
  breaker = { name = "string", failure_rate = "number", min_calls = "number",
    window = "number", open = "number", trials = "number", on = "table|function" },
  rate = { name = "string", limit = "number", per = "number", burst = "number",
    wait = "number", key = "function" },
  bulkhead = { name = "string", limit = "number", queue = "number", wait = "number" },
}

local INTEGERS = { attempts = 1, min_calls = 1, trials = 1, queue = 0 }
---Numbers of seconds, parts of 1 and others, as ranges in words and as tests.
local RANGES = {
  any = { "0 or more", function(x) return x >= 0 and x < math.huge end },
  some = { "greater than 0", function(x) return x > 0 and x < math.huge end },
  part = { "from 0 to 1", function(x) return x >= 0 and x <= 1 end },
  rate = { "greater than 0, up to 1", function(x) return x > 0 and x <= 1 end },
  one = { "1 or more", function(x) return x >= 1 and x < math.huge end },
}
local BOUNDS = { delay = RANGES.any, max_delay = RANGES.any, wait = RANGES.any,
  jitter = RANGES.part, failure_rate = RANGES.rate, window = RANGES.some, per = RANGES.some,
  open = RANGES.some, burst = RANGES.one }

local function blame(text, ...) core.blame(text:format(...)) end

local function check_numbers(what, spec)
  for name, least in pairs(INTEGERS) do
    local value = spec[name]
    if value ~= nil and not (math.tointeger(value) and value >= least) then
      blame("%s: %s must be a whole number, %d or more", what, name, least)
    end
  end
  for name, range in pairs(BOUNDS) do
    if spec[name] ~= nil and not range[2](spec[name]) then
      blame("%s: %s must be a number %s", what, name, range[1])
    end
  end
end

---A list of codes, or a function, as a function of an err.
---@param on table|function|nil
---@param default string[]
---@param extra (fun(err: any, code: any): boolean)|nil what counts as well if nothing is said
local function predicate(what, on, default, extra)
  if type(on) == "function" then return on end
  local codes = {}
  for _, code in ipairs(on or default) do
    codes[code] = type(code) == "string" or math.type(code) == "integer"
  end
  for _, good in pairs(next(codes) and codes or { false }) do
    if not good then blame("%s: on is a list of codes: \"timeout\", 503, ...", what) end
  end
  return function(err)
    local word, number = M.codes(err)
    if word and codes[word] or number and codes[number] then return true end
    return not on and extra ~= nil and extra(err, number)
  end
end

---The word and the number of an error: of an answer, of a handler, or of one of our own calls.
---@return string|nil word, integer|nil number
function M.codes(err)
  if type(err) ~= "table" then return "error", 500 end
  local code = err.code
  if type(code) == "number" then return nil, math.tointeger(code) end
  return code, math.tointeger(err.status)
end

local MAKE = {}

---Answers that say when to come again come from what has refused the request: it was not
---handled.
function MAKE.retry(what, spec)
  spec.matches = predicate(what, spec.on, UNHANDLED, function(err)
    return type(err) == "table" and type(err.retry_after) == "number"
      and not refusal.is_own(err)
  end)
  local budget = spec.budget
  if budget == true or budget and not RANGES.part[2](budget) then
    blame("%s: budget must be a number from 0 to 1, or false", what)
  end
end

function MAKE.breaker(what, spec)
  spec.matches = predicate(what, spec.on, FAILURES, function(_, number)
    return number ~= nil and number >= 500
  end)
end

function MAKE.rate(what, spec)
  if not (spec.limit and spec.limit > 0 and spec.limit < math.huge) then
    blame("%s: limit is missing: how many within `per` seconds (1)", what)
  end
end

function MAKE.bulkhead(what, spec)
  if not (math.tointeger(spec.limit) and spec.limit >= 1) then
    blame("%s: limit is missing: a whole number, 1 or more", what)
  end
end

---The settings of the tables that have been seen; those of a call site that writes its table
---once are read once.
local known = setmetatable({}, { __mode = "k" })

---@param what string names the function in errors: "app.request"
---@param kind "retry"|"breaker"|"rate"|"bulkhead"
---@param given any
---@return table|nil spec nil: it is switched off
function M.read(what, kind, given)
  if given == false then return nil end
  if type(given) == "table" and known[given] and known[given].kind == kind then
    return known[given]
  end
  local fields = given
  what = ("%s: %s"):format(what, kind)
  if type(given) == "number" and (kind == "rate" or kind == "bulkhead") then
    fields = { limit = given }
  elseif given == true and (kind == "retry" or kind == "breaker") then
    fields = {}
  elseif type(given) ~= "table" then
    blame("%s must be a table%s, not a %s", what, (kind == "retry" or kind == "breaker")
      and " or true" or " or a number", type(given))
  end
  fields = core.check(what, fields, FIELDS[kind])
  local spec = { kind = kind }
  for name, value in next, fields do spec[name] = value end
  check_numbers(what, spec)
  MAKE[kind](what, spec)
  for name, value in pairs(DEFAULTS[kind]) do
    if spec[name] == nil then
      spec[name] = type(value) == "function" and value(spec) or value
    end
  end
  if type(given) == "table" then known[given] = spec end
  return spec
end

return M
