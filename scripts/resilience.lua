---The options retry, breaker, rate and bulkhead of app.request, app.request_many, app.listen
---and the routes of app.http. This is loaded by the first call that has one of them.
---
---A request passes retry, breaker, rate and bulkhead, then what app.use() has put around it:
---each attempt passes all behind the retry. A message, or a request by HTTP, passes rate,
---bulkhead, breaker and retry on its way to the schema, the middleware and the handler.
local core = require "lunats.core"
local options = require "lunats.resilience.options"
local recent = require "lunats.resilience.recent"
local refusal = require "lunats.resilience.refusal"

local M = {}

local CLASSES = {
  retry = require "lunats.resilience.retry", breaker = require "lunats.resilience.breaker",
  rate = require "lunats.resilience.rate", bulkhead = require "lunats.resilience.bulkhead",
}

---Names of requests without a `name` are their subjects, of which there may be any number.
local MOST_NAMES, MOST_KEYS = 1000, 10000

-- ---- what calls share -------------------------------------------------------------

---Of each function that sends, and of listeners ("listen"): what belongs to a name, by kind.
---@type table<any, resilience.recent>
local owners = setmetatable({}, { __mode = "k" })

---What the version before has left, by key.
local inherited = {}

local function key_of(kind, name) return kind .. " " .. name end

---What stays over a reload belongs to the service: not to further connections.
local function space_of(owner)
  return owner == "listen" and "listen " or owner == core.request and "request " or nil
end

---The retry, breaker, rate or bulkhead of a name; settings are those of the latest call.
local function shared(owner, kind, name, spec)
  local all = owners[owner]
  if not all then
    all = recent.new(MOST_NAMES)
    owners[owner] = all
  end
  local key = key_of(kind, name)
  local one = all:get(key)
  if one then
    one.spec = spec
    return one
  end
  one = all:set(key, CLASSES[kind].new(name, spec))
  local space = space_of(owner)
  local saved = space and inherited[space .. key]
  if saved and one.load then one:load(saved) end
  return one
end

-- ---- reload -----------------------------------------------------------------------

---What the next version goes on with, as plain data.
---@return table<string, table>
function M.save()
  local saved = {}
  for owner, all in pairs(owners) do
    local space = space_of(owner)
    if space then
      all:each(function(key, one)
        if one.save then saved[space .. key] = one:save() end
      end)
    end
  end
  return saved
end

---Called before the script is loaded, and at the switch.
---@param saved table<string, table>
function M.inherit(saved)
  inherited = saved
  for owner, all in pairs(owners) do
    local space = space_of(owner)
    if space then
      all:each(function(key, one)
        if one.load and saved[space .. key] then one:load(saved[space .. key]) end
      end)
    end
  end
end

-- ---- requests ---------------------------------------------------------------------

local GUARDS = { retry = true, breaker = true, rate = true, bulkhead = true }

---@param settle fun(permit: table, value: any, err: any, guards: table)
local function behind_breaker(guards, settle, fn, ...)
  local breaker = guards.breaker
  if not breaker then return fn(guards, ...) end
  local permit <close>, err = breaker:enter()
  if not permit then return nil, err end
  local value
  value, err = fn(guards, ...)
  settle(permit, value, err, guards)
  return value, err
end

---Of a list without replies.
local NOBODY = { code = "timeout", message = "nobody has answered" }

---What has been refused here says nothing of the other side.
local function settle_request(permit, value, err, guards)
  if guards.many and type(value) == "table" and #value == 0 then value, err = nil, NOBODY end
  if value ~= nil then
    permit:settle(false)
  elseif type(err) == "table" and not refusal.is_own(err) then
    local failed = permit.breaker.spec.matches(err)
    -- What was not sent at all is no success of the other side.
    if failed or err.code == "service_error" then permit:settle(failed, err) end
  end
end

local function send_one(guards, subject, data, opts)
  if guards.rate then
    local ok, err = guards.rate:take()
    if not ok then return nil, err end
  end
  if not guards.bulkhead then return guards.send(subject, data, opts) end
  local slot <close>, err = guards.bulkhead:enter()
  if not slot then return nil, err end
  local value
  value, err = guards.send(subject, data, opts)
  return value, err
end

local function attempt(guards, subject, data, opts)
  return behind_breaker(guards, settle_request, send_one, subject, data, opts)
end

