---What bench/fleet.lua does to a fleet, one thing after the other.
local chaos = require "bench.chaos.server"
local check = require "bench.chaos.check"
local core = require "lunats.core"
local fleet = require "bench.chaos.fleet"

local M = {}

---Seconds until the cluster has to be well again.
local PATIENCE = 120
local STREAMS = { "CHAOS", "DEAD", "KV_CHAOS", "KV_STOCK" }

---@return string|nil what is wrong with a stream; nil: it has a leader and two replicas that
---  have all of it
local function ailing(self, stream)
  local info, err = self.nats.js.stream_info(stream)
  if not info then return ("%s: %s"):format(stream, err.message) end
  local cluster = info.cluster or {}
  if not cluster.leader then return stream .. " has no leader" end
  local current = 0
  for _, replica in ipairs(cluster.replicas or {}) do
    if replica.current and not replica.offline then current = current + 1 end
  end
  if current < 2 then return ("%s has %d replicas that are current"):format(stream, current) end
end

---Waits until all streams and services are well.
local function wait_until_well(self, after)
  local til = core.hrtime() + PATIENCE
  local why
  repeat
    why = nil
    for _, stream in ipairs(STREAMS) do why = why or ailing(self, stream) end
    if not why then break end
    app.sleep(0.2)
  until core.hrtime() > til
  if why then self.fault(("after %q: %s"):format(after, why)) end
  check.ready(self)
end

-- ---- servers -------------------------------------------------------------------

local servers = {}

servers[1] = { "server killed", function(_, node) chaos.kill(node, 0) end }

---Ends one by a signal, and starts it again when it is gone.
local function stop(node, signal)
  fleet.signal(node.pid, signal)
  local til = core.hrtime() + 60
  while fleet.descriptors(node.pid) and core.hrtime() < til do app.sleep(0.2) end
  chaos.kill(node, 0)
end

servers[2] = { "server stopped", function(_, node) stop(node, "TERM") end }

servers[3] = { "server in lame duck mode", function(_, node) stop(node, "USR2") end }

-- The others have to find out by themselves; when it is back it has missed a lot.
servers[4] = { "server cut off, then killed", function(_, node)
  chaos.pause(node, 12)
  chaos.kill(node, 0)
end }

servers[5] = { "server away for 5 s", function(_, node) chaos.kill(node, 5) end }

-- ---- processes -----------------------------------------------------------------

local members = {
  { "process restarted", function(_, one) one:restart(0) end },
  { "process killed", function(_, one) one:kill(0) end },
}

---Whoever leads gives it to another one.
local function step_down(self)
  for _, stream in ipairs(STREAMS) do
    self.nats.request("$JS.API.STREAM.LEADER.STEPDOWN." .. stream, "", { timeout = 5 })
  end
  self.nats.request("$JS.API.CONSUMER.LEADER.STEPDOWN.CHAOS.worker", "", { timeout = 5 })
end

local function reload(self) self.script:write() end

-- ---- all of it -----------------------------------------------------------------

---@return table[] steps  { name, fn, what it meets }
local function plan(self, rounds)
  local list = {}
  for round = 1, rounds do
    for _, node in ipairs(self.cluster) do
      local name, fn = table.unpack(servers[1 + (round - 1) % #servers])
      list[#list + 1] = { name, fn, node }
    end
    for _, one in ipairs(self.members) do
      local name, fn = table.unpack(members[1 + (round - 1) % #members])
      list[#list + 1] = { name, fn, one }
    end
    list[#list + 1] = { "leaders step down", step_down }
    list[#list + 1] = { "services reloaded", reload }
  end
  return list
end

---@return table[] counts  { name =, times = }
function M.run(self, rounds, seconds, say)
  local counts, by_name = {}, {}
  local list = plan(self, rounds)
  local began = core.hrtime()
  for i, step in ipairs(list) do
    app.sleep(math.max(0, began + (i - 1) * seconds / #list - core.hrtime()))
    local name, fn, on = table.unpack(step)
    say("%7.1f s  %s", core.hrtime() - began, name)
    fn(self, on)
    wait_until_well(self, name)
    local entry = by_name[name] or { name = name, times = 0 }
    if entry.times == 0 then
      counts[#counts + 1], by_name[name] = entry, entry
    end
    entry.times = entry.times + 1
  end
  app.sleep(math.max(0, began + seconds - core.hrtime()))
  return counts
end

return M
