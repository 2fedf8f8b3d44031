---Notices that the FILE of `lunats lua` is a service, which does nothing there: it ends before
---its first message comes. And names fibers that its end cuts off.
local core = require "lunats.core"
local declared = require "lunats.commands.declared"
local periodic = require "lunats.periodic"

local M = {}

local path
local hooks, timers, listeners, subscriptions = {}, {}, {}, {}

---Raised by what cannot work outside of a service.
local refusal = setmetatable({}, {
  __tostring = function() return "only a service can do this: see `lunats run` and `dev`" end,
})

local function refuse(t, name, what)
  t[name] = function()
    refusal.what = ("%s (%s)"):format(what, declared.where())
    error(refusal, 0)
  end
end

local function note(list, what)
  return function(place) list[#list + 1] = ("%s (%s)"):format(what, place) end
end

local function watch_listeners()
  local listen = app.listen
  rawset(app, "listen", function(...)
    local place = declared.where()
    local handle = listen(...)
    local one = { what = ("a listener (%s)"):format(place) }
    listeners[#listeners + 1] = one
    handle.stop = function(self)
      one.stopped = true
      getmetatable(self).stop(self)
    end
    return handle
  end)
end

---The module is loaded when a script first uses it.
local function watch_js()
  package.preload["lunats.js"] = function()
    local js = core.module("lunats.js", _G)()
    local subscribe = js.subscribe
    js.subscribe = function(...)
      local sub, err = subscribe(...)
      if sub then subscriptions[#subscriptions + 1] = sub end
      return sub, err
    end
    if core.options.offline then refuse(js, "subscribe", "app.js.subscribe") end
    return js
  end
end

---Where each fiber was started that the file has spawned, as long as it runs or is held.
local spawned = setmetatable({}, { __mode = "k" })

local function watch_fibers()
  local spawn = app.spawn
  rawset(app, "spawn", function(...)
    local fiber = spawn(...)
    spawned[fiber] = declared.where()
    return fiber
  end)
end

local function warn_of_fibers()
  local count, first = 0, nil
  for fiber, place in pairs(spawned) do
    if not fiber.handle:ended() then
      count = count + 1
      if not first or place < first then first = place end
    end
  end
  if count == 0 then return end
  local one = count == 1
  io.stderr:write(("lunats: %s has ended while %s still ran, started at %s%s, and cuts %s "
    .. "off.\nWhat has to end is awaited: local f = app.spawn(...) f:await()\n"):format(path,
      one and "a fiber" or count .. " fibers", first, one and "" or " and elsewhere",
      one and "it" or "them"))
end

---@param file string
function M.watch(file)
  path = file
  watch_fibers()
  refuse(app, "config", "app.config")
  refuse(app, "on_start", "the hook app.on_start")
  declared.wrap(app, "on_stop", note(hooks, "the hook app.on_stop"))
  declared.wrap(app, "on_reload", note(hooks, "the hook app.on_reload"))
  declared.wrap(app, "timer", note(timers, "a timer"))
  declared.wrap(app, "task", note(timers, "a task"))
  if core.options.offline then refuse(app, "listen", "a listener") else watch_listeners() end
  watch_js()
end

local function first_running(list)
  for _, one in ipairs(list) do
    if not one.stopped then return one end
  end
end

---What would end with the file although it is meant to go on.
local function find(ok, failure)
  if not ok then return rawequal(failure, refusal) and refusal.what end
  local listener = first_running(listeners)
  return listener and listener.what
    or first_running(subscriptions) and "app.js.subscribe"
    or first_running(periodic.list()) and timers[1]
    or hooks[1]
end

---Ends the process with status 2 when the file has turned out to be a service.
function M.end_of_file(ok, failure)
  local what = find(ok, failure)
  if not what then
    if ok then warn_of_fibers() end
    return
  end
  io.stderr:write(("lunats: %s is a service: it has %s, and `lunats lua` does not serve.\n"
    .. "Start it with `lunats run %s`, or with a private nats-server with `lunats dev %s`.\n")
    :format(path, what, path, path))
  for _, one in ipairs(periodic.list()) do one:stop() end -- before their first tick
  os.exit(2)
end

return M
