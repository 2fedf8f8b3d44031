---Ordered consumers: the messages of a stream in order, without gaps, for readers that do not
---acknowledge. Whatever happens - messages lost on the way, a connection or a server gone - the
---consumer is made again from the message after the last one that was read. With on_message it
---lasts: it waits for a stream that is gone, and reads one that was made again from its start.
---
---    local handle, err = ordered.open { stream = "KV_b", filter = "$KV.b.>",
---      config = { deliver_policy = "last_per_subject" },
---      on_message = function(msg) ... end }
---    -- or, without on_message, in a fiber of one's own:
---    local msg, err = handle:next(5)     -- err.code "timeout", "closed", or why it ended
---    handle:stop()
---
---on_message is called for one message after the other in one fiber: as long as it waits, the
---server waits as well.
local core = require "lunats.core"
local active = require "lunats.js.active"
local api = require "lunats.js.api"
local config = require "lunats.js.config"
local consumers = require "lunats.js.consumers"
local errors = require "lunats.js.errors"
local generation = require "lunats.js.generation"
local skipped = require "lunats.js.skipped"

local M = {
  ---Seconds between two heartbeats; twice as long a silence means that the consumer is lost.
  heartbeat = 5,
  ---Seconds until a consumer cannot be made again; then twice as long, up to the last.
  retry_first = 0.5, retry_last = 2,
}

---The server forgets a consumer whose reader is gone after so many seconds.
local INACTIVE_THRESHOLD = 300
---Ordered consumers are not acknowledged: nothing must ever time out.
local ACK_WAIT = 22 * 3600

---@class ordered
---@field stream string
local ordered = {}
ordered.__index = ordered

---A configuration that the server refuses does not get better by waiting.
local function passes(self, err)
  if err.err_code == errors.STREAM_NOT_FOUND then return self.on_message ~= nil end
  if err.code == "timeout" or err.code == "disconnected" or err.code == "no_responders" then
    return true
  end
  return api.passes(err)
end

local function declared(self, inbox)
  local fields = { deliver_policy = "all" }
  for name, value in pairs(self.config) do fields[name] = value end
  fields.name, fields.deliver_subject = consumers.new_name(), inbox
  fields.ack_policy, fields.max_deliver, fields.ack_wait = "none", 1, ACK_WAIT
  fields.mem_storage, fields.num_replicas = true, 1
  fields.flow_control, fields.idle_heartbeat = true, self.heartbeat
  fields.inactive_threshold = INACTIVE_THRESHOLD
  if type(self.filter) == "table" and #self.filter > 1 then
    fields.filter_subjects = self.filter
  else
    fields.filter_subject = type(self.filter) == "table" and self.filter[1] or self.filter
  end
  if self.anew then generation.begin_anew(fields) end
  local after = self.box:sequence()
  if after == 0 then after = self.after end
  if after then consumers.start_after(fields, after) end
  return fields
end

---Makes a consumer on a new inbox. The subscription comes first: the server delivers at once.
---@return table|nil info, table|nil err
local function create(self)
  local inbox, err = self.box:subscribe()
  if not inbox then return nil, err end
  local fields = declared(self, inbox)
  local wire = config.to_wire(fields)
  local info, raw
  info, err, raw = api.call(consumers.create_request(self.stream, fields.name, wire))
  if not info then return nil, err end
  local gone = api.subject(consumers.delete_op(self.stream, fields.name))
  local ok
  ok, err = self.box:created(self.heartbeat, gone)
  if not ok then return nil, err end
  local ignored = config.ignored({ filter_subjects = wire.filter_subjects }, raw.config)
  if ignored then
    return nil, api.unsupported(ignored)
  end
  self.after = consumers.beginning(info) or self.after
  self.consumer = info.name
  self.skips = skipped.possible()
  return info
end

local function begin_anew(self)
  self.box:forget()
  self.after, self.anew = nil, true
end

---It cannot be made again just now.
local function tell(self, err)
  local missing = err.err_code == errors.STREAM_NOT_FOUND
  self.reader:set(missing and "missing" or "silent", err.message)
  if self.on_error then return self.on_error(err) end
  if err.err_code ~= errors.STREAM_NOT_FOUND or self.told then return end
  self.told = true
  core.report(("the ordered consumer of stream '%s' waits for it: %s"):format(self.stream,
    err.message), { kind = "watch", stream = self.stream }, err)
end

