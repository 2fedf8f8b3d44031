---psub:consume(): what the state machine in C leaves to be decided - messages that failed, and
---a consumer that is gone.
local core = require "lunats.core"
local check = require "lunats.check"
local active = require "lunats.js.active"
local api = require "lunats.js.api"
local config = require "lunats.js.config"
local consumers = require "lunats.js.consumers"
local dead_letter = require "lunats.js.dead_letter"
local errors = require "lunats.js.errors"
local groups = require "lunats.js.group"
local keys = require "lunats.key"
local silence = require "lunats.js.silence"

local M = {
  ---Seconds until a failed message is delivered again: after the first, second, ... failure.
  backoff = { 1, 2, 4, 8, 16, 32, 60 },
  ---Seconds between two attempts to find or make a lost consumer.
  retry_first = 0.5, retry_last = 2,
  ---With keys: handlers at once, and messages that may wait for another one of their key.
  concurrency = 64, pending = 1000,
  ---Seconds that a server may take to notice that the time of messages has run out.
  settle_slack = 0.5,
}

---@class consume
---@field stream string
---@field consumer string
---@field error table|nil why it ended by itself
local consume = {}

local describe, lost_error = consumers.describe, consumers.lost_error

-- ---- messages that failed ---------------------------------------------------

---What a handler failed with: what it has raised, or the second value that it returned.
---@return string text, any err
local function text_of(why)
  local text, err = core.caught(why)
  if rawequal(err, why) and type(why) == "table" and not why.message and why.code then
    return tostring(why.code), err
  end
  return text, err
end

local WARN, ERROR = 2, 3

---What a watcher of errors is told of it.
local function facts_of(self)
  return { kind = "consume", name = self.name or self.consumer, stream = self.stream }
end

---One line about a message, for people and, in fields, for programs.
---@param self table stream, consumer, name
---@param text string the rest of the line
---@param fields table
---@param err any what the handler has raised or returned
local function tell(self, level, msg, text, fields, err)
  local meta = msg.metadata
  fields.stream, fields.consumer = self.stream, self.consumer
  fields.sequence, fields.subject = meta.stream_sequence, msg.subject
  local line = ("%s%s: message %d on %s %s"):format(self.name and self.name .. ": " or "",
    describe(self), meta.stream_sequence, msg.subject, text)
  core.log(level, line, fields)
  core.logged_error(line, { kind = "consume", name = self.name or self.consumer,
    subject = msg.subject, stream = meta.stream, sequence = meta.stream_sequence,
    delivery = meta.num_delivered }, err)
end

---@param self table stream, consumer, name; max_deliver where there is one
---@param reason string
---@param outcome string|nil what becomes of it
---@param text string|nil what the handler failed with
local function tell_given_up(self, msg, reason, outcome, text, err)
  local deliveries = msg.metadata.num_delivered
  tell(self, ERROR, msg, ("is given up after %d %s (%s)%s%s"):format(deliveries,
    deliveries == 1 and "delivery" or "deliveries", reason, outcome and " " .. outcome or "",
    text and ": " .. text or ""),
    { deliveries = deliveries, reason = reason, dead_letter = self.dead_letter }, err)
end

---The delivery at which the log tells, once for each message, that nothing ends this.
local TELL_ENDLESS = 5

local function attempt_of(self, deliveries)
  if self.max_deliver then return ("delivery %d of %d"):format(deliveries, self.max_deliver) end
  return ("delivery %d%s"):format(deliveries, deliveries == TELL_ENDLESS
    and ", and so on without end: max_deliver of the consumer sets one" or "")
end

