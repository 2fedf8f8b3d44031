---Checks of arguments. `what` names the function in errors, which blame the line of the script
---that calls it, through whatever functions of ours that goes.
local core = require "lunats.core"

local M = {}

local function blame(text, ...) core.blame(text:format(...)) end

function M.fn(what, value)
  if type(value) ~= "function" then
    blame("%s: a function expected, got %s", what, type(value))
  end
end

---What can be called like one passes, too: app.thread, for one.
function M.callable(what, value)
  local meta = type(value) == "table" and getmetatable(value)
  if not (type(meta) == "table" and rawget(meta, "__call")) then M.fn(what, value) end
end

function M.table(what, value)
  if type(value) ~= "table" then blame("%s: a table expected, got %s", what, type(value)) end
end

function M.string(what, name, value)
  if type(value) ~= "string" then
    blame("%s: %s must be a string, not a %s", what, name, type(value))
  end
end

---A value that is no name as errors show it: whatever has a __tostring does not get to run it.
function M.shown(value)
  local kind = type(value)
  local plain = kind == "string" or kind == "number" or kind == "boolean"
  return plain and tostring(value):sub(1, 100) or kind
end

---An integer from `least` on, up to `most` where that is given; nil passes.
function M.whole(what, name, value, least, most)
  if value == nil
    or math.type(value) == "integer" and value >= least and value <= (most or value) then
    return
  end
  local range = most and ("from %d to %d"):format(least, most) or ("%d or more"):format(least)
  blame("%s: %s must be a whole number%s %s", what, name, most and "" or ",", range)
end

---A time, 0 or more; nil passes.
function M.seconds(what, name, value)
  if value == nil then return end
  if type(value) == "number" and value >= 0 and value < math.huge then return end
  blame("%s: %s must be a number of seconds, 0 or more", what, name)
end

---A time to wait, 0 or more, which may be math.huge; nil passes.
function M.timeout(what, name, value)
  if value == nil or type(value) == "number" and value >= 0 then return end
  blame("%s: %s must be a number of seconds, 0 or more (math.huge: for ever)", what, name)
end

---An age that is written in whole seconds; nil passes.
---@return integer|nil
function M.age(what, name, value)
  if value == nil then return nil end
  local whole = type(value) == "number" and math.tointeger(value // 1)
  if not whole then blame("%s: %s must be a number of seconds", what, name) end
  return whole
end

---For functions without options: what they would ignore is a mistake.
---@param hint string|nil what the caller may have meant
function M.no_options(what, opts, hint)
  if opts ~= nil then blame("%s takes no options%s", what, hint and ": " .. hint or "") end
end

local classes = setmetatable({}, { __mode = "k" })

---Whether a metatable is that of a class, or of some of its objects.
function M.is_class(meta)
  return classes[meta] or classes[rawget(meta, "__index")] or false
end

local function is_a(value, class)
  local meta = debug.getmetatable(value)
  return meta == class or type(meta) == "table" and rawget(meta, "__index") == class
end

---Makes a table of methods a class whose methods refuse what is none of its objects: a dot in
---the place of the colon is a mistake that happens. By tail calls, so that errors blame the
---caller.
---@param what string  names an object in errors: "kv"
function M.class(what, class)
  for name, method in pairs(class) do
    if type(method) == "function" and name:sub(1, 2) ~= "__" then
      class[name] = function(self, ...)
        if is_a(self, class) then return method(self, ...) end
        blame("%s:%s: called without its object; write %s:%s(...), with a colon", what, name,
          what, name)
      end
    end
  end
  class.__index, classes[class] = class, true
end

return M
