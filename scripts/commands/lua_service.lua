---Notices that the FILE of `lunats lua` is a service, which does nothing there: it ends before
---its first message comes. And names fibers that its end cuts off.
local core = require "lunats.core"
local declared = require "lunats.commands.declared"
local leftover = require "lunats.commands.leftover"
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

---@param file string
function M.watch(file)
  path = file
  leftover.watch()
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
    if ok then leftover.warn("lunats: " .. path .. " has ended") end
    return
  end
  io.stderr:write(("lunats: %s is a service: it has %s, and `lunats lua` does not serve.\n"
    .. "Start it with `lunats run %s`, or with a private nats-server with `lunats dev %s`.\n")
    :format(path, what, path, path))
  for _, one in ipairs(periodic.list()) do one:stop() end -- before their first tick
  os.exit(2)
end

return M