---Asks for a message again that a handler has failed with.
---@param self table as above
---@param why any for core.caught(); what the handler returned
---@param delay number seconds
function M.retry(self, msg, why, delay)
  local deliveries, text, err = msg.metadata.num_delivered, text_of(why)
  local attempt = attempt_of(self, deliveries)
  if not msg:nak(delay) then -- the handler has settled it before it failed, and that counts
    return tell(self, ERROR, msg, ("was settled before its handler failed (%s): %s"):format(
      attempt, text), { attempt = deliveries }, err)
  end
  -- The server itself gives up behind the last one.
  if deliveries >= (self.max_deliver or math.huge) then
    return tell_given_up(self, msg, "the handler failed", nil, text, err)
  end
  tell(self, WARN, msg, ("failed (%s) and comes again in %g s: %s"):format(attempt, delay,
    text), { attempt = deliveries, max_deliver = self.max_deliver, delay = delay }, err)
end

---Where nothing becomes of it: the handler decides, or nobody has to.
function M.tell_failed(self, msg, why)
  local deliveries, text, err = msg.metadata.num_delivered, text_of(why)
  tell(self, ERROR, msg, ("failed (delivery %d): %s"):format(deliveries, text),
    { attempt = deliveries }, err)
end

local function give_up(self, msg, reason, text, err)
  local outcome
  if self.dead_letter then
    core.trace_enter("dead_letter " .. self.dead_letter)
    outcome = dead_letter.publish(self, msg, reason, text)
    core.trace_leave()
  end
  -- Where the server has a limit of its own it keeps the message; term would remove it from a
  -- work queue.
  if self.server_limit and msg.metadata.num_delivered >= self.server_limit
    and not self.opts.key then
    msg:nak()
  else
    core.js_term(msg)
  end
  tell_given_up(self, msg, reason, outcome, text, err)
end

