---Push subscriptions: app.js.subscribe().
local core = require "lunats.core"
local around = require "lunats.around"
local check = require "lunats.check"
local active = require "lunats.js.active"
local api = require "lunats.js.api"
local consume = require "lunats.js.consume"
local consumers = require "lunats.js.consumers"
local errors = require "lunats.js.errors"
local generation = require "lunats.js.generation"
local keys = require "lunats.key"
local ordered = require "lunats.js.push_ordered"
local silence = require "lunats.js.silence"

local M = {
  ---Seconds between two looks at the consumer: a server sends nothing to tell that it is gone.
  check_interval = 10,
  ---The same while it is gone or silent: its return is noticed soon.
  gone_interval = 2,
  ---Seconds until a failed message comes again.
  nak_delay = 1,
}

---How long a durable consumer may still be bound to its last subscriber, who is just leaving.
local BOUND_RETRIES = { 0.1, 0.2, 0.4, 0.8 }

---Seconds between two heartbeats of a consumer that we make; after twice as long a silence it
---is looked at. A queue group has none: a random member would get them.
local HEARTBEAT = 5

---Handlers at once, messages that wait for one.
local CONCURRENCY, PENDING = 256, 65536

---@class jsub
---@field stream string|nil known when it is bound
---@field consumer string|nil the same, unless it is durable
local jsub = {}

-- ---- the consumer that is there -----------------------------------------------

---Is the existing consumer the one that this subscription means?
local function check_bound(self, info)
  local config = info.config
  local function wrong(text, ...)
    return nil, api.failure("jetstream", "%s " .. text, consumers.describe(self), ...)
  end
  if not config.deliver_subject then
    return wrong "is a pull consumer: use app.js.pull_subscribe"
  end
  if config.deliver_group ~= self.queue then
    return wrong("has the queue group %s, not %s", config.deliver_group or "(none)",
      self.queue or "(none)")
  end
  return consumers.check_filter(info, self.subject)
end

---Waits until nobody else is bound to a durable consumer without a queue group.
local function wait_unbound(self, info)
  for _, delay in ipairs(BOUND_RETRIES) do
    if self.queue or not info.push_bound then return info end
    -- A version of this service that is being replaced: its subscription is handed over.
    if core.js_taken_over(self.stream .. "." .. self.consumer) then return info end
    core.sleep(delay)
    local err
    info, err = consumers.info(self.stream, self.consumer)
    if not info then return nil, err end
  end
  if not info.push_bound then return info end
  return nil, api.failure("jetstream", "%s has a subscriber already: use another durable name, "
    .. "or a queue to share the messages", consumers.describe(self))
end

---Members of queue groups in this script. There is one: its concurrency can be raised.
local groups = {}

---Takes the place of this script in the queue group.
local function join(self)
  if not self.queue then return true end
  local group = self.stream .. "." .. self.consumer
  if groups[group] then
    return core.fail(api.failure("jetstream", "this service has a subscriber in the queue "
      .. "group '%s' already: raise its concurrency instead", self.queue))
  end
  groups[group], self.group = self, group
  return true
end

local function leave(self)
  if self.group then groups[self.group] = nil end
  self.group = nil
end

-- ---- making it, and making it again ---------------------------------------------

local function declared(self, deliver_subject)
  local fields = consumers.declared(self)
  fields.deliver_subject = deliver_subject
  fields.deliver_group = self.queue
  -- The server waits for handlers that are slow, instead of flooding us.
  if not self.queue and not self.old then
    fields.idle_heartbeat = self.heartbeat or fields.idle_heartbeat or HEARTBEAT
    if fields.flow_control == nil then fields.flow_control = true end
  end
  return fields
end

local function create(self, deliver_subject)
  local info, err = consumers.create(self.stream, declared(self, deliver_subject))
  if not info then return nil, err end
  self.created = true
  return info
end

---Creates a consumer that is gone, deleted, or lost with the memory of a server. What was
---acknowledged is not delivered again, unless that would change what the script declares. One
---that the script has only found is made in a stream that was made again, as a start would.
local function create_again(self)
  return generation.create_again(self, function(anew)
    if not (self.created or anew) then
      return nil, api.failure("consumer_lost", "nobody has made it again")
    end
    local fields = declared(self, self.deliver)
    if anew and not (self.durable and self.config) then generation.begin_anew(fields) end
    if self.floor and not (self.durable and self.config) then
      consumers.start_after(fields, self.floor)
    end
    return consumers.create(self.stream, fields)
  end)
end

local function bind(self, info)
  local ok, err = check_bound(self, info)
  if not ok then return nil, err end
  info, err = wait_unbound(self, info)
  if not info or not self.config then return info, err end
  self.old = true -- heartbeats and flow control cannot be changed any more
  info, err = create(self, info.config.deliver_subject)
  self.old = nil
  return info, err
end

