---Push subscriptions: app.js.subscribe().
local core = require "lunats.core"
local check = require "lunats.check"
local api = require "lunats.js.api"
local consumers = require "lunats.js.consumers"
local errors = require "lunats.js.errors"
local generation = require "lunats.js.generation"
local ordered = require "lunats.js.ordered"

local M = {
  ---Seconds between two looks at the consumer: a server sends nothing to tell that it is gone.
  check_interval = 10,
}

---How long a durable consumer may still be bound to its last subscriber, who is just leaving.
local BOUND_RETRIES = { 0.1, 0.2, 0.4, 0.8 }

---Seconds between two heartbeats of a consumer that we make; after twice as long a silence it
---is looked at. A queue group has none: a random member would get them.
local HEARTBEAT = 5

---@class jsub
---@field stream string|nil known when it is bound
---@field consumer string|nil the same, unless it is durable
local jsub = {}
jsub.__index = jsub

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
    if core.takes_over(info.config.deliver_subject) then return info end
    core.sleep(delay)
    local err
    info, err = consumers.info(self.stream, self.consumer)
    if not info then return nil, err end
  end
  if not info.push_bound then return info end
  return nil, api.failure("jetstream", "%s has a subscriber already: use another durable name, "
    .. "or a queue to share the messages", consumers.describe(self))
end

---Queue groups of this script. Listeners with the same subject and queue share a subscription
---and are all called, which is not what members of a queue group expect.
local groups = {}

local function listen(self, deliver_subject, ack_policy)
  local manual = self.manual_ack or ack_policy == "none"
  self.listening = deliver_subject
  self.listener = core.listen(deliver_subject, {
    queue = self.queue, concurrency = self.concurrency, pending = self.pending,
    name = self.name, data_type = self.data_type, settle = manual and "manual" or "auto",
    consumer = self.stream .. "." .. self.consumer,
  }, self.fn)
end

local function stop_listener(self)
  if self.listener then self.listener:stop() end
  self.listener = nil
  if self.group and groups[self.group] == self then groups[self.group] = nil end
end

---Takes the place of this script in the queue group.
local function join(self)
  if not self.queue then return true end
  self.group = self.stream .. "." .. self.consumer
  if groups[self.group] then
    return nil, api.failure("jetstream", "this service has a subscriber in the queue group "
      .. "'%s' already: raise its concurrency instead", self.queue)
  end
  groups[self.group] = self
  return true
end

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

---The subscription comes first: the server delivers as soon as the consumer is there.
local function create(self, deliver_subject)
  local fields = declared(self, deliver_subject)
  self.deliver_subject = deliver_subject
  listen(self, deliver_subject, fields.ack_policy)
  local info, err = consumers.create(self.stream, fields)
  if info then return info end
  stop_listener(self)
  return nil, err
end

---Messages and heartbeats that have come so far.
local function received(self)
  for _, one in ipairs(core.listeners()) do
    if one.subject == self.listening and one.queue == self.queue then return one.received end
  end
end

---Whether heartbeats are missing. Those that wait behind busy handlers do not count, so this is
---a reason to look at the consumer and no more.
local function is_silent(self)
  local count = received(self)
  local silent = count == self.heard
  self.heard = count
  return silent
end

---Creates a consumer that is gone, deleted, or lost with the memory of a server. What was
---acknowledged is not delivered again, unless that would change what the script declares. One
---that the script has only found is made in a stream that was made again, as a start would.
local function create_again(self)
  return generation.create_again(self, function(anew)
    if not (self.deliver_subject or anew) then
      return nil, api.failure("consumer_lost", "nobody has made it again")
    end
    local fields = declared(self, self.deliver_subject or self.listening)
    if anew and not (self.durable and self.config) then generation.begin_anew(fields) end
    if self.floor > 0 and not (self.durable and self.config) then
      consumers.start_after(fields, self.floor)
    end
    return consumers.create(self.stream, fields)
  end)
end

---Looks at the consumer, and makes it again.
---@return true|nil ok, table|nil err
local function look(self)
  local info, err = consumers.info(self.stream, self.consumer)
  if info and info.created ~= self.made then -- again, by somebody else
    self.generation:replaced(0)
  end
  if not info and err.err_code == errors.CONSUMER_NOT_FOUND then
    info, err = create_again(self)
  end
  if not info then return nil, err end
  self.made, self.floor = info.created, info.ack_floor.stream_seq
  return true
end

---What does not pass with the connection.
local GONE = { not_found = true, jetstream = true, consumer_lost = true, unsupported = true }

---Runs in the background for as long as the subscription lasts.
local function watch(self)
  local failures, elapsed = 0, 0
  local beat = self.beat and 2 * self.beat
  while true do
    local pause = math.min(beat or M.check_interval, M.check_interval)
    repeat
      core.sleep(pause)
      if self.stopped then return end
      elapsed = elapsed + pause
    until elapsed >= M.check_interval or beat and is_silent(self)
    elapsed = 0
    local ok, err = look(self)
    if self.stopped then return end
    if ok then
      failures = 0
    elseif GONE[err.code] then
      failures = failures + 1
      -- At the first time another instance may just have been faster.
      if failures == 2 then
        core.report(("app.js.subscribe: %s is gone: %s"):format(consumers.describe(self),
          err.message))
      end
    end
  end
end

local function bind(self, info)
  local ok, err = check_bound(self, info)
  if not ok then return nil, err end
  info, err = wait_unbound(self, info)
  if not info then return nil, err end
  if self.config then
    self.old = true -- heartbeats and flow control cannot be changed any more
    info, err = create(self, info.config.deliver_subject)
    self.old = nil
    return info, err
  end
  listen(self, info.config.deliver_subject, info.config.ack_policy)
  return info
