---The file with the service, and its versions: good ones, whose numbers grow, and broken ones.
local process = require "spec.support.process"

local M = {}
local script = {}
script.__index = script

function M.new()
  local file = assert(io.open "bench/chaos/service.lua")
  local self = setmetatable({ source = file:read "a", version = 0, lock = app.mutex() }, script)
  file:close()
  self.path = process.write("chaos.lua", "")
  self:write()
  return self
end

local function put(path, text)
  local file = assert(io.open(path .. ".new", "wb"))
  file:write(text)
  file:close()
  assert(os.rename(path .. ".new", path))
end

function script:text()
  return (self.source:gsub("VERSION = 0", "VERSION = " .. self.version, 1))
end

---The next good version.
function script:write()
  self.version = self.version + 1
  put(self.path, self:text())
end

local DAMAGES = {
  function(text) return text:sub(1, #text // 2) .. "(" end,
  function(text) return text .. "\nerror 'at the end'\n" end,
  function(text) return text .. "\napp.on_start(function() error 'not today' end)\n" end,
  function() return "" end,
  function(text) return text .. "\napp.listen('chaos..x', print)\n" end,
  function(text) return text .. "\napp.on_start(function() os.exit(3) end)\n" end,
  function(text) return text:gsub('name = "chaos"', 'name = "order"') end,
}

---Something that cannot take over.
function script:damage(detail)
  put(self.path, (DAMAGES[1 + detail % #DAMAGES](self:text())))
end

return M
