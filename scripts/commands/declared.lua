---What a script declares while it is loaded, with the lines where it does: for `lunats check`.
local core = require "lunats.core"
local json = require "lunats.json"

local M = {}

local timers, subscriptions, places, options = {}, {}, {}, {}
local leases, jobs = {}, {}
local description

---"file.lua:12" of the script's own code that is calling.
---@return string
function M.where()
  local level = 3
  while true do
    local info = debug.getinfo(level, "Sl")
    if not info then return "" end
    if info.what ~= "C" and not info.short_src:find "^lunats/" then
      return ("%s:%d"):format(info.short_src, info.currentline)
    end
    level = level + 1
  end
end

---Calls note(place, ...) before the function; a tail call, so that its errors point at the
---script.
function M.wrap(t, name, note)
  local original = t[name]
  t[name] = function(...)
    note(M.where(), ...)
    return original(...)
  end
end

local function text(value) return type(value) == "string" and value or nil end

---What a listener or subscription reads; nil: JSON, as usual.
local function content_type(opts)
  if opts.data_type == nil then return nil end
  local ok, name = pcall(require("lunats.codec").content_type, opts.data_type)
  return ok and name or nil -- else the function itself will say what is wrong
end

local function note_subscription(kind)
  return function(place, subject, opts)
    opts = type(opts) == "table" and opts or {}
    local config = type(opts.config) == "table" and opts.config or {}
    subscriptions[#subscriptions + 1] = {
      content_type = content_type(opts),
      kind = opts.ordered and "ordered" or kind, subject = text(subject), where = place,
      stream = text(opts.stream), queue = text(opts.queue),
      durable = text(opts.durable) or text(config.durable_name) or text(opts.queue),
    }
  end
end

local function note_periodic(kind)
  return function(place, first, opts)
    opts = kind == "timer" and opts or first
    opts = type(opts) == "table" and opts or {}
    timers[#timers + 1] = {
      kind = kind, where = place, name = text(opts.name),
      interval = tonumber(kind == "timer" and first or opts.interval),
      singleton = opts.singleton == true or nil,
    }
  end
end

local function note_lease(place, name, opts)
  opts = type(opts) == "table" and opts or {}
  leases[#leases + 1] = { name = text(name), ttl = tonumber(opts.ttl), where = place }
end

local function note_job(place, expression, opts)
  opts = type(opts) == "table" and opts or {}
  local name = text(opts.name)
    or text(expression) and require("lunats.cron").name_of(expression)
  jobs[#jobs + 1] = { expression = text(expression), zone = text(opts.zone), name = name,
    dead_letter = text(opts.dead_letter), where = place }
end

local function note_group(place, stream, name, opts)
  opts = type(opts) == "table" and opts or {}
  local subject = type(opts.subject) == "table" and opts.subject[1] or opts.subject
  subscriptions[#subscriptions + 1] = { kind = "group", subject = text(subject), where = place,
    content_type = content_type(opts), stream = text(stream), durable = text(name),
    partitions = math.tointeger(opts.partitions) }
end

---Listeners know where their handler is, which may be anywhere.
local function note_listener(place, subject, opts)
  opts = type(opts) == "table" and opts or {}
  for _ = 1, type(subject) == "table" and #subject or 1 do
    places[#places + 1], options[#options + 1] = place, opts
  end
end

local function note_config(_, opts)
  description = type(opts) == "table" and text(opts.description) or description
end

---The names of all globals, those of modules and of dofile() included; true when others come
---into being as they are asked for.
local function list_globals()
  local globals = core.globals()
  local meta = debug.getmetatable(globals)
  if meta and meta.__index then return true end
  local list = json.array {}
  for name in next, globals do
    if type(name) == "string" then list[#list + 1] = name end
  end
  return list
end

---@return string  JSON
local function list()
  local name, version = core.identity()
  local listeners = {}
  for i, one in ipairs(core.listeners()) do
    local opts = options[i] or {}
    listeners[i] = { subject = one.subject, queue = one.queue, where = places[i] or one.where,
      concurrency = one.concurrency, name = text(opts.name), content_type = content_type(opts),
      description = text(opts.description), schema = opts.schema,
      hidden = opts.endpoint == false or nil }
  end
  local http, routes = package.loaded["lunats.http.routes"], {}
  for i, one in ipairs(http and http.list() or {}) do
    routes[i] = { method = one.method, path = one.path, where = one.where }
  end
  return json.encode {
    name = name, version = version, description = description,
    listeners = json.array(listeners), routes = json.array(routes),
    timers = json.array(timers), leases = leases[1] and json.array(leases),
    jobs = jobs[1] and json.array(jobs), subscriptions = json.array(subscriptions),
    globals = list_globals(), service = core.declares(),
  }
end

---From now on declarations are noted; the script describes itself with them.
function M.watch()
  M.wrap(app, "config", note_config)
  M.wrap(app, "listen", note_listener)
  M.wrap(app, "timer", note_periodic "timer")
  M.wrap(app, "task", note_periodic "task")
  M.wrap(app, "leader", note_lease)
  M.wrap(app, "cron", note_job)
  M.wrap(app.js, "subscribe", note_subscription "push")
  M.wrap(app.js, "pull_subscribe", note_subscription "pull")
  M.wrap(app.js, "consumer_group", note_group)
  core.set_phase("describe", list)
end

return M
