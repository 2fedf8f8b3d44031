---The modules of app.js once more. What they know of streams and servers, and what they have
---under way, is that of one API over one connection, so each of those has modules of its own.
local core = require "lunats.core"

local M = {}

---What there is one of, whatever it is used for.
local SHARED = { ["lunats.js.active"] = true }

---@param name string
local function is_own(name)
  return (name == "lunats.js" or name:sub(1, 10) == "lunats.js.") and not SHARED[name]
end

---@param given table<string, any> what require returns in them for these names
---@param outside fun(name: string): any where all but the modules of app.js come from
---@return fun(name: string): any require
function M.loader(given, outside)
  local globals
  local function load(name)
    if given[name] ~= nil then return given[name] end
    if not is_own(name) then return outside(name) end
    given[name] = core.module(name, globals)(name)
    return given[name]
  end
  globals = setmetatable({ require = load }, { __index = _G })
  return load
end

return M
