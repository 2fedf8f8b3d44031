---Ordered subscriptions: app.js.subscribe() with the option `ordered`.
local core = require "lunats.core"
local check = require "lunats.check"
local api = require "lunats.js.api"
local consumers = require "lunats.js.consumers"
local ordered = require "lunats.js.ordered"

local M = {}

---Each option with what speaks against it for an ordered subscription.
M.EXCLUDED = {
  durable = "it has a consumer of its own", queue = "every subscriber gets all messages",
  manual_ack = "messages are not acknowledged", key = "there is one after the other",
  concurrency = "there is one after the other",
  pending = "the server waits for the handler",
  pending_bytes = "the server waits for the handler",
}

---@class jsub_ordered
local jsub_ordered = {}

---Finds the stream and reads from here on.
---@return jsub_ordered|nil, table|nil err
function M.start(self)
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

---@return jsub_ordered one that is not started yet
function M.new(subject, opts, fn)
  return setmetatable({
    subject = subject ~= "" and subject or nil, stream = opts.stream, config = opts.config,
    data_type = opts.data_type, heartbeat = opts.heartbeat, on_error = opts.on_error, fn = fn,
  }, jsub_ordered)
end

check.class("subscription", jsub_ordered)

return M
