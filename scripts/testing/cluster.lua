---A JetStream cluster of private servers on loopback.
local core = require "lunats.core"

local M = {}

local CONFIG = [[
server_name: n%d
cluster { name: test, listen: "127.0.0.1:%d", routes: [%s] }
]]

---@class testing.cluster
local cluster = {}
cluster.__index = cluster
M.methods = cluster

function cluster:stop()
  for _, one in ipairs(self) do one:stop() end
end

---@return table|nil cluster, table|nil err
local function start(size, more)
  local ports, routes = {}, {}
  for i = 1, size do
    ports[i] = core.free_port()
    routes[i] = ('"nats://127.0.0.1:%d"'):format(ports[i])
  end
  local self = setmetatable({ urls = {} }, cluster)
  for i = 1, size do
    local config = CONFIG:format(i, ports[i], table.concat(routes, ", ")) .. more
    local broker, err = core.broker { config = config }
    if not broker then
      self:stop()
      return nil, err
    end
    self[i], self.urls[i] = broker, broker.url
  end
  return self
end

---A port that was free may be taken by the time its server wants it: then others are tried.
---@param more string  configuration of each server
function M.start(size, more)
  local self, err
  for _ = 1, 5 do
    self, err = start(size, more)
    if self then return self end
  end
  error(err, 0)
end

return M