---Makes the consumer again, for ever, unless that cannot succeed.
---@param due number|nil when the caller has waited long enough
---@return true|nil ok, table|nil err
local function reset(self, due)
  local delay = M.retry_first
  while not self.stopped do
    local info, err = create(self)
    local replaced = false
    if info and self.generation then
      replaced, err = self.generation:replaced(self.box:sequence())
    end
    if replaced and not self.on_message then
      return nil, api.failure("consumer_lost",
        "the stream '%s' was deleted and made again while it was read", self.stream)
    elseif replaced then
      begin_anew(self)
    elseif info and replaced == false then
      self.told = nil
      self.reader:set "ok"
      return true
    elseif not passes(self, err) then
      return nil, err
    else
      tell(self, err)
      if due and core.clock() + delay >= due then
        core.sleep(math.max(0, due - core.clock()))
        return nil, core.error("timeout", "no message came in time")
      end
      core.sleep(delay)
      delay = math.min(delay * 2, M.retry_last)
    end
  end
  return nil, core.error("closed", "the subscription was stopped")
end

---The next message; waits for it.
---@param timeout number|nil seconds; nil: as long as it takes
---@return msg|nil message, table|nil err code "timeout"; all others end the subscription
function ordered:next(timeout)
  if self.failed then return nil, self.failed end
  local due = timeout and core.clock() + timeout
  while true do
    local msg, err
    if not self.lost then
      local before = self.skips and self.box:sequence()
      msg, err = self.box:next(timeout, self.data_type)
      self.lost = not msg and err.code == "consumer_lost"
        or msg and before and skipped.before(self, before, msg)
      if msg and not self.lost then return msg end
    end
    if self.lost then
      local ok
      ok, err = reset(self, due)
      self.lost = not ok
    end
    if err and err.code ~= "timeout" then
      self.failed = err
      self.reader:set("missing", err.message)
      if not self.on_message or self.on_error then self.reader:close() end -- somebody decides
      self.box:close()
      return nil, err
    end
    if due then
      timeout = due - core.clock()
      if timeout <= 0 then return nil, core.error("timeout", "no message came in time") end
    end
  end
end

---Ends it, also from within on_message. A fiber in next() gets nil, err (code "closed").
function ordered:stop()
  self.stopped = true
  self.reader:close()
  self.box:close()
end

local function run(self)
  while not self.stopped do
    local msg, err = self:next()
    if not msg then
      if err.code ~= "closed" then
        if self.on_error then
          self.on_error(err)
        else
          core.report(("the ordered consumer of stream '%s' has ended: %s"):format(self.stream,
            err.message), { kind = "watch", stream = self.stream }, err)
        end
      end
      return
    end
    local ok, caught = core.protect(self.on_message, msg)
    if core.cancelled() then
      if not ok then error(caught, 0) end
      return
    end
    if not ok then
      local trace, raised = core.caught(caught)
      core.report(("%s: %s"):format(msg.subject, trace),
        { kind = "watch", subject = msg.subject, stream = self.stream }, raised)
    end
  end
end

---Opens an ordered consumer and waits until it is there.
---  stream         its name
---  filter         subject or list of subjects (a list of several: servers from 2.10 on)
---  config         further fields of the consumer: deliver_policy, opt_start_seq,
---                 opt_start_time, headers_only, ...
---  on_message     called for each message, one after the other; without it use handle:next()
---  created        when the stream was made, if that is known
---  last           its last sequence then: with "last_per_subject", gaps up to there are none
---  on_error(err)  it could not be made again yet (it is tried on), or ended for good
---  data_type      "json" (default), "string" or a codec
---  heartbeat      seconds, default 5
---@param opts table
---@return ordered|nil handle, table|nil err
function M.open(opts)
  local self = setmetatable({
    stream = opts.stream, filter = opts.filter, config = opts.config or {},
    on_message = opts.on_message, on_error = opts.on_error,
    data_type = opts.data_type, heartbeat = opts.heartbeat or M.heartbeat,
    last = opts.last, box = core.js_ordered(opts.on_message ~= nil),
    reader = core.js_reader(opts.stream, "(ordered)", true),
  }, ordered)
  local info, err
  if opts.created or opts.on_message then
    self.generation, err = generation.of(opts.stream, opts.created)
  end
  if not err then info, err = create(self) end
  if not info then
    self.reader:close()
    self.box:close()
    return nil, err
  end
  active.add(self, "ordered")
  if self.on_message then core.handler_fiber(run, self) end
  return self
end

return M
