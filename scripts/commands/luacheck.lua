---What luacheck says about a script, where it is installed: for `lunats check`.
local core = require "lunats.core"

---Undeclared globals and syntax errors are found by ourselves.
local OURS = { W113 = true, E011 = true }

---@param path string
---@return { level: string, where: string, message: string }[]
return function(path)
  local child = assert(core.process({ "/bin/sh", "-c",
    'command -v luacheck >/dev/null && exec luacheck "$@" 2>&1', "sh", "--formatter", "plain",
    "--codes", "--no-color", "--globals", "app", "--", path }, true))
  local _, output = child:wait()
  local list = {}
  for line in output:gmatch "[^\n]+" do
    local number, code, message = line:match ":(%d+):%d+: %(([WE]%d+)%) (.*)"
    if code and not OURS[code] then
      list[#list + 1] = { level = "warning", where = path .. ":" .. number,
        message = ("%s (luacheck %s)"):format(message, code) }
    end
  end
  return list
end
