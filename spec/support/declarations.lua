---What the declarations for editors (scripts/ and bindings/, *.d.lua) say.
local lfs = require "lfs"
local read = require "spec.support.read"

local M = {}

local paths = {}
local function collect(folder)
  for name in lfs.dir(folder) do
    local path = folder .. "/" .. name
    if name:find "%.d%.lua$" then
      paths[#paths + 1] = path
    elseif name:sub(1, 1) ~= "." and lfs.attributes(path, "mode") == "directory" then
      collect(path)
    end
  end
end
collect "scripts"
collect "bindings"
table.sort(paths)

---@class declared_function
---@field owner string
---@field name string
---@field method boolean declared with a colon
---@field params { name: string, type: string }[]
---@field described boolean in words, or by the name of what it returns

---All functions declared as `function <owner>.<name>` or `function <owner>:<name>`.
---@return declared_function[]
function M.functions()
  local found, seen, params, described = {}, {}, {}, false
  for _, path in ipairs(paths) do
    for line in read(path):gmatch "[^\n]*" do
      local param, kind = line:match "^%-%-%-@param ([%w_.]+)%??%s+(.*)"
      local owner, sign, name = line:match "^function ([%w_.]+)([.:])([%w_]+)%("
      described = described or line:find "^%-%-%-[^@|]" ~= nil
        or line:find "^%-%-%-@return" ~= nil
      if param then
        params[#params + 1] = { name = param, type = kind }
      elseif owner then
        local full = owner .. "." .. name
        assert(not seen[full], full .. " is declared twice")
        seen[full] = true
        found[#found + 1] = { owner = owner, name = name, method = sign == ":",
          params = params, described = described }
      end
      if not line:find "^%-%-%-" then params, described = {}, false end
    end
  end
  return found
end

---The names of the fields of a class, whatever files they are in, and of the class that it
---extends. The field `[string]` stands for any other.
---@param class string
---@return table<string, true> fields
function M.fields(class)
  local found = {}
  for _, path in ipairs(paths) do
    local inside = false
    for line in read(path):gmatch "[^\n]+" do
      local name, rest = line:match "^%-%-%-@class ([%w_.]+)(.*)"
      if name then inside = name == class end
      if not line:find "^%-%-%-" then inside = false end
      if inside then
        local parent = name and rest:match "^:%s*([%w_.]+)"
        for field in pairs(parent and M.fields(parent) or {}) do found[field] = true end
        local field = line:match "^%-%-%-@field ([%w_%[%]]+)"
        if field then found[field] = true end
      end
    end
  end
  return found
end

---The values of an alias that has one on each line, and whether something is said about it.
---@param alias string
---@return table<string, boolean> values
function M.values(alias)
  local found = {}
  for _, path in ipairs(paths) do
    local inside = false
    for line in read(path):gmatch "[^\n]+" do
      local value, text = line:match '^%-%-%-| "([^"]+)"(.*)$'
      if not value then inside = line == "---@alias " .. alias end
      if inside and value then found[value] = text:find "^ # %S" ~= nil end
    end
  end
  return found
end

---The options that a parameter takes: those in braces, or the fields of its class.
---@param kind string
---@return table<string, true> options `[string]`: any other as well
function M.options(kind)
  local found = {}
  local braces = kind:gsub("%b()", ""):match "%b{}"
  if braces then
    for name in braces:gmatch "([%w_]+):" do found[name] = true end
    return found
  end
  for class in kind:match("^%S+"):gmatch "[%w_.]+" do
    for name in pairs(M.fields(class)) do found[name] = true end
  end
  return found
end

local OPTIONS = { opts = true, options = true, query = true, config = true, fields = true }

---Whether a parameter is a table of options.
function M.is_options(param) return OPTIONS[param.name] ~= nil end

---All options of a function; `[string]`: one of its tables takes any.
---@param fn declared_function
---@return table<string, true>
function M.options_of(fn)
  local found = {}
  for _, param in ipairs(fn.params) do
    if M.is_options(param) then
      for name in pairs(M.options(param.type)) do found[name] = true end
    end
  end
  return found
end

return M
