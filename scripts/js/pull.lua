---Pull subscriptions: psub:fetch() and what keeps its consumer alive.
local core = require "lunats.core"
local around = require "lunats.around"
local check = require "lunats.check"
local api = require "lunats.js.api"
local consume = require "lunats.js.consume"
local consumers = require "lunats.js.consumers"
local errors = require "lunats.js.errors"
local generation = require "lunats.js.generation"
local groups = require "lunats.js.group"

local M = {}

---@class psub
---@field stream string|nil known after the first use
---@field consumer string|nil the same, unless it is durable
---@field unwatched boolean|nil nobody changes its consumer, so nobody looks at it
---@field sole boolean|nil nobody else reads from its consumer
---@field lease userdata|nil of core.js_lease(): messages are asked for as long as it holds
---@field strip boolean|nil handlers do not see the first token of subjects
---@field floor integer|nil up to that sequence of the stream all is acknowledged
local psub = {}

local function create(self, fields)
  local info, err = consumers.create(self.stream, fields or consumers.declared(self))
  if not info then return nil, err end
  self.created = true
  self.floor = self.floor or consumers.floor(info)
  return info
end

---Makes a consumer again that was not found. A nameless one goes on after the messages that
---were acknowledged, a durable one is made as it was declared. One that was only found is made
---in a stream that was made again, as at the first use.
---@param err table what the server said when it was looked for
---@return table|nil info, table|nil err
local function create_again(self, err)
  return generation.create_again(self, function(anew)
    if not (self.created or self.config or anew) then
      return nil, consumers.lost_error(self, err)
    end
    local fields = consumers.declared(self)
    if anew and not (self.durable and self.config) then generation.begin_anew(fields) end
    if not self.durable and self.floor then consumers.start_after(fields, self.floor) end
    return create(self, fields)
  end)
end

---Binds to a durable consumer that is there already; creates all others.
local function find_or_create(self)
  if not self.durable or self.config then return create(self) end
  local info, err = consumers.info(self.stream, self.consumer)
  if not info then
    if err.err_code == errors.CONSUMER_NOT_FOUND then return create(self) end
    return nil, err
  end
  local ok
  ok, err = consumers.check_filter(info, self.subject)
  if not ok then return nil, err end
  return info
end

---What the consumer allows in a request; somebody may change it.
---@return boolean changed
local function take_limits(self, info)
  local changed = false
  for _, name in ipairs { "max_batch", "max_expires", "max_bytes" } do
    local limit = info.config[name]
    if limit and limit <= 0 then limit = nil end
    changed, self[name] = changed or self[name] ~= limit, limit
  end
  return changed
end

---The smaller one of what is wanted and what is allowed.
local function at_most(wanted, limit)
  return wanted and limit and math.min(wanted, limit) or wanted
end

---Finds stream and consumer when first used. Several fibers may be in here at once: they all do
---the same, and the pull of the first one is kept.
---@return userdata|nil pull, table|nil err
local function resolve(self, afresh)
  if self.pull and not afresh then return self.pull end
  if self.stopped then
    return core.fail(core.error("closed", "the pull subscription was stopped"))
  end
  self.consumer = self.consumer or consumers.new_name()
  local err
  if not self.stream then
    local stream
    stream, err = api.find_stream(self.subject)
    if not stream then return nil, err end
    self.stream = stream
  end
  if not self.generation then
    self.generation, err = generation.of(self.stream)
    if not self.generation then return nil, err end
  end
  local info
  info, err = find_or_create(self)
  if not info then return nil, err end
  self.generation:tell_foreign(self.subject)
  if info.config.deliver_subject then
    return nil, api.failure("jetstream", "%s is a push consumer: use app.js.subscribe",
      consumers.describe(self))
  end
  take_limits(self, info)
  self.groups = info.config.priority_groups
  if self.stopped then return nil, core.error("closed", "the pull subscription was stopped") end
  self.reader = self.reader
    or core.js_reader(self.stream, self.consumer, self.durable, api.prefix)
  self.pull = self.pull or core.js_pull(self.stream, self.consumer, api.prefix)
  return self.pull, nil, info
end

---A fetch heard that the consumer is gone, or nothing at all. Returns true when it is there
---(again) and the fetch may go on.
local function revive(self, lost)
  local info, err = consumers.info(self.stream, self.consumer)
  if info then
    local changed = take_limits(self, info)
    if lost.silent and (changed or lost.code == "consumer_lost") then return true end
    return nil, lost
  end
  if err.err_code == errors.CONSUMER_NOT_FOUND then
    info, err = create_again(self, err)
    if info then return true end
    return nil, err
  end
  if err.code ~= "not_found" then return nil, err end
  return nil, consumers.lost_error(self, err)
end

local FETCH_OPTIONS = groups.add_to { timeout = "number", no_wait = "boolean",
  max_bytes = "number", heartbeat = "number", data_type = "string|table" }

---Above this the server's memory is the limit, not the batch.
local MOST = 1000000

---math.huge: none.
local function bound(bytes)
  if bytes ~= math.huge then return bytes end
end