end

---Where a new consumer delivers. Instances of a queue group that start at the same moment must
---come to the same subject, whoever creates the consumer.
local function deliver_subject_of(self)
  if self.config and self.config.deliver_subject then return self.config.deliver_subject end
  local inbox = core.new_inbox()
  if not self.queue then return inbox end
  return ("%s.js.%s.%s"):format(inbox:match "^(.*)%.", self.stream, self.consumer)
end

local function start(self)
  self.consumer = self.consumer or consumers.new_name()
  local err
  if not self.stream then
    self.stream, err = api.find_stream(self.subject)
    if not self.stream then return nil, err end
  end
  local ok
  ok, err = join(self)
  if not ok then return nil, err end
  self.generation, err = generation.of(self.stream)
  if not self.generation then
    stop_listener(self)
    return nil, err
  end
  local info
  if self.durable then info, err = consumers.info(self.stream, self.consumer) end
  if info then
    info, err = bind(self, info)
  elseif not err or err.err_code == errors.CONSUMER_NOT_FOUND then
    info, err = create(self, deliver_subject_of(self))
  end
  if not info or self.stopped then stop_listener(self) end
  if not info then return nil, err end
  self.made, self.floor, self.beat = info.created, 0, info.config.idle_heartbeat
  core.background(watch, self)
  return self
end

---@return table|nil info, table|nil err
function jsub:info()
  if not self.listener then
    return core.fail(core.error("closed", "the subscription is not active"))
  end
  return consumers.info(self.stream, self.consumer)
end

---Ends the subscription: messages that have arrived are handled. The consumer stays, unless it
---has no durable name.
function jsub:stop()
  if self.stopped then return end
  self.stopped = true
  local active = self.listener ~= nil
  stop_listener(self)
  if active and not self.durable then consumers.forget(self.stream, self.consumer) end
end

local OPTIONS = { durable = "string", stream = "string", queue = "string",
  manual_ack = "boolean", data_type = "string", concurrency = "number", pending = "number",
  name = "string", config = "table", ordered = "boolean", heartbeat = "number",
  on_error = "function" }

-- ---- ordered ----------------------------------------------------------------

---Each option with what speaks against it for an ordered subscription.
local NOT_ORDERED = {
  durable = "it has a consumer of its own", queue = "every subscriber gets all messages",
  manual_ack = "messages are not acknowledged", concurrency = "there is one after the other",
  pending = "the server waits for the handler",
}

---@class jsub_ordered
local jsub_ordered = {}
jsub_ordered.__index = jsub_ordered

local function start_ordered(self)
  local err
  if not self.stream then
    self.stream, err = api.find_stream(self.subject)
    if not self.stream then return nil, err end
  end
  self.handle, err = ordered.open {
    stream = self.stream, filter = self.subject, config = self.config,
    data_type = self.data_type, heartbeat = self.heartbeat, on_message = self.fn,
    on_error = self.on_error,
  }
  if not self.handle then return nil, err end
  if self.stopped then self.handle:stop() end
  return self
end

---@return table|nil info, table|nil err
function jsub_ordered:info()
  if not self.handle or self.stopped then
    return core.fail(core.error("closed", "the subscription is not active"))
  end
  return consumers.info(self.stream, self.handle.consumer)
end

function jsub_ordered:stop()
  self.stopped = true
  if self.handle then self.handle:stop() end
end

-- ---- what both share --------------------------------------------------------

local function check_options(subject, opts)
  local what = "app.js.subscribe"
  opts = core.check(what, opts, OPTIONS)
  if type(subject) ~= "string" and not (opts.stream and subject == nil) then
    error(what .. ": the subject must be a string", 3)
  end
  for _, name in ipairs { "durable", "stream", "queue" } do
    if opts[name] then api.check_name(opts[name], what .. ": " .. name, 2) end
  end
  for _, name in ipairs { "concurrency", "pending" } do
    check.whole(what, name, opts[name], 1, nil, 2)
  end
  if opts.config then api.to_wire(what, opts.config, 2) end
  if opts.on_error and not opts.ordered then
    error(what .. ": 'on_error' goes with 'ordered' only", 3)
  end
  if opts.heartbeat and (opts.queue or opts.config and opts.config.deliver_group) then
    error(what .. ": no 'heartbeat' with a queue: a random member would get them", 3)
  end
  if opts.heartbeat and not (opts.heartbeat >= 0.1) then -- luacheck: ignore 581
    error(what .. ": heartbeat must be 0.1 seconds or more", 3)
  end
  for name, why in pairs(opts.ordered and NOT_ORDERED or {}) do
    if opts[name] then error(("%s: no '%s' with 'ordered': %s"):format(what, name, why), 3) end
  end
  return opts
end

local function new_ordered(subject, opts, fn)
  return setmetatable({
    subject = subject ~= "" and subject or nil, stream = opts.stream, config = opts.config,
    data_type = opts.data_type, heartbeat = opts.heartbeat, on_error = opts.on_error, fn = fn,
  }, jsub_ordered)
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
    concurrency = opts.concurrency, pending = opts.pending,
    name = opts.name or subject or durable, fn = fn, heartbeat = opts.heartbeat,
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
  local start_it = opts.ordered and start_ordered or start
  local self = (opts.ordered and new_ordered or new_push)(subject, opts, fn)
  if not core.loading() then return start_it(self) end
  core.defer_start(function()
    if self.stopped then return end
    local ok, err = start_it(self)
    if not ok then
      error(("app.js.subscribe(%q): %s"):format(subject or self.stream, err.message), 0)
    end
  end)
  return self
end

return M
