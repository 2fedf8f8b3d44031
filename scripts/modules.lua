---Why a module was not found: it has another spelling, or lies where `require` does not look.
---Loaded when that happens only.
local core = require "lunats.core"

local M = {}

---Folders below one in which `require` looks that are searched, too.
local DEPTH = 3
---Folders above the script, in which a project could begin.
local ABOVE = 4
---Folders that are read: the working directory may be the root of everything.
local FOLDERS = 200
---Letters of a name for which one that is only similar is guessed.
local SIMILAR = 3

local left

local function exists(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

---@return string[]  the folders of the project, that of the script first
local function folders()
  local list = {}
  for template in package.path:gmatch "[^;]+" do
    local folder = template:match "^(.*)/%?%.lua$"
    if folder and folder:sub(1, 5) ~= "/usr/" then list[#list + 1] = folder end
  end
  return list
end

---@return string|nil path  of a module in a folder
local function find(folder, name)
  local base = folder .. "/" .. name:gsub("%.", "/")
  return exists(base .. ".lua") and base .. ".lua"
    or exists(base .. "/init.lua") and base .. "/init.lua" or nil
end

---What a module in a folder is called: of "strings.lua" and of the folder "strings" it is
---"strings".
local function names(folder, is_last)
  local list = {}
  left = left - 1
  if left < 0 then return list end
  for entry, may_be_folder in pairs(core.folder(folder) or {}) do
    local module = is_last and entry:match "^(.+)%.lua$"
    list[#list + 1] = module or (may_be_folder and entry) or nil
  end
  table.sort(list)
  return list
end

---@return string|nil name  of a module there that differs in capital letters, or is similar
local function respelled(folder, parts, similar)
  local path, name = folder, {}
  for i, part in ipairs(parts) do
    local known = names(path, i == #parts)
    local best
    for _, one in ipairs(known) do
      if one == part or (not best and one:lower() == part:lower()) then best = one end
    end
    if not best and similar and #part >= SIMILAR then best = core.nearest(part, known) end
    if not best then return nil end
    name[i] = best
    path = path .. "/" .. best
  end
  local found = table.concat(name, ".")
  return find(folder, found) and found
end

---@return string|nil name, string|nil path  of a module with that last name in a folder further
---down
local function further_down(folder, last, prefix, depth)
  for _, name in ipairs(names(folder, false)) do
    if name ~= "lua_modules" and name ~= "node_modules" then
      local below, module = folder .. "/" .. name, prefix .. name .. "."
      local path = find(below, last)
      if path then return module .. last, path end
      if depth > 1 then
        local found, where = further_down(below, last, module, depth - 1)
        if found then return found, where end
      end
    end
  end
end

---@return string|nil path  in a folder above
local function above(folder, name)
  for _ = 1, ABOVE do
    folder = folder .. "/.."
    local path = find(folder, name)
    if path then return path, folder end
  end
end

---@return string|nil  the version of Lua for which it is installed
local function other_version(list, name)
  local trees = { "/usr/share/lua/", "/usr/local/share/lua/" }
  for _, folder in ipairs(list) do trees[#trees + 1] = folder .. "/lua_modules/share/lua/" end
  for _, tree in ipairs(trees) do
    for _, version in ipairs { "5.1", "5.2", "5.3" } do
      local path = find(tree .. version, name)
      if path then return version, path end
    end
  end
end

local function other_spelling(list, parts, similar)
  for _, folder in ipairs(list) do
    local found = respelled(folder, parts, similar)
    if found and found ~= table.concat(parts, ".") then
      return ("did you mean '%s' (%s)?"):format(found, find(folder, found))
    end
  end
end

local function other_place(list, plain, last)
  for _, folder in ipairs(list) do
    local found, path = further_down(folder, last, "", DEPTH)
    if found then return ("there is %s: require '%s'"):format(path, found) end
  end
  local path, folder = above(list[1] or ".", plain)
  if path then
    return ("there is %s, above the script: with a file %s/.luarc.json (its content may be {}) "
      .. "require looks there"):format(path, folder)
  end
  local version, where = other_version(list, plain)
  if version then
    return ("there is %s, for Lua %s: install it for Lua 5.4 (luarocks --lua-version 5.4)")
      :format(where, version)
  end
end

---@param name string  of a module that was not found
---@return string|nil  a line for the message
function M.hint(name)
  local list, parts = folders(), {}
  left = FOLDERS
  local plain = name:gsub("^%./", ""):gsub("%.lua$", ""):gsub("/", ".")
  if plain ~= name and package.searchpath(plain, package.path) then
    return ("the name of that module is '%s': require '%s'"):format(plain, plain)
  end
  for part in plain:gmatch "[^.]+" do parts[#parts + 1] = part end
  if #parts == 0 then return nil end
  return other_spelling(list, parts, false) or other_place(list, plain, parts[#parts])
    or other_spelling(list, parts, true)
end

return M
