---Finds names that `app` and the tables in it do not have, from byte code: for `lunats check`.
---
---`app.lisen`, `local js = app.js` and `js.add_steam` in a function are found; what passes
---through tables and arguments is not.
local names = require "lunats.commands.names"
local uses = require "lunats.commands.uses"

local M = {}

---@param func bytecode.func
---@param app table
---@return { path: string, name: string, line: integer }[]
function M.unknown(func, app)
  local known, own, missing = names.tables(app), {}, {}
  uses.fields(func, function(path, name, line, is_set)
    if not known[path] or type(name) ~= "string" then return end
    if is_set then
      own[path .. "." .. name] = true
    else
      missing[#missing + 1] = { path = path, name = name, line = line }
    end
  end)
  local list = {}
  for _, one in ipairs(missing) do
    if not own[one.path .. "." .. one.name] and not known[one.path][one.name] then
      list[#list + 1] = one
    end
  end
  return list
end

return M
