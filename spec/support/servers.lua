---Redis and memcached for specs: private, on free ports, with nothing on disk. They end with
---process.close_all().
local core = require "lunats.core"
local process = require "spec.support.process"

local M = {}

---A port that was free may be taken meanwhile: another one is tried.
local ATTEMPTS = 5

---@param command fun(port: integer): string[]
---@param pattern string  of its output when it is ready
local function start(command, pattern)
  for attempt = 1, ATTEMPTS do
    local port = core.free_port()
    local self = process.spawn(command(port))
    local ok, err = pcall(self.expect, self, pattern)
    if ok then
      self.port = port
      return self
    end
    if attempt == ATTEMPTS or not self:output():lower():find "in use" then error(err, 0) end
  end
end

---@param ... string  further options
function M.redis(...)
  local options = { ... }
  return start(function(port)
    return { "redis-server", "--port", tostring(port), "--bind", "127.0.0.1", "--save", "",
      "--appendonly", "no", "--dir", "/tmp", table.unpack(options) }
  end, "Ready to accept connections")
end

function M.memcached()
  return start(function(port)
    return { "memcached", "-u", "root", "-l", "127.0.0.1", "-p", tostring(port), "-vv" }
  end, "server listening")
end

return M
