---app.cache: values outside of Lua's memory, shared by the services of the process.
local core = require "lunats.core"

---Those that this script has opened, by their names.
local opened = {}
local NAME_MAX = 255

---@param name string
---@param opts table|nil
---@return cache
return function(name, opts)
  if type(name) ~= "string" or name == "" or #name > NAME_MAX or name:find "%z" then
    error(("app.cache: the name must be a string of 1 to %d bytes"):format(NAME_MAX), 2)
  end
  local cache = core.cache(name, opts, opened[name])
  opened[name] = cache
  return cache
end
