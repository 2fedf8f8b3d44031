---`lunats new NAME`: a folder with a service, its spec, and settings for editors and tools.
local core = require "lunats.core"

local function fail(...)
  io.stderr:write("lunats new: ", ...)
  io.stderr:write "\n"
  os.exit(1)
end

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

---@return boolean made  false: it was there, or its parent was not
---@return string output
local function make_folder(path, parents)
  local words = { "/bin/sh", "-c", 'mkdir $2 -- "$1" 2>&1', "sh", path, parents and "-p" or "" }
  local child = assert(core.process(words, true))
  local status, output = child:wait()
  return status == 0, output
end

local function write(path, text)
  local file, err = io.open(path, "w")
  if not file then fail("cannot write ", err) end
  file:write(text)
  if not file:close() then fail("cannot write ", path) end
end

---Where the declarations for editors are: beside this program, or where the user says.
local function types_folder()
  local installed = assert(core.program()):gsub("[^/]*/[^/]*$", "") .. "share/lunats/types"
  if exists(installed .. "/app.d.lua") then return installed end
  return "${env:LUNATS_TYPES}"
end

local TEMPLATES = { "service", "http", "worker" }

---@return table[] files, table<string, string> values
local function template_of(kind, name)
  local known = table.concat(TEMPLATES, ", ")
  if not (", " .. known .. ","):find(", " .. kind .. ",", 1, true) then
    fail(("there is no template %q: it is one of %s"):format(kind, known))
  end
  local template = require("lunats.commands.new." .. kind)
  local values = { NAME = name, TYPES = types_folder() }
  values.ABOUT = template.about:gsub("@(%u+)@", values)
  values.TABLE = template.table:gsub("@(%u+)@", values)
  local files = table.move(template, 1, #template, 1, {})
  local common = require "lunats.commands.new.common"
  return table.move(common, 1, #common, #files + 1, files), values
end

return function()
  local folder = core.options.args[1]:gsub("/+$", "")
  local name = folder:match "[^/]*$"
  if not name:find "^%a[%w_-]*$" or #name > 64 then
    fail(("%q cannot be the name of a service: letters, digits, '_' and '-', a letter first")
      :format(name))
  end
  local files, values = template_of(core.options.template or "service", name)
  if exists(folder) then fail(folder, " is there already; nothing was changed") end
  local ok, output = make_folder(folder)
  if not ok then fail((output:gsub("%s+$", ""))) end
  for _, one in ipairs(files) do
    local path = folder .. "/" .. one.path:gsub("NAME", name)
    local inside = path:match "^(.*)/"
    if inside ~= folder and not make_folder(inside, true) then fail("cannot make ", inside) end
    write(path, (one.text:gsub("@(%u+)@", values)))
    print("  " .. path)
  end
  print(("Now: cd %s && lunats test && lunats dev %s.lua"):format(folder, name))
end
