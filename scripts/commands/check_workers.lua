---What the workers of a service take from the server: for `lunats check --workers N`.
local M = {}

---Of each service: PING, INFO and STATS of all, of its name and of its instance; and replies.
local SRV, INBOX = 9, 1
local CONTROL, CONSOLE = 2, 1
---A consumer is asked for more before what it was asked for has come.
local PULLS = 2

---@class check.load
---@field workers integer
---@field connections integer
---@field subscriptions integer
---@field pulls integer  requests at a time
---@field pulls_each integer  the same of one consumer

---@param declared table  of a script
---@param options table  core.options
---@return check.load
function M.of(declared, options)
  local workers = options.workers
  local subscriptions = SRV + INBOX + (options.control and CONTROL or 0)
    + (options.console and CONSOLE or 0)
  local pulls, shared, seen = 0, 0, {}
  for _, one in ipairs(declared.listeners) do
    local key = one.subject .. " " .. (one.queue or "")
    if not seen[key] then subscriptions = subscriptions + 1 end
    seen[key] = true
  end
  for _, one in ipairs(declared.subscriptions) do
    subscriptions = subscriptions + 1
    if one.kind == "pull" then pulls = pulls + PULLS end
    if one.kind == "group" then shared = shared + PULLS * (one.partitions or 0) end
  end
  return { workers = workers, connections = workers, subscriptions = workers * subscriptions,
    pulls = workers * pulls + shared, pulls_each = pulls > 0 and workers * PULLS or 0 }
end

---@param list check.load[]
---@return string[] lines
function M.text(list)
  local sum = { connections = 0, subscriptions = 0, pulls = 0, pulls_each = 0 }
  for _, one in ipairs(list) do
    for name in pairs(sum) do
      if name ~= "pulls_each" then sum[name] = sum[name] + one[name] end
    end
    sum.pulls_each = math.max(sum.pulls_each, one.pulls_each)
  end
  local lines = { ("%d workers: %d connections, %d subscriptions, up to %d pull requests at a "
    .. "time"):format(list[1].workers, sum.connections, sum.subscriptions, sum.pulls) }
  if sum.pulls_each > 0 then
    lines[2] = ("  of them up to %d on one consumer, whose max_waiting is 512 unless it says "
      .. "otherwise"):format(sum.pulls_each)
  end
  return lines
end

return M
