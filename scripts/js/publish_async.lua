---Publishing into streams without waiting for each acknowledgement: futures, the window of
---messages under way, and what becomes of failures that nobody awaits.
local core = require "lunats.core"
local check = require "lunats.check"
local json = require "lunats.json"
local publish = require "lunats.js.publish"

local type, setmetatable = type, setmetatable -- every message comes by here

local M = {}

---@class js.future
---@field done boolean
local future = {}
M.future = future

---Messages whose acknowledgement is outstanding, and the fibers that wait for that to change;
---full: some wait for room.
local outstanding, full, room, idle = 0, false, core.gate(), core.gate()

-- ---- failures ---------------------------------------------------------------

---What failed, was not awaited, and is not told by flush() yet: how many, by kind of error. A
---service may publish for years without ever asking, so no future is kept for it.
---@type table<any, { kind: any, count: integer, err: table, number: integer, told: true|nil }>
local failures, kinds = {}, 0

---A future that failed: when nobody ever looks at it, the log shall tell. Its `failure` is the
---entry of failures that counts it.
local failed = { __index = future }

---Futures that nobody has looked at before they were collected, not logged yet.
local forgotten, last_forgotten = 0, nil
local function new_uncollected() return setmetatable({}, { __mode = "k" }) end
---Failed futures that are not collected yet, and whether a fiber looks at `forgotten`.
local uncollected, reporting = new_uncollected(), false
local REPORT_INTERVAL = 1

function failed.__gc(self)
  if self.failure and not self.failure.told then
    forgotten, last_forgotten = forgotten + 1, self
  end
end

local function report_forgotten()
  local count, last = forgotten, last_forgotten
  if count == 0 then return end
  forgotten, last_forgotten = 0, nil
  core.report(("app.js.publish_async to '%s': %s%s"):format(last.subject, tostring(last.err),
    count > 1 and (" (the last of %d messages that were not stored)"):format(count) or ""))
end

---Ends with the reporting fiber, and with the script.
local reporter = setmetatable({}, {
  __close = function()
    reporting = false
    report_forgotten()
  end,
  __gc = report_forgotten,
})

---One line a second at most, however many fail.
local function report()
  local _ <close> = reporter
  repeat
    core.sleep(REPORT_INTERVAL)
    report_forgotten()
  until not next(uncollected)
end

local function count_failure(self)
  local err = self.err
  local kind = err.err_code or err.code
  local entry = failures[kind]
  if not entry then
    kinds = kinds + 1
    entry = { kind = kind, count = 0, err = err, number = kinds }
    failures[kind] = entry
  end
  entry.count = entry.count + 1
  self.failure, uncollected[self] = entry, true
  reporting = reporting or pcall(core.background, report) -- not while the script is closed
end

---Somebody has awaited it.
local function uncount_failure(self)
  local entry = self.failure
  self.failure, uncollected[self] = nil, nil
  entry.count = entry.count - 1
  if entry.count == 0 and not entry.told then failures[entry.kind] = nil end
end

---All failures that are not told yet, told now.
---@return table|nil err of the first kind of them, with `count` of all
local function take_failures()
  forgotten, last_forgotten, uncollected = 0, nil, new_uncollected() -- among them
  local first, count = nil, 0
  for kind, entry in pairs(failures) do
    entry.told, failures[kind] = true, nil
    count = count + entry.count
    if not first or entry.number < first.number then first = entry end
  end
  if not first then return nil end
  local cause = first.err
  local err = core.error(cause.code, ("%d message%s not stored; the first: %s"):format(count,
    count == 1 and " was" or "s were", cause.message))
  err.count, err.err_code, err.status = count, cause.err_code, cause.status
  return err
end

---The fibers that wait for room, or for all to be done.
local function wake()
  if full then
    full = false
    room:open()
  end
  if outstanding == 0 then idle:open() end
end

local function finish(self, ok, ack, err)
  if self.done then return end
  self.done = true
  if not ok then
    err = core.error("error", tostring(ack))
    ack = nil
  end
  self.ack, self.message = ack, nil
  if err then
    self.err = err
    setmetatable(self, failed)
    if (self.awaiting or 0) == 0 then count_failure(self) end
  end
  outstanding = outstanding - 1
  wake()
  if self.gate then self.gate:open() end
end

local function cancel(self)
  finish(self, true, nil, core.error("cancelled", "the service is stopping"))
end

---A fiber that is cancelled leaves its future to this.
function future.__close(self) if not self.done then cancel(self) end end

failed.__close = future.__close

---Runs in a fiber of its own: what takes more than sending once.
local function run(self, fn, ...)
  local _ <close> = self
  finish(self, pcall(fn, self.subject, ...))
end