---A request with some of the options.
---@param send function with the others only
---@param owner any whose requests share what belongs to a name
---@param many boolean|nil it is app.request_many
---@return msg|msg[]|nil reply, table|nil err
function M.request(send, owner, subject, data, opts, many)
  core.check_subject(subject)
  local what = many and "app.request_many" or "app.request"
  if many and opts.retry ~= nil then -- as bindings/guard.c, which middleware goes around
    core.blame(what .. ": no 'retry': those who have answered would be asked again")
  end
  local plain, guards = {}, { send = send, many = many }
  for name, value in next, opts do
    if not GUARDS[name] then
      plain[name] = value
    else
      local spec = options.read(what, name, value)
      if spec and spec.key then core.blame(what .. ": rate: key is for app.listen") end
      guards[name] = spec and shared(owner, name, spec.name or subject, spec)
    end
  end
  if not guards.retry then return attempt(guards, subject, data, plain) end
  return guards.retry:call(attempt, guards, subject, data, plain)
end

-- ---- handlers ---------------------------------------------------------------------

---Listeners of this version without a name, by their label.
local labels = {}

local function label_of(label)
  labels[label] = (labels[label] or 0) + 1
  return labels[label] > 1 and ("%s#%d"):format(label, labels[label]) or label
end

---Each value of a key has a bucket of its own.
local function keyed_rate(spec, name)
  local buckets = recent.new(MOST_KEYS)
  return function(msg)
    local key = spec.key(msg)
    if key == nil then return true end
    local bucket = buckets:get(key) or buckets:set(key, CLASSES.rate.new(name, spec))
    return bucket:take()
  end
end

local function settle_handler(permit, value, err)
  local failed = value == nil and err ~= nil and permit.breaker.spec.matches(err)
  permit:settle(failed or false, err)
end

---Whether the option names what a handler raises, which is caught then.
local function catches(spec)
  return type(spec.on) == "function" or spec.on and spec.matches("") or false
end

---What a handler has raised, among what it returns.
local raised = {}

local function is_raised(err) return getmetatable(err) == raised end

---A handler whose raised errors are errors for the retry, too.
local function caught(handler, spec)
  if not catches(spec) then return handler end
  return function(msg)
    local ok, value, err = core.protect(handler, msg)
    if ok then return value, err end
    if core.cancelled() then error(value, 0) end
    local _, err_raised = core.caught(value)
    return nil, setmetatable({ caught = value, err = err_raised }, raised)
  end
end

local function with_retry(handler, retry)
  local spec, call = retry.spec, caught(handler, retry.spec)
  local matches = spec.matches
  spec = setmetatable({ matches = function(err)
    if is_raised(err) then err = err.err end
    return matches(err)
  end }, { __index = spec })
  retry.spec = spec
  return function(msg)
    local value, err = retry:call(call, msg)
    if value == nil and is_raised(err) then error(err.caught, 0) end
    return value, err
  end
end

local function with_breaker(handler, breaker)
  local guards = { breaker = breaker }
  local function call(_, msg) return handler(msg) end
  return function(msg) return behind_breaker(guards, settle_handler, call, msg) end
end

local function with_bulkhead(handler, bulkhead)
  return function(msg)
    local slot <close>, err = bulkhead:enter()
    if not slot then return nil, err end
    local value
    value, err = handler(msg)
    return value, err
  end
end

local function with_rate(handler, take)
  return function(msg)
    local ok, err = take(msg)
    if not ok then return nil, err end
    return handler(msg)
  end
end

---@param what string names the function in errors: "app.listen"
---@param opts table of the listener, or route
---@param label string what its guards are called that have no name
---@param most integer handlers that may run at once
---@return function
function M.handler(what, opts, handler, label, most)
  label = label_of(label)
  local function guard(kind)
    local spec = opts[kind] ~= nil and options.read(what, kind, opts[kind])
    return spec and shared("listen", kind, spec.name or label, spec), spec
  end
  local retry, breaker = guard "retry", guard "breaker"
  local bulkhead, room = guard "bulkhead"
  local rate, limit = guard "rate"
  if room and room.limit + room.queue >= most then
    core.blame(("%s: bulkhead: %d calls and %d that wait are refused nothing with "
      .. "concurrency = %d: give it more"):format(what, room.limit, room.queue, most))
  end
  if retry then handler = with_retry(handler, retry) end
  if breaker then
    breaker.raises = true
    handler = with_breaker(handler, breaker)
  end
  if bulkhead then handler = with_bulkhead(handler, bulkhead) end
  if rate then
    handler = with_rate(handler, limit.key and keyed_rate(limit, rate.name)
      or function() return rate:take() end)
  end
  return handler
end

return M
