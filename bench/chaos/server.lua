---The nats-server of bench/chaos.lua: one with a file store, on a small disk of its own where
---that can be had, or a cluster of three.
local core = require "lunats.core"
local fleet = require "bench.chaos.fleet"
local lfs = require "lfs"
local process = require "spec.support.process"
local testing = require "lunats.testing"

local M = {}
local server = {}
server.__index = server

local DISK_MIB = 64
---Seconds until a server has to be back.
local PATIENCE = 60

---@return string|nil folder, string|nil why there is no disk
local function disk()
  local folder = process.path "disk"
  assert(lfs.mkdir(folder))
  local ok = fleet.sh("mount", "-t", "tmpfs", "-o", ("size=%dm,mode=700"):format(DISK_MIB),
    "chaos", folder)
  if not ok then return nil, "a disk of its own needs root (mount -t tmpfs)" end
  return folder
end

---@param cluster boolean
function M.start(cluster)
  local self = setmetatable({ lock = app.mutex() }, server)
  if cluster then
    self.nodes, self.no_disk = testing.cluster(3), "a cluster has no disk of its own"
  else
    self.disk, self.no_disk = disk()
    self.nodes = { testing.broker { dir = self.disk and self.disk .. "/nats" } }
  end
  self.replicas = #self.nodes
  return self
end

---@param number integer  any
function server:node(number) return self.nodes[1 + number % #self.nodes] end

---Kills one, and starts it again with what it has stored.
function M.kill(node, seconds)
  node:kill() -- it may be gone already
  app.sleep(seconds)
  local til = core.hrtime() + PATIENCE
  while true do
    local ok, err = node:restart()
    if ok then return end
    if core.hrtime() > til then error("nats-server does not come back: " .. tostring(err)) end
    app.sleep(0.5)
  end
end

function M.pause(node, seconds)
  node:pause()
  app.sleep(seconds)
  node:resume()
end

---Fills the disk to its last byte. A server that could not write is not to be relied on
---afterwards: it is started anew.
function server:fill(seconds)
  local ballast = self.disk .. "/ballast"
  fleet.sh("sh", "-c", [[
    dd if=/dev/zero of="$0" bs=1M count=1000 2>/dev/null
    dd if=/dev/zero of="$0.rest" bs=512 count=10000 2>/dev/null
    true]], ballast)
  app.sleep(seconds)
  os.remove(ballast)
  os.remove(ballast .. ".rest")
  M.kill(self.nodes[1], 0)
end

function server:stop()
  for _, node in ipairs(self.nodes) do node:stop() end
  if self.disk then fleet.sh("umount", "-l", self.disk) end
end

return M
