---What a connection can do, for `app` and for what app.connect returns: the same functions over
---a core that works for the one or the other.
local core_of_app = require "lunats.core"
local around = require "lunats.around"
local check = require "lunats.check"
local keys = require "lunats.key"
local service = require "lunats.service"

local M = {
  ---The core of each further connection, with its name: for those who list what runs.
  ---@type table<table, string>
  all = setmetatable({}, { __mode = "k" }),
}

---Options are optional and come before the function: f(x, fn) or f(x, opts, fn).
local function options_first(opts, fn)
  if fn == nil then return nil, opts end
  return opts, fn
end

-- ---- listeners ------------------------------------------------------------

local LISTEN_OPTIONS = {
  queue = "string|boolean", data_type = "string|table", concurrency = "number",
  pending = "number", pending_bytes = "number", name = "string", endpoint = "boolean",
  description = "string", metadata = "table", schema = "table", key = "function|string",
  retry = "table|boolean", breaker = "table|boolean", rate = "table|number|boolean",
  bulkhead = "table|number|boolean",
}

---Handlers of a listener that run at once, where nothing is said.
local CONCURRENCY = 256

---The request of each request_many: both share what belongs to a name.
---@type table<function, function>
local request_of = setmetatable({}, { __mode = "k" })

---What requests with these options pass is loaded by the first one: not every service has them.
core_of_app.on_guarded(function(send, subject, data, opts)
  local one = request_of[send]
  return require("lunats.resilience").request(send, one or send, subject, data, opts,
    one ~= nil)
end)

local function guarded(opts)
  return opts.retry ~= nil or opts.breaker ~= nil or opts.rate ~= nil or opts.bulkhead ~= nil
end

---Handle of one app.listen(): several subjects are stopped together.
local handle = {}

function handle:stop()
  for _, one in ipairs(self) do one:stop() end
end

---The queue group of a listener, nil for none.
local function queue_of(core, subject, queue)
  if queue == nil then queue = service.queue end
  if queue == nil then queue = core.identity() .. ":" .. tostring(subject) end
  return queue or nil
end

local function listen(core, subject, opts, fn)
  opts, fn = options_first(opts, fn)
  check.fn("app.listen", fn)
  opts = core.check("app.listen", opts, LISTEN_OPTIONS)
  check.whole("app.listen", "concurrency", opts.concurrency, 1)
  check.whole("app.listen", "pending", opts.pending, 1)
  check.whole("app.listen", "pending_bytes", opts.pending_bytes, 1)
  service.check_queue("app.listen", opts.queue)
  keys.check("app.listen", opts.key)
  local facts = { description = opts.description }
  local handler = around.handler("listen", fn)
  if opts.schema then
    handler = require "lunats.validate".handler("app.listen", opts.schema, handler, facts)
  end
  local metadata = service.metadata("app.listen", opts.metadata, facts)
  local subjects = type(subject) == "table" and subject or { subject }
  if #subjects == 0 then error("app.listen: no subject", 2) end
  if guarded(opts) then
    handler = require "lunats.resilience".handler("app.listen", opts, handler,
      opts.name or tostring(subjects[1]), (opts.concurrency or CONCURRENCY) * #subjects)
  end
  local key, keyless = keys.functions(opts.key)
  core.declare()
  local listeners = setmetatable({}, handle)
  for _, one in ipairs(subjects) do core.check_pattern(one) end -- all of them, or none
  for i, one in ipairs(subjects) do
    listeners[i] = core.listen(one, {
      queue = queue_of(core, one, opts.queue), data_type = opts.data_type, name = opts.name,
      concurrency = opts.concurrency, pending = opts.pending,
      pending_bytes = opts.pending_bytes, metadata = metadata,
      hidden = opts.endpoint == false or nil, key = key, keyless = keyless,
    }, handler, fn)
  end
  return listeners
end

-- ---- facts ----------------------------------------------------------------

---@return nats
local function nats_of(core)
  local nats = {
    status = core.nats_status,
    stats = core.nats_stats,
    server_info = core.nats_info,
  }

  ---The time of one round trip to the server, in seconds.
  function nats.rtt(timeout)
    local started = core.hrtime()
    local ok, err = core.flush(timeout)
    if not ok then return nil, err end
    return core.hrtime() - started
  end

  return setmetatable(nats, {
    __index = function(_, key)
      local info = core.nats_info()
      if key == "connected_url" then return info.url end
      if key == "client_id" or key == "max_payload" then return info[key] end
    end,
  })
end

---Adds them to `t`.
---@param core table its functions for one connection, and all others
function M.add(t, core)
  t.publish, t.request, t.request_many = core.publish, core.request, core.request_many
  request_of[core.request_many] = core.request
  t.flush, t.nats = core.flush, nats_of(core)
  -- A tail call, so that errors blame the script.
  function t.listen(subject, opts, fn) return listen(core, subject, opts, fn) end
  function t.group(prefix, opts)
    local group = service.group(prefix, opts, t.listen)
    return group
  end
  return around.sender(t, "app")
end

check.class("listener", handle)

-- Loaded when first used: not every service needs it.
require "lunats.core".codecs(function(name) return require "lunats.codec"[name] end)

return M
