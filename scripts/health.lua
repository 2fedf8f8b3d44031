---app.health: checks of a script, whose results /readyz and /healthz of the admin port show.
local core = require "lunats.core"
local check = require "lunats.check"
local fiber = require "lunats.fiber"
local periodic = require "lunats.periodic"

local declared = {}

---Bytes of a reason that are shown.
local MOST = 1000

---Also of what cannot be made a text: a check must not stay as it was because of its reason.
local function text_of(value)
  local ok, text = pcall(tostring, value)
  return ok and text:sub(1, MOST) or ("a %s without text"):format(type(value))
end

---What speaks against it, or nil.
local function look(timeout, fn)
  local ok, result, why = core.protect(fiber.bounded, timeout, fn)
  if core.cancelled() then error(result, 0) end
  if not ok then return text_of(select(2, core.caught(result))) end
  if result then return nil end
  if type(why) == "table" and why.code == "timeout" and result == nil then
    return text_of(why)
  end
  return why ~= nil and text_of(why) or "it returned " .. tostring(result)
end

---@param name string
---@param opts table|nil
---@param fn fun(): boolean|nil, any
return function(name, opts, fn)
  if fn == nil then opts, fn = nil, opts end
  if type(name) ~= "string" or name == "" then
    core.blame("app.health: the name must be a string")
  end
  if not utf8.len(name) or name:find "%c" then
    core.blame("app.health: the name must be UTF-8 without control characters")
  end
  check.fn("app.health", fn)
  opts = core.check("app.health", opts, { interval = "number", timeout = "number",
    critical = "boolean" })
  for _, key in ipairs { "interval", "timeout" } do
    local value = opts[key]
    if value and not (value > 0 and value < math.huge) then
      core.blame(("app.health: %s must be a number of seconds greater than 0"):format(key))
    end
  end
  if declared[name] then
    core.blame(("app.health: there is a check '%s' already"):format(name))
  end
  local record = core.health_check(name, opts.critical ~= false)
  local timeout, failing = opts.timeout or 2, false
  local handle = periodic.timer(opts.interval or 10, { name = "health " .. name }, function()
    local why = look(timeout, fn)
    record:set(why)
    if why and not failing then core.log(2, ("health check %s fails: %s"):format(name, why)) end
    if failing and not why then core.log(1, ("health check %s is well again"):format(name)) end
    failing = why ~= nil
  end)
  declared[name] = true
  return handle
end
