---What runs in a script: as text for the log, when SIGUSR1 asks for it, and as JSON what only
---Lua knows of it, for the page of the admin port. It is called from the loop, so it must not
---wait; all lists are bounded.
local core = require "lunats.core"
local connection = require "lunats.connection"
local json = require "lunats.json"
local periodic = require "lunats.periodic"

---How many of a kind are listed, and how many fibers with their tracebacks.
local MOST, MOST_FIBERS = 100, 20
---Of a name in JSON.
local MOST_BYTES = 200

local function add(lines, ...) lines[#lines + 1] = string.format(...) end

---Lists at most MOST of them.
local function list(lines, title, all, print_one)
  if #all == 0 then return end
  add(lines, "%s: %d", title, #all)
  for i = 1, math.min(#all, MOST) do print_one(all[i]) end
  if #all > MOST then add(lines, "  and %d more", #all - MOST) end
end

---@param of table core of the connection
---@param title string
local function state_of(lines, of, title)
  local info, stats = of.nats_info(), of.nats_stats()
  add(lines, "%s: %s%s, messages in %d, out %d, reconnects %d", title, of.nats_status(),
    info.url and " to " .. info.url or "", stats.in_msgs, stats.out_msgs, stats.reconnects)
end

local function listeners(lines, of, title)
  list(lines, title, of.listeners(), function(one)
    add(lines, "  %s (%s): running %d of %d, queued %d, received %d, failed %d",
      one.name == one.subject and one.name or one.name .. " on " .. one.subject, one.where,
      one.running, one.concurrency, one.queued, one.received, one.failed)
  end)
end

---Those of app.http, if the script has used it.
local function routes(lines)
  local http = package.loaded["lunats.http.routes"]
  list(lines, "routes", http and http.list() or {}, function(one)
    add(lines, "  HTTP %s %s (%s): running %d, requests %d, errors %d", one.method, one.path,
      one.where, one.running, one.requests, one.errors)
  end)
end

---Those of app.connect().
local function connections(lines)
  local all = {}
  for of, name in pairs(connection.all) do all[#all + 1] = { of = of, name = name } end
  table.sort(all, function(a, b) return a.name < b.name end)
  for i = 1, math.min(#all, MOST) do
    local title = "connection " .. all[i].name
    state_of(lines, all[i].of, title)
    listeners(lines, all[i].of, title .. ", listeners")
  end
end

local function next_tick(one)
  if one.stopped then return "stopped" end
  if not one.interval then return "once" end
  if not one.due then return ("every %g s"):format(one.interval) end
  return ("every %g s, the next in %.3f s"):format(one.interval,
    math.max(0, one.due - core.clock()))
end

local function timers(lines)
  list(lines, "timers and tasks", periodic.list(), function(one)
    add(lines, "  %s: %s, ticks %d, skipped %d, errors %d", one.label, next_tick(one),
      one.ticks, one.skipped, one.errors)
  end)
end

---Those of app.leader and app.cron, if the script has used them.
local function fleet(lines)
  local leader, cron = package.loaded["lunats.leader"], package.loaded["lunats.cron"]
  list(lines, "leases", leader and leader.list() or {}, function(one)
    local token = one:leads()
    add(lines, "  %s: %s", one.label, token and ("leads for %.0f s, token %d"):format(
      core.clock() - one.since, token) or "stands by")
  end)
  list(lines, "cron jobs", cron and cron.list() or {}, function(one)
    local next_one = one:next()
    add(lines, "  %s: %s (%s), the next at %s, runs %d, errors %d, missed %d", one.label,
      one.text, one.zone.name, next_one and os.date("!%Y-%m-%dT%H:%M:%SZ", next_one)
      or "no time", one.runs, one.errors, one.missed)
  end)
end

---@param self table
---@param kind string
local function is_over(self, kind)
  if kind == "ordered" then return self.stopped end
  return self.box:stopped()
end

---Those of JetStream, if the script has used it.
local function consumers(lines)
  local active = package.loaded["lunats.js.active"]
  local all = {}
  for self, kind in pairs(active and active.all or {}) do
    if not is_over(self, kind) then
      local text = ("%s: consumer '%s' of stream '%s'"):format(kind, self.consumer, self.stream)
      local stats = kind ~= "ordered" and self.box:stats()
      all[#all + 1] = stats and ("%s: running %d, queued %d, received %d, failed %d"):format(
        text, stats.running, stats.queued, stats.received, stats.failed) or text
    end
  end
  table.sort(all)
  list(lines, "consumers", all, function(text) add(lines, "  %s", text) end)
end

local function fibers(lines)
  local all, handlers, background = core.fibers(MOST_FIBERS)
  add(lines, "fibers: %d of handlers, %d in the background", handlers, background)
  for _, one in ipairs(all) do
    add(lines, "  %s: %s", one.kind, (debug.traceback(one.thread):gsub("\n", "\n  ")))
  end
  local more = handlers + background - #all
  if more > 0 then add(lines, "  and %d more", more) end
end

---At most so many bytes, and UTF-8, as JSON wants it.
local function plain(text)
  if #text > MOST_BYTES then text = text:sub(1, MOST_BYTES) .. "..." end
  return utf8.len(text) and text or (text:gsub("[\128-\255]", "?"))
end

---What JSON has no word for is left out.
local function finite(number)
  return number and number < math.huge and number or nil
end

local function as_json()
  local all, shown = periodic.list(), json.array {}
  for i = 1, math.min(#all, MOST) do
    local one = all[i]
    shown[i] = { kind = one.kind, label = plain(one.label), interval = finite(one.interval),
      due = one.due and finite(math.max(0, one.due - core.clock())),
      stopped = one.stopped == true, ticks = one.ticks, skipped = one.skipped,
      errors = one.errors }
  end
  return json.encode { count = #all, timers = shown }
end

---@param form "json"|nil
---@return string
return function(form)
  if form == "json" then return as_json() end
  local lines = {}
  add(lines, "version %s, instance %s, Lua has %.0f KiB", app.version, app.instance_id,
    collectgarbage "count")
  state_of(lines, core, "connection")
  listeners(lines, core, "listeners")
  routes(lines)
  connections(lines)
  timers(lines)
  fleet(lines)
  consumers(lines)
  fibers(lines)
  return table.concat(lines, "\n")
end
