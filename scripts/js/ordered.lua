---Ordered consumers: the messages of a stream in order, without gaps, for readers that do not
---acknowledge. Whatever happens - messages lost on the way, a connection or a server gone - the
---consumer is made again from the message after the last one that was read.
---
---    local handle, err = ordered.open { stream = "KV_b", filter = "$KV.b.>",
---      config = { deliver_policy = "last_per_subject" },
---      on_message = function(msg) ... end }
---    -- or, without on_message, in a fiber of one's own:
---    local msg, err = handle:next(5)     -- err.code "timeout", "closed", or why it ended
---    handle.initial_pending              -- messages that were there when it was opened
---    handle:stop()
---
---on_message is called for one message after the other in one fiber: as long as it waits, the
---server waits as well.
local core = require "lunats.core"
local api = require "lunats.js.api"
local config = require "lunats.js.config"
local consumers = require "lunats.js.consumers"
local errors = require "lunats.js.errors"

local M = {
  ---Seconds between two heartbeats; twice as long a silence means that the consumer is lost.
  heartbeat = 5,
  ---Seconds until a consumer cannot be made again; then twice as long, up to the last.
  retry_first = 1, retry_last = 10,
}

---The server forgets a consumer whose reader is gone after so many seconds.
local INACTIVE_THRESHOLD = 300
---Ordered consumers are not acknowledged: nothing must ever time out.
local ACK_WAIT = 22 * 3600

---@class ordered
---@field initial_pending integer messages that were there when it was opened
---@field stream string
local ordered = {}
ordered.__index = ordered

---A stream that is gone, or a configuration that the server refuses, does not come back by
---waiting.
local function passes(err)
  if err.code == "timeout" or err.code == "disconnected" or err.code == "no_responders" then
    return true
  end
  return err.status == 503 or err.err_code == errors.NOT_LEADER
    or err.err_code == errors.TOO_MANY_REQUESTS
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
  local after = self.box:sequence()
  if after == 0 then after = self.after or 0 end
  if after > 0 then consumers.start_after(fields, after) end
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
  -- A consumer for new messages that has not delivered any: a later one must not miss what
  -- comes until then.
  if fields.deliver_policy == "new" and info.delivered.consumer_seq == 0 then
    self.after = info.delivered.stream_seq
  end
  self.consumer = info.name
  return info
end

---Makes the consumer again, for ever, unless that cannot succeed.
---@return true|nil ok, table|nil err
local function reset(self, why)
  local delay = M.retry_first
  while true do
    local info, err = create(self)
    if self.stopped then return nil, core.error("closed", "the subscription was stopped") end
    if info then
      if self.on_reset then self.on_reset(why) end
      return true
    end
    if not passes(err) then return nil, err end
    if self.on_error then self.on_error(err) end
    core.sleep(delay)
    delay = math.min(delay * 2, M.retry_last)
  end
end

---The next message; waits for it.
---@param timeout number|nil seconds; nil: as long as it takes
---@return msg|nil message, table|nil err code "timeout"; all others end the subscription
function ordered:next(timeout)
  if self.failed then return nil, self.failed end
  local due = timeout and core.clock() + timeout
  while true do
    local msg, err = self.box:next(timeout, self.data_type)
    if msg then return msg end
    if err.code == "consumer_lost" then
      local ok, failed = reset(self, err.message)
      if not ok then
        self.failed = failed
        self.box:close()
        return nil, failed
      end
    elseif err.code ~= "timeout" then
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
            err.message))
        end
      end
      return
    end
    local ok, trace = xpcall(self.on_message, debug.traceback, msg)
    if core.cancelled() then return end
    if not ok then core.report(("%s: %s"):format(msg.subject, tostring(trace))) end
  end
end

---Opens an ordered consumer and waits until it is there.
---  stream         its name
---  filter         subject or list of subjects (a list of several: servers from 2.10 on)
---  config         further fields of the consumer: deliver_policy, opt_start_seq,
---                 opt_start_time, headers_only, ...
---  on_message     called for each message, one after the other; without it use handle:next()
---  on_reset(why)  the consumer was made again: with last_per_subject or all a reader may see
---                 newer messages of a subject that it has seen, never older ones
---  on_error(err)  it could not be made again yet (it is tried on), or ended for good
---  data_type      "json" (default) or "string"
---  heartbeat      seconds, default 5
---@param opts table
---@return ordered|nil handle, table|nil err
function M.open(opts)
  local self = setmetatable({
    stream = opts.stream, filter = opts.filter, config = opts.config or {},
    on_message = opts.on_message, on_reset = opts.on_reset, on_error = opts.on_error,
    data_type = opts.data_type, heartbeat = opts.heartbeat or M.heartbeat,
    box = core.js_ordered(opts.on_message ~= nil),
  }, ordered)
  local info, err = create(self)
  if not info then
    self.box:close()
    return nil, err
  end
  self.initial_pending = info.num_pending + info.delivered.consumer_seq
  if self.on_message then core.handler_fiber(run, self) end
  return self
end

return M