---Where a new consumer delivers. Instances of a queue group that start at the same moment must
---come to the same subject, whoever creates the consumer.
local function deliver_subject_of(self)
  if self.config and self.config.deliver_subject then return self.config.deliver_subject end
  local inbox = core.new_inbox()
  if not self.queue then return inbox end
  return ("%s.js.%s.%s"):format(inbox:match "^(.*)%.", self.stream, self.consumer)
end

-- ---- messages -------------------------------------------------------------------

local function failed(self, msg, why)
  if self.manual_ack or self.no_ack then return consume.tell_failed(self, msg, why) end
  consume.retry(self, msg, why, M.nak_delay)
end

local function limits_of(self, info)
  local most = info.config.max_deliver
  self.max_deliver = most and most > 0 and most or nil
  return { heartbeat = info.config.idle_heartbeat or 0, ack_wait = consume.ack_wait(info) }
end

local lost

---Subscribes to what the consumer delivers.
local function open(self, info)
  self.deliver, self.limits = info.config.deliver_subject, limits_of(self, info)
  self.no_ack = info.config.ack_policy == "none"
  self.reader = self.reader
    or core.js_reader(self.stream, self.consumer, self.durable, api.prefix)
  local key, keyless = keys.functions(self.key)
  self.box = core.js_consume(self.stream, self.consumer, api.prefix, {
    key = key, keyless = keyless,
    deliver = self.deliver, queue = self.queue, max_messages = 1,
    concurrency = self.concurrency or CONCURRENCY, pending = self.pending or PENDING,
    pending_bytes = self.pending_bytes, heartbeat = self.limits.heartbeat,
    ack_wait = self.limits.ack_wait,
    data_type = self.data_type, auto_ack = not (self.manual_ack or self.no_ack),
    reader = self.reader,
  }, self.fn, function(msg, why) failed(self, msg, why) end,
    function(why, silent) lost(self, why, silent) end)
end

-- ---- looking after it -------------------------------------------------------------

---Somebody may have changed the consumer, or made it again.
local function adopt(self, info)
  local limits = limits_of(self, info)
  if info.created ~= self.made then
    if self.made then self.generation:replaced(0) end -- the log tells
    self.made = info.created
  end
  self.floor = consumers.floor(info)
  if info.config.deliver_subject ~= self.deliver and (self.queue or not info.push_bound) then
    self.box:stop(true)
    open(self, info)
  elseif limits.ack_wait ~= self.limits.ack_wait
    or limits.heartbeat ~= self.limits.heartbeat then
    self.limits = limits
    self.box:set_limits(limits)
  end
end

---What a watcher of errors is told of it.
local function facts_of(self)
  return { kind = "consume", name = self.name or self.consumer, stream = self.stream }
end

---Looks at the consumer, and makes it again.
---@return true|nil ok, table|nil err
local function look(self)
  local info, err = consumers.info(self.stream, self.consumer)
  if not info and err.err_code == errors.CONSUMER_NOT_FOUND then
    info, err = create_again(self)
    if info then self.made = info.created end
  end
  if not info then return nil, err end
  if not self.stopped then adopt(self, info) end
  return true
end

---What does not pass with the connection.
local GONE = { not_found = true, jetstream = true, consumer_lost = true, unsupported = true }

---@param silent boolean|nil  heartbeats are missing
local function look_after(self, silent)
  if self.looking then return end
  self.looking = true
  local ok, err = look(self)
  self.looking = nil
  self.well = ok
  if ok then
    self.failures = 0
    if silent then
      silence.known(self)
    elseif not self.quiet then
      self.reader:set "ok"
    end
    return
  end
  self.hurry = true -- watch() looks again, sooner than it thought
  if self.alarm then self.alarm:ring() end
  if not GONE[err.code] then
    self.reader:set("silent", err.message)
  elseif not self.stopped then
    self.reader:set("missing", err.message)
    self.failures = self.failures + 1
    -- At the first time another instance may just have been faster.
    if self.failures == 2 then
      core.report(("app.js.subscribe: %s is gone: %s"):format(consumers.describe(self),
        err.message), facts_of(self), err)
    end
  end
end

---Heartbeats are missing, or the server does not let us subscribe.
function lost(self, why, silent)
  local box = self.box
  if silent then
    look_after(self, true)
    return box:resume()
  end
  box:stop(true)
  core.report(("app.js.subscribe: %s is not read any more: %s"):format(
    consumers.describe(self), why.message), facts_of(self), why)
end

---Runs in the background for as long as the subscription lasts.
local function watch(self)
  while not self.stopped and core.nats_status() ~= "closed" do
    local most = self.well == nil and M.gone_interval or math.huge
    self.hurry = nil
    self.alarm:sleep(math.min(most, M.check_interval))
    if not self.stopped and not self.hurry then look_after(self) end
  end
end

-- ---- life ---------------------------------------------------------------------------

---@return table|nil info, table|nil err
local function find_or_create(self)
  local ok, err = join(self)
  if not ok then return nil, err end
  self.generation, err = generation.of(self.stream)
  if not self.generation then return nil, err end
  local info
  if self.durable then info, err = consumers.info(self.stream, self.consumer) end
  if info then return bind(self, info) end
  if err and err.err_code ~= errors.CONSUMER_NOT_FOUND then return nil, err end
  return create(self, deliver_subject_of(self))
