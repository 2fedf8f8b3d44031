---What a process holds when it has nothing to do, before and after.
local admin = require "spec.support.admin"
local core = require "lunats.core"
local fleet = require "bench.chaos.fleet"

local M = {}

local function status_of(pid)
  local file = io.open(("/proc/%d/status"):format(pid))
  local text = file and file:read "a" or ""
  if file then file:close() end
  return tonumber(text:match "VmRSS:%s*(%d+)"), tonumber(text:match "Threads:%s*(%d+)")
end

local function is_sanitized(pid)
  local file = io.open(("/proc/%d/maps"):format(pid))
  local text = file and file:read "a" or ""
  if file then file:close() end
  return text:find "/lib[at]san%.so" ~= nil
end

---Sum of a metric over its labels.
local function metric(text, name)
  local sum, found = 0, false
  for value in text:gmatch("\n" .. name .. "{[^}]*} ([%d.e+-]+)") do
    sum, found = sum + tonumber(value), true
  end
  return found and sum or nil
end

local GAUGES = { fibers = "lunats_fibers", handlers = "lunats_handlers_running",
  requests = "lunats_requests_waiting", pending = "lunats_pending_messages",
  subscriptions = "lunats_subscriptions", buffered = "lunats_publish_buffer_bytes" }

---@return table numbers, those that cannot be had left out
function M.measure(member)
  local numbers = { descriptors = fleet.descriptors(member.pid) }
  numbers.resident, numbers.threads = status_of(member.pid)
  numbers.sanitized = is_sanitized(member.pid)
  numbers.clock = member.clock ~= nil
  local _, text = admin.get(member.admin, "/metrics")
  for name, full in pairs(GAUGES) do numbers[name] = metric(text, full) end
  numbers.ticks = metric(text, "lunats_timer_ticks_total")
  return numbers
end

---The most of each that is at rest, from what it was before.
local ALLOWED = {
  fibers = 0, handlers = 0, requests = 0, pending = 0, subscriptions = 0, buffered = 0,
  threads = 0, descriptors = 0,
}
M.NAMES = { "resident", "descriptors", "threads", "fibers", "handlers", "requests", "pending",
  "subscriptions", "buffered" }

---KiB that a process may have. Sanitizers keep what is freed.
local function most_memory(before)
  local more = before.sanitized and 400 * 1024 or 24 * 1024
  return before.resident + before.resident // 2 + more
end

---What is not as it was; nil: all is.
local function restless(before, after)
  for name, more in pairs(ALLOWED) do
    if not after[name] then return name .. " cannot be had" end
    -- libfaketime has two of its own, unless another process has taken their names.
    if name == "descriptors" and before.clock then more = more + 2 end
    if after[name] > before[name] + more then
      return ("%d %s, %d before"):format(after[name], name, before[name])
    end
  end
  if after.resident > most_memory(before) then
    return ("%d KiB of memory, %d before"):format(after.resident, before.resident)
  end
end

---Waits until a member is at rest.
---@return table numbers, string|nil what is not at rest
function M.wait(member, before, timeout)
  local til = core.hrtime() + timeout
  while true do
    local after = M.measure(member)
    local why = restless(before, after)
    if not why or core.hrtime() > til then return after, why end
    app.sleep(0.5)
  end
end

---Measures a member until two looks agree.
function M.settled(member, timeout)
  local til = core.hrtime() + timeout
  local before = M.measure(member)
  while true do
    app.sleep(1)
    local now = M.measure(member)
    if not restless(before, now) and not restless(now, before) or core.hrtime() > til then
      return now
    end
    before = now
  end
end

return M