-- Messages without options are sent and awaited in C; one fiber settles the futures of all of
-- them as the acknowledgements come in. Of a plain one C leaves the sequence in `ack` and the
-- stream in `message`.
local publisher, underway, flying, settling = core.js_publisher(), {}, 0, false

local ended = setmetatable({}, { __close = function()
  local rest = underway
  settling, underway, flying = false, {}, 0
  for _, self in pairs(rest) do cancel(self) end
end })

local function settle()
  local _ <close> = ended
  while flying > 0 do
    local settled, slot, ack, other = publisher:settle(underway)
    if settled > 0 then
      flying, outstanding = flying - settled, outstanding - settled
      wake()
    end
    local self = slot and underway[slot]
    if self then -- not one of a fiber before this that was cancelled
      underway[slot], flying = nil, flying - 1
      if ack then
        finish(self, true, publish.of_our_domain(ack))
      else
        if type(other) ~= "table" or other.code == "no_responders" then
          core.handler_fiber(run, self, publish.exceptional, self.message, other)
        else
          other.message = ("%s (%s)"):format(other.message, self.subject)
          finish(self, true, nil, other)
        end
      end
    end
  end
end

local send_slot = publisher.send

---It counts before it is sent: that may have to wait, and others must not take its place.
local function send_plain(self, subject, bytes)
  outstanding = outstanding + 1
  local ok, slot, err = pcall(send_slot, publisher, subject, bytes)
  if not ok then
    outstanding = outstanding - 1
    wake()
    error(slot, 0)
  end
  if not slot then return finish(self, true, nil, err) end
  underway[slot], flying = self, flying + 1
  if settling then return end
  settling = true
  core.handler_fiber(settle)
end

---The bytes at the time of the call: the caller may change a table right afterwards.
local function bytes_of(message)
  if message == nil then return "" end
  return type(message) == "string" and message or json.encode(message)
end

local window -- the last one seen, which is a good one

---Publishes and returns at once; waits only while `publish_window` messages are under way.
---@param subject string
---@param message any
---@param opts table|nil those of publish
---@return js.future
function M.publish_async(subject, message, opts)
  local request
  if opts ~= nil then
    core.check_subject(subject)
    opts, request = publish.check_options("app.js.publish_async", opts)
    message = publish.encoded(message, opts)
  end
  local bytes, size = bytes_of(message), M.js.publish_window
  if size ~= window then
    check.whole("app.js.publish_async", "app.js.publish_window", size or 0, 1)
    window = size
  end
  while outstanding >= size do
    full = true
    room:wait()
  end
  -- All fields from the beginning: a table that grows costs as much as the rest.
  local self = setmetatable({ subject = subject, message = bytes, done = false, ack = false },
    future)
  if opts then
    outstanding = outstanding + 1
    core.handler_fiber(run, self, publish.send, bytes, opts, request)
  else
    send_plain(self, subject, bytes)
  end
  return self
end

---How many fibers await it: one that is cancelled does not any more.
local awaited = { __close = function(self) self.future.awaiting = self.future.awaiting - 1 end }

---@param due number|nil
local function wait(self, due)
  self.awaiting = (self.awaiting or 0) + 1
  local _ <close> = setmetatable({ future = self }, awaited)
  self.gate = self.gate or core.gate()
  while not self.done do
    local left = due and due - core.clock()
    if left and left <= 0 then return end
    self.gate:wait(left)
  end
end

---Waits for the acknowledgement.
---@param timeout number|nil seconds; nil: until the publish itself has timed out
---@return table|nil ack, table|nil err
function future:await(timeout)
  check.seconds("future:await", "the timeout", timeout)
  local due = timeout and core.clock() + timeout
  if not self.done then
    wait(self, due)
    if not self.done then
      return core.fail(core.error("timeout",
        "the message has not been acknowledged in time"))
    end
  elseif self.failure then
    uncount_failure(self)
  elseif self.err then -- and it was told before
    return core.fail(self.err)
  end
  if self.err then return nil, self.err end
  if type(self.ack) == "number" then
    self.ack = { stream = self.message, seq = self.ack, duplicate = false }
  end
  return self.ack
end

---Waits until all messages of publish_async are acknowledged, or have failed.
---@param timeout number|nil seconds
---@return boolean|nil ok, table|nil err of the first that failed and was not awaited; `count`
function M.flush(timeout)
  check.seconds("app.js.flush", "the timeout", timeout)
  local due = timeout and core.clock() + timeout
  while outstanding > 0 do
    local left = due and due - core.clock()
    if left and left <= 0 then
      return core.fail(core.error("timeout",
        ("%d messages have not been acknowledged in time"):format(outstanding)))
    end
    idle:wait(left)
  end
  local err = take_failures()
  if not err then return true end
  return core.fail(err)
end

check.class("future", future)

return M