---@param why any as above; nil: delivered too often before
local function failed(self, msg, why)
  local deliveries = msg.metadata.num_delivered
  if why == nil then return give_up(self, msg, "delivered too often without a result") end
  if self.manual_ack or self.no_ack then return M.tell_failed(self, msg, why) end
  if self.max_deliver and deliveries >= self.max_deliver then
    return give_up(self, msg, "the handler failed", text_of(why))
  end
  M.retry(self, msg, why, self.backoff[math.min(deliveries, #self.backoff)])
end

-- ---- a lost consumer --------------------------------------------------------

local function stop(self, drain)
  self.box:stop(drain)
  self.alarm:ring()
end

local function finish(self, err)
  self.error = err
  stop(self, false)
  if self.on_error then
    self.reader:close() -- the script knows, and decides
    self.on_error(err)
  else
    core.report(("psub:consume has ended: %s"):format(err.message), facts_of(self), err)
  end
end

---The shortest time after which the server delivers a message again.
---@param info table of a consumer
---@return number seconds; 0: it does not
function M.ack_wait(info)
  if info.config.ack_policy == "none" then return 0 end
  local least = info.config.ack_wait or 30
  for _, one in ipairs(info.config.backoff or {}) do least = math.min(least, one) end
  return least
end

local function smaller(a, b)
  if not a or not b then return a or b end
  return math.min(a, b)
end

---What the configuration of the consumer limits. Expiry of the requests, and how often the
---server shall say that it is alive, are options as well.
local function limits_of(self, info)
  local opts, config_of = self.opts, info.config
  local expires, most = opts.expires or 30, config_of.max_expires or 0
  if most > 0 then expires = math.min(expires, most) end
  local limit = config_of.max_deliver
  self.server_limit = limit and limit > 0 and limit or nil
  self.max_deliver = smaller(opts.max_deliver, self.server_limit)
  return {
    max_batch = config_of.max_batch or 0, expires = expires,
    heartbeat = math.min(opts.heartbeat or 5, expires / 2),
    ack_wait = M.ack_wait(info),
    max_deliver = not (opts.manual_ack or self.no_ack) and self.max_deliver or 0,
  }
end

---Somebody may have changed the consumer.
---@return boolean changed
local function take_limits(self, info)
  local before = self.server_limit
  local limits, changed = limits_of(self, info), false
  for name, value in pairs(limits) do changed = changed or self.limits[name] ~= value end
  if changed then self.box:set_limits(limits) end
  if self.dead_letter and self.server_limit and self.server_limit ~= before then
    core.report(dead_letter.limited(self, self.server_limit).message, facts_of(self))
  end
  self.limits = limits
  return changed
end

---Is it there, or can it be made again?
---@param refused table|nil what the server said when it refused a request
---@return boolean|nil there nil: the error is final; false: try again
---@return table|nil err
local function revive(self, refused)
  local info, err = consumers.info(self.stream, self.consumer)
  if info and info.config.deliver_subject then
    return nil, api.failure("consumer_lost", "%s has become a push consumer", describe(self))
  end
  if info then
    local changed = take_limits(self, info)
    if refused and not changed then return nil, refused end
    return true
  end
  if err.err_code == errors.CONSUMER_NOT_FOUND then
    info, err = self.create_again(err)
    if info then return true end
  end
  -- A stream that is gone comes back, when a server or whoever declares it is back.
  if err.code == "jetstream" and not api.passes(err) then return nil, lost_error(self, err) end
  -- Whoever has made the consumer may do so again, unless the script wants to decide itself.
  local waits = err.err_code == errors.CONSUMER_NOT_FOUND and not self.on_error
  if err.code == "consumer_lost" and waits then return false, err end
  if err.code == "consumer_lost" or err.code == "unsupported" then return nil, err end
  return false, err
end

---A consumer or a stream that is not there, rather than a server that does not answer.
local function is_gone(err) return err.code == "not_found" or err.code == "consumer_lost" end

---Runs in a fiber of its own.
local function lost(self, why, silent)
  local refused = why.code ~= "consumer_lost" and why or nil
  if refused and not silent then return finish(self, why) end
  local delay, told = M.retry_first, false
  while not self.box:stopped() do
    local there, err = revive(self, refused)
    if there then
      if silent and not refused then silence.known(self) else self.reader:set "ok" end
      -- One that is there and yet ends every request must not be asked in a busy loop.
      if core.clock() - (self.revived or -1) < 1 then core.sleep(1) end
      self.revived = core.clock()
      return self.box:resume()
    end
    if there == nil then return finish(self, err) end
    self.reader:set(is_gone(err) and "missing" or "silent", err.message)
    if is_gone(err) and delay > M.retry_first and not told then
      told = true
      local gone = err.code == "consumer_lost" and err or lost_error(self, err)
      core.report(("psub:consume: %s; waiting for it"):format(gone.message), facts_of(self),
        err)
    end
    core.sleep(delay)
    delay = math.min(delay * 2, M.retry_last)
  end
end

---A nameless consumer that was deleted is made again after what was acknowledged; the server
---does not tell that any more when it is gone. Nor does it tell of a shorter ack_wait.
local function watch(self, psub)
  while not self.box:stopped() do
    local info = consumers.info(self.stream, self.consumer)
    if info then
      psub.floor = consumers.floor(info)
      take_limits(self, info)
    end
    if not self.box:stopped() then self.alarm:sleep(M.check_interval or 10) end
  end
end

-- ---- life -------------------------------------------------------------------

local PREFETCH = 100 -- messages that are asked for and not finished, where nobody says more
local PULLS = 2      -- requests that are open at the same time

local OPTIONS = groups.add_to {
  concurrency = "number", max_messages = "number", manual_ack = "boolean", backoff = "table",
  max_deliver = "number", dead_letter = "string", data_type = "string|table",
  expires = "number", heartbeat = "number", on_error = "function",
  key = "function|string", pending = "number", pending_bytes = "number",
}

local function check_backoff(what, list)
  if #list == 0 then error(what .. ": backoff must not be empty", 4) end
  for i, delay in ipairs(list) do
    local ok, why = pcall(config.nanoseconds, delay, ("backoff[%d]"):format(i))
    if not ok then error(("%s: %s"):format(what, why), 4) end
  end
end

---@param opts table|nil
---@return table
---@param what string|nil names the function in errors
function M.check(opts, fn, what)
  what = what or "psub:consume"
  check.fn(what, fn)
  opts = core.check(what, opts, OPTIONS)
  for _, name in ipairs { "concurrency", "max_messages", "max_deliver", "pending",
    "pending_bytes" } do
    check.whole(what, name, opts[name], 1)
  end
  keys.check(what, opts.key)
  if not opts.key and (opts.pending or opts.pending_bytes) then
    error(what .. ": 'pending' and 'pending_bytes' go with 'key' only: see max_messages", 3)
  end
  if opts.backoff then check_backoff(what, opts.backoff) end
  local expires, heartbeat = opts.expires or 30, opts.heartbeat or 0.1
  if expires < 1 or expires ~= expires then
    error(what .. ": expires must be 1 second or more", 3)
  end
  if not (heartbeat >= 0.1 and heartbeat <= expires / 2) then
    error(what .. ": heartbeat must be 0.1 seconds or more, and half of expires at most", 3)
  end
  if opts.dead_letter and not pcall(core.check_subject, opts.dead_letter) then
    error(("%s: dead_letter: invalid subject '%s'"):format(what, opts.dead_letter), 3)
  end
  if opts.dead_letter and opts.manual_ack then
    error(what .. ": no 'dead_letter' with 'manual_ack': the handler decides", 3)
  end
  if opts.data_type then require "lunats.codec".of(opts.data_type, what) end
  groups.check(what, opts, 2)
  return opts
end

---Of a consumer that several workers share, each takes its part of what may be under way; what
---one has in its queue another one waits for in vain.
---@return integer
local function prefetch(self, limits)
  local opts, workers = self.opts, core.worker_count()
  local most, waiting = limits.max_ack_pending or 0, limits.max_waiting or 0
  local shared = self.durable and workers or 1
  if not self.no_ack and most > 0 and most < self.concurrency * shared then
    core.log(2, ("%s: its max_ack_pending allows %d handlers at once, not %d%s"):format(
      describe(self), most, self.concurrency * shared,
      shared > 1 and (" in %d workers"):format(shared) or ""))
  end
  if waiting > 0 and waiting < PULLS * shared then
    core.log(2, ("%s: its max_waiting allows %d requests at once, and %d workers have up to %d")
      :format(describe(self), waiting, shared, PULLS * shared))
  end
  local part = PREFETCH
  if shared > 1 and most > 0 and not self.no_ack then
    part = math.min(PREFETCH, math.max(most // shared, 1))
  end
  return math.max(opts.max_messages or part, self.concurrency)
end

---Messages that have been delivered to readers which are gone, without having been settled.
---They come again when their ack_wait is over, and new ones must not be handled before them.
---@param self table stream, consumer
---@param sole boolean|nil nobody else reads, whatever requests the server still has
---@param info table of the consumer
---@return integer
local function left_over(self, sole, info)
  if info.config.ack_policy == "none" or not sole and ((info.num_waiting or 0) > 0
    or core.js_taken_over(self.stream .. "." .. self.consumer)) then
    return 0 -- somebody else reads, or the version before this one
  end
  return info.num_ack_pending or 0
end

---@param info table of the consumer
local function open(self, psub, fn, group, info)
  local opts, limits = self.opts, self.limits
  local settle = opts.key and left_over(self, psub.sole, info) or 0
  if settle > 0 then
    core.log(1, ("%s: %d messages were left by a reader that is gone: no other one is handled "
      .. "before they have come again"):format(describe(self), settle))
  end
  local key, keyless = keys.functions(opts.key)
  self.box = core.js_consume(self.stream, self.consumer, api.prefix, {
    key = key, keyless = keyless, beside = opts.pending or M.pending,
    pending_bytes = opts.pending_bytes, settle = settle,
    settle_time = M.settle_slack + math.max(info.config.ack_wait or 30,
      table.unpack(info.config.backoff or {})),
    max_messages = prefetch(self, info.config),
    concurrency = self.concurrency, max_batch = limits.max_batch, expires = limits.expires,
    heartbeat = limits.heartbeat, ack_wait = limits.ack_wait, max_deliver = limits.max_deliver,
    data_type = opts.data_type, auto_ack = not (opts.manual_ack or self.no_ack),
    group = group, pull = psub.pull, reader = self.reader, strip = psub.strip,
    lease = psub.lease, sole = psub.sole,
  }, fn, function(msg, why) failed(self, msg, why) end,
    function(why, silent) lost(self, why, silent) end)
  active.add(self, "consume")
  if not psub.unwatched then core.background(watch, self, psub) end
end

---Whether messages of a consumer can be handled in order of their keys.
---@param self table stream, consumer
---@param info table of the consumer
---@return true|nil ok, table|nil err
function M.check_key(self, info)
  local limit = info.config.max_deliver or -1
  if info.config.ack_policy == "all" then
    return nil, api.failure("jetstream", "%s acknowledges all messages before one as well: no "
      .. "'key' with it", describe(self))
  end
  if limit > 0 then
    return nil, api.failure("jetstream", "%s has max_deliver = %d: with 'key' what fails is "
      .. "tried again here, which the server does not count. Give max_deliver to psub:consume, "
      .. "and none (-1) to the consumer", describe(self), limit)
  end
  return true
end

---Starts to consume; `psub` has found its consumer, which `info` describes.
---@return consume|nil handle, table|nil err
function M.start(self, psub, info, fn)
  local opts = self.opts
  self.stream, self.consumer, self.durable = psub.stream, psub.consumer, psub.durable ~= nil
  self.concurrency = opts.concurrency or (opts.key and M.concurrency or 1)
  if opts.key then
    local ok, why = M.check_key(self, info)
    if not ok then return nil, why end
  end
  if info.config.ack_policy == "all" and self.concurrency > 1 then
    return nil, api.failure("jetstream", "%s acknowledges all messages before one as well: "
      .. "concurrency must be 1", describe(self))
  end
  self.no_ack = info.config.ack_policy == "none"
  local group, err = groups.of(psub, groups.check("psub:consume", opts))
  if err then return nil, err end
  self.manual_ack, self.on_error, self.dead_letter = opts.manual_ack, opts.on_error,
    opts.dead_letter
  if self.dead_letter then
    local ok
    ok, err = dead_letter.check(self, info)
    if not ok then return nil, err end
    dead_letter.count(self, 0)
  end
  self.backoff = opts.backoff or M.backoff
  local limits = limits_of(self, info)
  self.alarm = core.alarm()
  self.reader = core.js_reader(self.stream, self.consumer, psub.durable, api.prefix)
  self.limits = limits
  open(self, psub, fn, group, info)
  return self
end

---@return consume a handle that is not started yet
function M.new(opts) return setmetatable({ opts = opts }, consume) end

local function leave(self, drain)
  self.stop_wanted = true
  if not self.box then return end
  self.reader:close()
  stop(self, drain)
end

---No more messages: those that have arrived and are not started go back to the server, running
---handlers finish.
function consume:stop()
  leave(self, false)
end

---No more messages: those that have arrived are handled.
function consume:drain()
  leave(self, true)
end

---Whether it has ended: stopped, and the last handler is done.
---@return boolean
function consume:closed()
  if self.box then return self.box:over() end
  return self.stop_wanted == true
end

---@return table counters: received, acked, failed, returned, dropped, running, queued, keys,
---blocked
function consume:stats()
  if not self.box then
    return { received = 0, acked = 0, failed = 0, returned = 0, dropped = 0, running = 0,
      queued = 0, keys = 0, blocked = 0 }
  end
  return self.box:stats()
end

check.class("handle", consume)

return M
