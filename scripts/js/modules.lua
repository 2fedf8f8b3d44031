---The modules of app.js once more. What they know of streams and servers, and what they have
---under way, is that of one API over one connection, so each of those has modules of its own.
local core = require "lunats.core"

local M = {}

---@param given table<string, any> what require returns in them for these names
---@param outside fun(name: string): any where all but the modules of app.js come from
---@return fun(name: string): any require
function M.loader(given, outside)
  local globals
  local function load(name)
    if given[name] ~= nil then return given[name] end
    if name ~= "lunats.js" and name:sub(1, 10) ~= "lunats.js." then return outside(name) end
    given[name] = core.module(name, globals)(name)
    return given[name]
  end
  globals = setmetatable({ require = load }, { __index = _G })
  return load
end

return M