end

local function start(self)
  self.consumer = self.consumer or consumers.new_name()
  local info, err
  if not self.stream then
    self.stream, err = api.find_stream(self.subject)
    if not self.stream then return nil, err end
  end
  info, err = find_or_create(self)
  if info and self.key then
    local ok
    ok, err = consume.check_key(self, info)
    info = ok and info
  end
  if not info then
    leave(self)
    return nil, err
  end
  self.generation:tell_foreign(self.subject)
  self.made, self.floor, self.failures = info.created, consumers.floor(info), 0
  self.well = true
  open(self, info)
  active.add(self, "push")
  if self.stopped then
    self.stopped = nil
    self:stop()
  else
    self.alarm = core.alarm()
    core.background(watch, self)
  end
  return self
end

---@return table|nil info, table|nil err
function jsub:info()
  if not self.box or self.stopped then
    return core.fail(core.error("closed", "the subscription is not active"))
  end
  return consumers.info(self.stream, self.consumer)
end

---Ends the subscription: messages that have arrived are handled. The consumer stays, unless it
---has no durable name.
function jsub:stop()
  if self.stopped then return end
  self.stopped = true
  leave(self)
  if not self.box then return end
  self.reader:close()
  self.box:stop(true)
  if self.alarm then self.alarm:ring() end
  if not self.durable then consumers.forget(self.stream, self.consumer) end
end

local OPTIONS = { durable = "string", stream = "string", queue = "string",
  manual_ack = "boolean", data_type = "string|table", concurrency = "number",
  pending = "number", pending_bytes = "number", name = "string", config = "table",
  ordered = "boolean", heartbeat = "number", on_error = "function", key = "function|string" }

-- ---- the call -----------------------------------------------------------------------

local function check_options(subject, opts)
  local what = "app.js.subscribe"
  opts = core.check(what, opts, OPTIONS)
  if type(subject) ~= "string" and not (opts.stream and subject == nil) then
    error(what .. ": the subject must be a string", 3)
  end
  for _, name in ipairs { "durable", "stream", "queue" } do
    if opts[name] then api.check_name(opts[name], what .. ": " .. name, 2) end
  end
  for _, name in ipairs { "concurrency", "pending", "pending_bytes" } do
    check.whole(what, name, opts[name], 1)
  end
  keys.check(what, opts.key)
  if opts.config then api.to_wire(what, "consumer", opts.config, 2) end
  if opts.data_type then require "lunats.codec".of(opts.data_type, what) end
  if opts.on_error and not opts.ordered then
    error(what .. ": 'on_error' goes with 'ordered' only", 3)
  end
  if opts.heartbeat and (opts.queue or opts.config and opts.config.deliver_group) then
    error(what .. ": no 'heartbeat' with a queue: a random member would get them", 3)
  end
  if opts.heartbeat and not (opts.heartbeat >= 0.1) then -- luacheck: ignore 581
    error(what .. ": heartbeat must be 0.1 seconds or more", 3)
  end
  for name, why in pairs(opts.ordered and ordered.EXCLUDED or {}) do
    if opts[name] then error(("%s: no '%s' with 'ordered': %s"):format(what, name, why), 3) end
  end
  return opts
end

local function new_push(subject, opts, fn)
  local config = opts.config or {}
  local queue = opts.queue or config.deliver_group
  -- The members of a queue group share one consumer, so it needs a name that they all know.
  local durable = opts.durable or config.durable_name or queue
  return setmetatable({
    subject = subject ~= "" and subject or nil, stream = opts.stream, queue = queue,
    durable = durable ~= nil, consumer = durable or config.name,
    config = opts.config, manual_ack = opts.manual_ack, data_type = opts.data_type,
    concurrency = opts.concurrency, pending = opts.pending, pending_bytes = opts.pending_bytes,
    name = opts.name, fn = fn, heartbeat = opts.heartbeat, key = opts.key,
  }, jsub)
end

---Calls fn for each message that the server pushes. At the top level of a script the
---subscription is made during the start, which fails if it cannot be made.
---@param subject string|nil
---@param opts table|nil
---@param fn fun(msg: msg)
---@return jsub|nil, table|nil err
function M.subscribe(subject, opts, fn)
  if fn == nil then opts, fn = nil, opts end
  check.fn("app.js.subscribe", fn)
  opts = check_options(subject, opts)
  fn = around.handler("js", fn)
  local start_it = opts.ordered and ordered.start or start
  local self = (opts.ordered and ordered.new or new_push)(subject, opts, fn)
  if not core.loading() then return start_it(self) end
  local place = core.place()
  core.defer_start(function()
    if self.stopped then return end
    local ok, err = start_it(self)
    if not ok then
      error(("%sapp.js.subscribe(%q): %s"):format(place, subject or self.stream,
        err.message), 0)
    end
  end)
  return self
end

check.class("subscription", jsub)

return M
