---The table `app` of every script: declarations in Lua, everything hot in C ("lunats.core").
local core = require "lunats.core"
local json = require "lunats.json"
local check = require "lunats.check"
local fiber = require "lunats.fiber"
require "lunats.files"

-- The first error of a state makes the metatable of all errors. If it were one of the JSON
-- module, which knows no metamethod but __tostring, `"text" .. err` would fail from then on.
core.error("", "")

---@class app
local app = {
  publish = core.publish,
  request = core.request,
  request_many = core.request_many,
  flush = core.flush,
  sleep = core.sleep,
  now = core.now,
  spawn = fiber.spawn,
  timeout = fiber.timeout,
  mutex = require "lunats.mutex",
  json = json,
  ---Plain data that survives a hot reload.
  state = {},
}

---Options are optional and come before the function: f(x, fn) or f(x, opts, fn).
local function options_first(opts, fn)
  if fn == nil then return nil, opts end
  return opts, fn
end

-- ---- identity -------------------------------------------------------------

function app.config(opts)
  if type(opts) ~= "table" then error("app.config: the options must be a table", 2) end
  core.check("app.config", opts, { name = "string", version = "string" })
  core.configure(opts.name, opts.version)
  core.declare()
end

-- ---- hooks ----------------------------------------------------------------

local start_hooks, stop_hooks, reload_hooks, deferred = {}, {}, {}, {}

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

---fn(err, where) is called for each error that the log has of the script's own code.
app.on_error = require("lunats.watchers").add

---Runs fn right after the on_start hooks; in a running service at once. For declarations that
---have to wait for the server.
function core.defer_start(fn)
  core.declare()
  if core.loading() then
    deferred[#deferred + 1] = fn
  else
    fn()
  end
end

local function run_all(functions)
  for _, fn in ipairs(functions) do fn() end
end

core.set_phase("start", function()
  run_all(start_hooks)
  run_all(deferred)
end)

local function report_hook(kind, caught)
  local trace, err = core.caught(caught)
  core.report(("%s: %s"):format(kind, trace), { kind = kind }, err)
end

core.set_phase("stop", function()
  -- One hook that fails must not keep the others from cleaning up.
  local failed
  for _, fn in ipairs(stop_hooks) do
    local ok, caught = xpcall(fn, core.raised)
    if core.cancelled() then error(caught, 0) end
    if not ok then
      failed = true
      report_hook("on_stop", caught)
    end
  end
  if failed then error(core.error("on_stop", "an on_stop hook failed"), 0) end
end)

-- ---- timers and tasks -----------------------------------------------------

local periodic = require "lunats.periodic"
app.timer = periodic.timer
app.task = periodic.task
core.set_phase("run", periodic.start)

-- ---- reload ---------------------------------------------------------------

local old_version

---Loaded when there is a reload: a service starts without it.
local function state() return require "lunats.state" end

core.set_phase("save", function()
  local timers = periodic.phases()
  return state().pack({ version = app.version, timers = timers }, "timers")
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
  given = state().refill(app.state, state().unpack(bytes, at), given)
  if not core.loading() then given = {} end
end)

core.set_phase("reloaded", function()
  for _, fn in ipairs(reload_hooks) do
    local ok, caught = xpcall(fn, core.raised, old_version)
    if not ok then report_hook("on_reload", caught) end
  end
end)

-- ---- listeners ------------------------------------------------------------

local LISTEN_OPTIONS = {
  queue = "string|boolean", data_type = "string", concurrency = "number",
  pending = "number", name = "string",
}

---Handle of one app.listen(): several subjects are stopped together.
local handle = {}
handle.__index = handle

function handle:stop()
  for _, one in ipairs(self) do one:stop() end
end

local function check_queue(queue)
  if queue == true or type(queue) == "string" and (queue == "" or queue:find "[%s%c]") then
    error("app.listen: queue is false, or the name of a queue group (without blanks)", 3)
  end
end

function app.listen(subject, opts, fn)
  opts, fn = options_first(opts, fn)
  check.fn("app.listen", fn)
  opts = core.check("app.listen", opts, LISTEN_OPTIONS)
  check.whole("app.listen", "concurrency", opts.concurrency, 1)
  check.whole("app.listen", "pending", opts.pending, 1)
  check_queue(opts.queue)
  local subjects = type(subject) == "table" and subject or { subject }
  if #subjects == 0 then error("app.listen: no subject", 2) end
  core.declare()
  local listeners = setmetatable({}, handle)
  for _, one in ipairs(subjects) do core.check_pattern(one) end -- all of them, or none
  for i, one in ipairs(subjects) do
    local queue = opts.queue
    if queue == nil then queue = app.name .. ":" .. tostring(one) end
    listeners[i] = core.listen(one, {
      queue = queue or nil, data_type = opts.data_type, name = opts.name,
      concurrency = opts.concurrency, pending = opts.pending,
    }, fn)
  end
  return listeners
end

-- ---- log ------------------------------------------------------------------

app.log = {}
for level, name in pairs { [0] = "debug", "info", "warn", "error" } do
  app.log[name] = function(message, fields) core.log(level, message, fields) end
end

-- ---- nats -----------------------------------------------------------------

local nats = {
  status = core.nats_status,
  stats = core.nats_stats,
  server_info = core.nats_info,
}
app.nats = setmetatable(nats, {
  __index = function(_, key)
    local info = core.nats_info()
    if key == "connected_url" then return info.url end
    if key == "client_id" or key == "max_payload" then return info[key] end
  end,
})

---The time of one round trip to the server, in seconds.
function nats.rtt(timeout)
  local started = core.hrtime()
  local ok, err = core.flush(timeout)
  if not ok then return nil, err end
  return core.hrtime() - started
end

-- ---- the table itself -----------------------------------------------------

os.exit = core.exit -- luacheck: ignore 122

local lazy = {
  name = function() return (core.identity()) end,
  version = function() return (select(2, core.identity())) end,
  instance_id = function() return (select(3, core.identity())) end,
}

return setmetatable(app, {
  __index = function(_, key)
    if lazy[key] then return lazy[key]() end
    if key == "js" then -- loaded when first used: not every service needs it
      local js = require "lunats.js"
      rawset(app, "js", js)
      return js
    end
    if key == "crypto" then
      local crypto = require "lunats.crypto"
      rawset(app, "crypto", crypto)
      return crypto
    end
  end,
})
