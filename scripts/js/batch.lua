---app.js.batch(): several messages that a stream stores together, or not at all. Servers from
---2.12 on.
local core = require "lunats.core"
local check = require "lunats.check"
local api = require "lunats.js.api"
local publishing = require "lunats.js.publish"

local M = {}

---Every so many messages the server is asked whether the batch goes well; it answers the first
---one in any case.
local ASK_EVERY = 100

---@class js.batch
---@field id string
---@field count integer messages that were added
---@field closed boolean committed, discarded or failed
local batch = {}

local function closed(self)
  return core.fail(self.err or core.error("closed", "the batch is over"))
end

---The number of a message is taken when it is sent, so one fiber at a time sends. One that is
---cancelled meanwhile leaves a batch that nobody can go on with.
local function take(self, what)
  if self.busy then error(what .. ": another fiber is sending a message of this batch", 3) end
  self.busy = true
end

---Nothing of it is stored.
local function fail(self, err)
  self.err, self.closed = err, true
  return nil, err
end

---The options of one message, with what makes it part of the batch.
local function request_of(self, what, opts, commit)
  local request
  opts, request = publishing.check_options(what, opts)
  local headers = request.headers
  headers["Nats-Batch-Id"] = self.id
  headers["Nats-Batch-Sequence"] = tostring(self.count + 1)
  headers["Nats-Batch-Commit"] = commit
  request.timeout = opts.timeout or self.timeout or request.timeout
  return request
end

local function no_stream(subject, err)
  if err.code ~= "no_responders" then return err end
  return api.failure("no_stream", "no stream takes the subject '%s'", subject)
end

---Sends and waits until the server says that the batch goes well.
local function ask(subject, message, request)
  local msg, err = core.request(subject, message, request)
  if not msg then return nil, no_stream(subject, err) end
  if msg.raw == "" then return true end
  local ack
  ack, err = publishing.pub_ack(subject, msg)
  if not ack then return nil, err end
  return nil, api.failure("jetstream", "the stream '%s' has stored a message of the batch by "
    .. "itself", ack.stream)
end

---Sends the next message.
---@return boolean|nil ok, table|nil err
local function send(self, subject, message, request)
  if self.count == 0 then
    local ok, err = api.need_level(api.LEVEL_2_12, "atomic batches")
    if not ok then return nil, err end
  end
  if self.count % ASK_EVERY == 0 then return ask(subject, message, request) end
  return core.publish(subject, message, { headers = request.headers })
end

---Adds a message. It is sent, and stored with the others by commit(). Raises while another
---fiber does so.
---@param subject string
---@param message any
---@param opts table|nil those of app.js.publish; expected_last_seq for the first one only
---@return boolean|nil ok, table|nil err nothing of the batch is stored
function batch:add(subject, message, opts)
  core.check_subject(subject)
  local request = request_of(self, "batch:add", opts)
  message = publishing.encoded(message, opts)
  if self.closed then return closed(self) end
  take(self, "batch:add")
  local ok, err = send(self, subject, message, request)
  self.busy = nil
  if not ok then return fail(self, err) end
  self.count, self.last = self.count + 1, subject
  return true
end

---Adds the last message and stores all of them; without arguments those that were added.
---@param subject string|nil
---@param message any
---@param opts table|nil those of app.js.publish
---@return table|nil ack { stream, seq, batch, count }, of the last message
---@return table|nil err nothing is stored; after a time-out all of it may be
function batch:commit(subject, message, opts)
  local what, commit = "batch:commit", "1"
  if subject ~= nil then
    core.check_subject(subject)
  elseif self.count == 0 then
    error(what .. ": there is no message", 2)
  else
    subject, message, commit = self.last, nil, "eob"
  end
  local request = request_of(self, what, opts, commit)
  message = publishing.encoded(message, opts)
  if self.closed then return closed(self) end
  take(self, what)
  local level = commit == "eob" and api.LEVEL_2_14 or api.LEVEL_2_12
  local ok, err = api.need_level(level, commit == "eob"
    and "a commit without a message" or "atomic batches")
  self.busy = nil
  if not ok then return nil, err end
  self.closed = true
  local msg
  msg, err = core.request(subject, message, request)
  if not msg then return nil, no_stream(subject, err) end
  return publishing.pub_ack(subject, msg)
end

---Gives it up. The server forgets what was added when it hears nothing more.
function batch:discard() self.closed = true end

local OPTIONS = { timeout = "number" }

---@param opts { timeout: number|nil }|nil of each message, default 5
---@return js.batch
function M.batch(opts)
  opts = core.check("app.js.batch", opts, OPTIONS)
  return setmetatable({ id = core.new_inbox():match "[^.]+$", count = 0, closed = false,
    timeout = opts.timeout }, batch)
end

check.class("batch", batch)

return M