local function check_fetch(n, opts)
  check.whole("psub:fetch", "the number of messages", n, 1, MOST)
  opts = core.check("psub:fetch", opts, FETCH_OPTIONS)
  local timeout = opts.timeout or 1
  if timeout <= 0 or timeout ~= timeout then
    error("psub:fetch: timeout must be a number of seconds greater than 0", 3)
  end
  check.whole("psub:fetch", "max_bytes", bound(opts.max_bytes), 1)
  return opts, groups.check("psub:fetch", opts, 2)
end

---Fetches up to n messages: waits until all n are there or the time is up.
---@param n integer|nil default 1
---@param opts table|nil
---@return msg[]|nil messages, table|nil err
function psub:fetch(n, opts)
  n = n or 1
  local group
  opts, group = check_fetch(n, opts)
  -- One that does not wait is answered at once; the time-out is for a silent server.
  local timeout = opts.timeout or (opts.no_wait and 2 or 5)
  local until_ = core.clock() + timeout
  local pull, err = resolve(self)
  if not pull then return nil, err end
  group, err = groups.of(self, group)
  if err then return nil, err end
  local left = timeout
  repeat
    local list
    list, err = pull:fetch(at_most(n, self.max_batch), left, opts.no_wait,
      at_most(bound(opts.max_bytes), self.max_bytes), opts.heartbeat, self.max_expires,
      opts.data_type, group, self.max_bytes)
    if list then
      if #list > 0 then self.reader:heard() end
      return list
    end
    if err.code ~= "consumer_lost" and not err.silent then return nil, err end
    local alive
    alive, err = revive(self, err)
    if not alive then return nil, err end
    left = until_ - core.clock()
  until left < 0.02
  return {}
end

local function start_consume(self, handle, fn)
  local pull, err, info = resolve(self, true)
  if not pull then return nil, err end
  if handle.stop_wanted then return handle end
  function handle.create_again(lost) return create_again(self, lost) end
  return consume.start(handle, self, info, fn)
end

---Calls fn for each message, for as long as the subscription lasts: acknowledges after success,
---asks for redelivery after an error. At the top level of a script it begins with the start,
---which fails if it cannot begin.
---@param opts table|nil
---@param fn fun(msg: msg): any, any
---@return consume|nil handle, table|nil err
function psub:consume(opts, fn)
  if fn == nil then opts, fn = nil, opts end
  local handle = consume.new(consume.check(opts, fn))
  fn = around.handler("js", fn)
  self.consumes[handle] = true
  if not core.loading() then return start_consume(self, handle, fn) end
  local place = core.place()
  core.defer_start(function()
    local ok, err = start_consume(self, handle, fn)
    if not ok then
      error(("%spsub:consume of %q: %s"):format(place, self.subject or self.stream,
        err.message), 0)
    end
  end)
  return handle
end

---@return table|nil info, table|nil err
function psub:info()
  local pull, err = resolve(self)
  if not pull then return nil, err end
  return consumers.info(self.stream, self.consumer)
end

---The last acknowledgements shall find their consumer.
local function forget_later(self)
  for handle in pairs(self.consumes) do
    while not handle:closed() do core.sleep(0.05) end
  end
  consumers.forget(self.stream, self.consumer)
end

---Ends the subscription: a fetch that waits returns nil, err; consuming stops, running handlers
---finish. The consumer stays, unless it has no durable name.
function psub:stop()
  if self.stopped then return end
  self.stopped = true
  for handle in pairs(self.consumes) do handle:stop() end
  if self.pull then self.pull:close() end
  if self.reader then self.reader:close() end
  self.pull = nil
  if not self.created or self.durable then return end
  if next(self.consumes) then
    core.background(forget_later, self)
  else
    consumers.forget(self.stream, self.consumer)
  end
end

local SUBSCRIBE_OPTIONS = groups.add_to { durable = "string", stream = "string",
  config = "table" }

---@param subject string|nil may be left out with `stream` and `durable`
---@param opts table|nil
---@return psub
function M.subscribe(subject, opts)
  opts = core.check("app.js.pull_subscribe", opts, SUBSCRIBE_OPTIONS)
  local config = opts.config
  local durable = opts.durable or config and config.durable_name
  local name = durable or config and config.name
  if name then api.check_name(name, "app.js.pull_subscribe: durable") end
  if opts.stream then api.check_name(opts.stream, "app.js.pull_subscribe: stream") end
  if subject == "" then subject = nil end
  if subject ~= nil and type(subject) ~= "string" then
    error("app.js.pull_subscribe: the subject must be a string", 2)
  end
  if not subject and not opts.stream then
    error("app.js.pull_subscribe: a subject or the option 'stream' is needed", 2)
  end
  if config then
    if config.deliver_subject then
      error("app.js.pull_subscribe: a consumer with deliver_subject pushes: use "
        .. "app.js.subscribe", 2)
    end
    api.to_wire("app.js.pull_subscribe", "consumer", config)
  end
  return setmetatable({
    subject = subject,
    stream = opts.stream,
    durable = durable ~= nil,
    consumer = name,
    config = config,
    group = groups.check("app.js.pull_subscribe", opts),
    consumes = setmetatable({}, { __mode = "k" }),
  }, psub)
end

check.class("psub", psub)

return M
