---The table `app` of every script: declarations in Lua, everything hot in C ("lunats.core").
local core = require "lunats.core"
local json = require "lunats.json"
local check = require "lunats.check"
local connection = require "lunats.connection"
local fiber = require "lunats.fiber"
local service = require "lunats.service"
require "lunats.files"

-- The first error of a state makes the metatable of all errors. If it were one of the JSON
-- module, which knows no metamethod but __tostring, `"text" .. err` would fail from then on.
core.error("", "")

---@class app
local app = connection.add({
  sleep = core.sleep,
  now = core.now,
  spawn = fiber.spawn,
  timeout = fiber.timeout,
  mutex = require "lunats.mutex",
  json = json,
  ---Plain data that survives a hot reload.
  state = {},
}, core)

-- ---- identity -------------------------------------------------------------

app.config = service.config

-- ---- hooks ----------------------------------------------------------------

local start_hooks, stop_hooks, reload_hooks, deferred = {}, {}, {}, {}
local starting = false

function app.on_start(fn)
  check.fn("app.on_start", fn)
  if not core.loading() then
    error("app.on_start: the service has started already; call it at the top level", 2)
  end
  start_hooks[#start_hooks + 1] = fn
  core.declare()
end

function app.on_stop(fn)
  check.fn("app.on_stop", fn)
  stop_hooks[#stop_hooks + 1] = fn
  core.declare()
end

---fn(old_version) runs in the new version after it has taken over.
function app.on_reload(fn)
  check.fn("app.on_reload", fn)
  reload_hooks[#reload_hooks + 1] = fn
  core.declare()
end

---fn(ctx, next) is called around what the service handles or sends.
function app.use(kind, fn)
  return require "lunats.use"(kind, fn) -- loaded when first used: not every service needs it
end

---Runs fn in one instance at a time, the one that holds the lease of that name.
function app.leader(name, opts, fn)
  return require("lunats.leader").leader(name, opts, fn)
end

---Runs fn when the expression is due, each time in one of all instances.
function app.cron(expression, opts, fn)
  return require("lunats.cron").cron(expression, opts, fn)
end

---fn(err, where) is called for each error that the log has of the script's own code.
app.on_error = require("lunats.watchers").add

---Runs fn right after the on_start hooks; in a running service at once. For declarations that
---have to wait for the server.
---@param quietly any  the script has declared nothing by that
function core.defer_start(fn, quietly)
  if not quietly then core.declare() end
  if core.loading() then
    deferred[#deferred + 1] = fn
  else
    fn()
  end
end

---Runs fn when the on_start hooks are done, if they run now: for what they have opened.
function core.after_start(fn)
  if starting then deferred[#deferred + 1] = fn end
end

local function run_all(functions)
  for _, fn in ipairs(functions) do fn() end
end

core.set_phase("start", function()
  starting = true
  run_all(start_hooks)
  run_all(deferred)
  starting, deferred = false, {}
end)

local function report_hook(kind, caught)
  local trace, err = core.caught(caught)
  core.report(("%s: %s"):format(kind, trace), { kind = kind }, err)
end

core.set_phase("stop", function()
  -- One hook that fails must not keep the others from cleaning up.
  local failed
  for _, fn in ipairs(stop_hooks) do
    local ok, caught = core.protect(fn)
    if core.cancelled() then error(caught, 0) end
    if not ok then
      failed = true
      report_hook("on_stop", caught)
    end
  end
  if failed then error(core.error("on_stop", "an on_stop hook failed"), 0) end
end)

---fn(state, detail) is called with the state of the connection and for each change.
function app.on_connection(fn)
  check.fn("app.on_connection", fn)
  core.on_connection(fn)
end

-- ---- timers and tasks -----------------------------------------------------

local periodic = require "lunats.periodic"
app.timer = periodic.timer
app.task = periodic.task

local running, at_run = false, {}

---Runs fn when tasks and timers have started; in a running service at once.
function core.at_run(fn)
  if running then fn() else at_run[#at_run + 1] = fn end
end

core.set_phase("run", function()
  running = true
  periodic.start()
  run_all(at_run)
  at_run = {}
end)

-- ---- reload ---------------------------------------------------------------

local old_version

---Loaded when there is a reload: a service starts without it.
local function state() return require "lunats.state" end

---With `check` it only raises what cannot be copied.
core.set_phase("save", function(check_only)
  if check_only then
    if next(app.state) ~= nil then state().check(app.state, "app.state") end
    return ""
  end
  local leader = package.loaded["lunats.leader"]
  local guards = package.loaded["lunats.resilience"]
  return state().pack({ version = app.version, timers = periodic.phases(),
    leases = leader and leader.states() or nil, guards = guards and guards.save() or nil },
    "timers")
    .. state().pack(app.state, "app.state")
end)

---What app.state was given before the chunk ran; told from what the chunk has added.
local given = {}

---Runs before the chunk, and at the switch. There the values of the version before win over
---those that the new one has set on its way up, which may have names for the tables in it.
core.set_phase("restore", function(bytes)
  local host, at = state().unpack(bytes)
  old_version = host.version
  periodic.inherit(host.timers)
  if host.leases then require("lunats.leader").inherit(host.leases) end
  if host.guards then require("lunats.resilience").inherit(host.guards) end
  given = state().refill(app.state, state().unpack(bytes, at), given)
  if not core.loading() then given = {} end
end)

core.set_phase("reloaded", function()
  for _, fn in ipairs(reload_hooks) do
    local ok, caught = core.protect(fn, old_version)
    if not ok then report_hook("on_reload", caught) end
  end
end)

core.set_phase("describe", function(form) return require("lunats.inventory")(form) end)

-- ---- log ------------------------------------------------------------------

app.log = {}
for level, name in pairs { [0] = "debug", "info", "warn", "error" } do
  app.log[name] = function(message, fields) core.log(level, message, fields) end
end

-- ---- further connections ---------------------------------------------------

---A second connection, with the functions of `app` that send, listen and ask.
---@return connection|nil other, table|nil err
function app.connect(opts)
  return require "lunats.connect"(opts) -- loaded when first used: not every service needs it
end

-- ---- the table itself -----------------------------------------------------

os.exit = core.exit -- luacheck: ignore 122

local lazy = {
  name = function() return (core.identity()) end,
  version = function() return (select(2, core.identity())) end,
  instance_id = function() return (select(3, core.identity())) end,
}

---Loaded when first used: not every service needs it.
local late = { js = true, crypto = true, health = true, metrics = true, cache = true,
  http = true, tcp = true, thread = true }

return setmetatable(app, {
  __index = function(_, key)
    if lazy[key] then return lazy[key]() end
    if late[key] then
      local value = require("lunats." .. key)
      rawset(app, key, value)
      return value
    end
    if type(key) == "string" then core.missed(key, "app", app, late) end
  end,
})
