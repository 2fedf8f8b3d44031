---What luacheck says about a script, where it is installed: for `lunats check`.
local core = require "lunats.core"
local names = require "lunats.commands.names"

local M = {
  MISSING = "luacheck is not installed",
}

---Runs it with `config` as its standard input; the words of `args` are options.
---@return { code: string, message: string, line: integer }[]|nil  nil: it could not look
---@return string|nil why  M.MISSING, or what it says
local function run(path, config, args)
  local words = { "/bin/sh", "-c", [[
    command -v luacheck >/dev/null || exit 127
    config=$1
    shift
    printf %s "$config" | luacheck --formatter plain --codes --no-color "$@" 2>&1
  ]], "sh", config }
  table.move(args, 1, #args, #words + 1, words)
  words[#words + 1] = "--"
  words[#words + 1] = path
  local status, output = assert(core.process(words, true)):wait()
  if status == 127 then return nil, M.MISSING end
  if status > 2 then return nil, output:match "[^\n]+" or "status " .. status end
  local list = {}
  for line in output:gmatch "[^\n]+" do
    local number, code, message = line:match ":(%d+):%d+: %(([WE]%d+)%) (.*)"
    if code then
      list[#list + 1] = { code = code, message = message, line = tonumber(number) }
    end
  end
  return list
end

-- ---- names --------------------------------------------------------------------

---What exists, as the configuration of luacheck wants it.
local function standard(app)
  local tables = names.tables(app)
  local function fields(path)
    local list = {}
    for name in pairs(tables[path]) do
      local inner = path .. "." .. name
      list[#list + 1] = ("[%q]={%s}"):format(name,
        tables[inner] and fields(inner) or "other_fields=true")
    end
    return ("fields={%s}"):format(table.concat(list, ","))
  end
  local others = {}
  for name in pairs(_G) do
    if name ~= "app" then others[#others + 1] = ("[%q]={other_fields=true}"):format(name) end
  end
  return ("std='lunats'\nallow_defined=true\nstds.lunats={globals={app={%s},%s}}\n"):format(
    fields "app", table.concat(others, ","))
end

---Names that exist nowhere. Fields that the script sets itself exist.
---@param path string
---@param app table
---@return { name: string, line: integer }[]|nil globals  nil: luacheck cannot tell
---@return { path: string, name: string, line: integer }[]|nil fields
function M.unknown_names(path, app)
  local found = run(path, standard(app),
    { "--no-cache", "--config", "/dev/stdin", "--only", "0..", "113", "142", "143" })
  if not found then return nil end
  local globals, fields, own = {}, {}, {}
  for _, one in ipairs(found) do
    if one.code:sub(1, 1) == "E" then return nil end -- a luacheck that is older than the syntax
    if one.code == "W142" then own[one.message:match "'(.-)'"] = true end
  end
  for _, one in ipairs(found) do
    local name = one.message:match "'(.-)'"
    if one.code == "W113" then
      globals[#globals + 1] = { name = name, line = one.line }
    elseif one.code == "W143" and not own[name] then
      local outer, last = ("app." .. name):match "^(.*)%.(.-)$"
      fields[#fields + 1] = { path = outer, name = last, line = one.line }
    end
  end
  return globals, fields
end

-- ---- everything else ----------------------------------------------------------

---Undeclared globals and syntax errors are errors, and found otherwise.
local OURS = { W113 = true, E011 = true }

---@param path string
---@return { level: string, where: string, message: string }[]|nil  nil: it could not look
---@return string|nil why
function M.warnings(path)
  local list = {}
  local found, why = run(path, "", { "--globals", "app" })
  if not found then return nil, why end
  for _, one in ipairs(found) do
    if not OURS[one.code] then
      list[#list + 1] = { level = "warning", where = path .. ":" .. one.line,
        message = ("%s (luacheck %s)"):format(one.message, one.code) }
    end
  end
  return list
end

return M
