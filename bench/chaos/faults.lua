---What can happen, by the names of bench/chaos/plan.lua. Each returns when it is over and
---mended: nothing, or a word why it could not be done here.
local core = require "lunats.core"
local fleet = require "bench.chaos.fleet"
local garbage = require "bench.chaos.garbage"
local server = require "bench.chaos.server"

local M = {}

---@param chaos table  of bench/chaos/run.lua: server, link, load, nats, script, a, b
M["server killed"] = function(chaos, event)
  local _ <close> = chaos.server.lock:lock()
  server.kill(chaos.server:node(event.detail), event.lasts)
end

M["server paused"] = function(chaos, event)
  local _ <close> = chaos.server.lock:lock()
  server.pause(chaos.server:node(event.detail), event.lasts)
end

M["server without descriptors"] = function(chaos, event)
  local _ <close> = chaos.server.lock:lock()
  return fleet.exhaust(chaos.server:node(event.detail).pid, event.lasts, event.detail % 3)
end

M["disk full"] = function(chaos, event)
  if not chaos.server.disk then return chaos.server.no_disk end
  local _ <close> = chaos.server.lock:lock()
  chaos.server:fill(event.lasts)
end

M["process killed"] = function(chaos, event)
  local one = chaos[event.on]
  local _ <close> = one.lock:lock()
  one:kill(event.lasts)
end

M["process stopped"] = function(chaos, event)
  local one = chaos[event.on]
  local _ <close> = one.lock:lock()
  one:restart(event.lasts)
end

M["process paused"] = function(chaos, event)
  local one = chaos[event.on]
  local _ <close> = one.lock:lock()
  one:pause(event.lasts)
end

---Where descriptors matter: new connections to the admin port, a reload, a new server.
M["process without descriptors"] = function(chaos, event)
  local one = chaos[event.on]
  local _ <close> = one.lock:lock()
  local url = one:admin_url()
  app.spawn(function()
    app.sleep(event.lasts / 3)
    if event.detail % 2 == 0 then one.child:signal "HUP" end
    if url then garbage.connect(url, event.lasts / 3) end
  end)
  local why = fleet.exhaust(one.pid, event.lasts, event.detail % 4)
  one.child:signal "HUP" -- a reload may have failed for that: an operator repeats it
  return why
end

local STEPS = { "+3600", "-3600", "+4000d", "-10d", "+10" }

M["clock set"] = function(chaos, event)
  local one = chaos[event.on]
  local _ <close> = one.lock:lock()
  if one.no_clock then return one.no_clock end
  one:set_clock(STEPS[1 + event.detail % #STEPS])
  app.sleep(event.lasts)
  one:set_clock "+0"
end

M["link cut"] = function(chaos, event)
  local _ <close> = chaos.link.lock:lock()
  chaos.link:cut(event.lasts)
end

M["link slow"] = function(chaos, event)
  local _ <close> = chaos.link.lock:lock()
  chaos.link:slow_down(event.lasts)
end

M["link mute"] = function(chaos, event)
  local _ <close> = chaos.link.lock:lock()
  chaos.link:mute(event.lasts)
end

---Both processes see the file; the one that is told is told on top of that.
local function tell(chaos, event)
  if event.detail % 2 == 0 then chaos[event.on].child:signal "HUP" end
end

M["reload"] = function(chaos, event)
  local _ <close> = chaos.script.lock:lock()
  chaos.script:write()
  tell(chaos, event)
end

M["broken reload"] = function(chaos, event)
  local _ <close> = chaos.script.lock:lock()
  chaos.script:damage(event.detail)
  tell(chaos, event)
  app.sleep(0.3)
  chaos.script:write()
end

M["flood"] = function(chaos, event)
  chaos.load:flood(500 + event.detail % 2000)
end

M["runaway"] = function(chaos)
  chaos.load:ask("chaos.spin", "", 3)
end

M["garbage message"] = function(chaos, event) garbage.message(chaos, event.detail) end

M["garbage headers"] = function(chaos, event) garbage.headers(chaos, event.detail) end

M["garbage in the stream"] = function(chaos, event)
  local n = chaos.load:number()
  chaos.load:publish(n, garbage.body(event.detail, n))
end

M["garbage at the server"] = function(chaos, event)
  garbage.at_server(chaos.server:node(event.detail).port, event.detail)
end

M["garbage at the admin port"] = function(chaos, event)
  local url = chaos[event.on]:admin_url()
  if url then garbage.at_admin(url, event.detail) end
end

---Runs the events of a plan, each when its time has come and what it meets is free.
---@return table<string, { times: integer, skipped: integer, why: string|nil }>
function M.run(chaos, events, on_event)
  local counts, under_way = {}, 0
  local began = core.hrtime()
  for i, event in ipairs(events) do
    app.sleep(math.max(0, began + event.at - core.hrtime()))
    on_event(i, event)
    local entry = counts[event.kind] or { times = 0, skipped = 0 }
    counts[event.kind] = entry
    entry.times = entry.times + 1
    under_way = under_way + 1
    app.spawn(function()
      local ok, why = xpcall(M[event.kind], core.traceback, chaos, event)
      under_way = under_way - 1
      if not ok then chaos.fault(("event %d, %s: %s"):format(i, event.kind, why)) end
      if ok and why then
        entry.skipped, entry.why = entry.skipped + 1, why
      end
    end)
  end
  while under_way > 0 do app.sleep(0.05) end
  return counts
end

return M
