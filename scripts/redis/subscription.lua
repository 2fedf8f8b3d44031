---Messages that are published in Redis, for as long as somebody wants them: over a connection
---of its own, which is made again when it is lost.
local core = require "lunats.core"
local check = require "lunats.check"
local protocol = require "lunats.redis.protocol"

local M = {
  ---Seconds of silence after which the server is asked whether it is there, and after which it
  ---is not.
  silence = 30,
}

local FIRST_DELAY, LONGEST_DELAY = 0.1, 5

---@class redis_subscription
---@field socket socket|nil
---@field stopped boolean
local subscription = {}
subscription.__index = subscription

local function check_names(what, names)
  if type(names) == "string" then return { names } end
  check.table(what, names)
  local copy = {}
  for i, name in ipairs(names) do
    check.string(what, "a name", name)
    copy[i] = name
  end
  if #copy == 0 then core.blame(what .. ": a name, or a list of names, expected") end
  return copy
end

-- ---- messages ------------------------------------------------------------------

local function call(fn, ...)
  local ok, caught = xpcall(fn, core.raised, ...)
  if ok then return end
  if core.cancelled() then error(caught, 0) end
  local trace, value = core.caught(caught)
  core.report(trace, { kind = "redis" }, value)
end

local function deliver(self, push)
  if push[1] == "message" then
    call(self.fn, push[3], push[2])
  elseif push[1] == "pmessage" then
    call(self.fn, push[4], push[3], push[2])
  end
end

---What the server pushes next: always a list.
local function next_push(socket)
  local push, err = protocol.read(socket)
  if type(push) == "table" then return push end
  return nil, err or core.error("redis", "this is no message: " .. tostring(push))
end

---Hands out what comes until the connection is lost.
---@return table err  why
local function receive(self, socket)
  local asked = false
  while true do
    local push, err = next_push(socket)
    if push then
      asked = false
      deliver(self, push)
      if self.stopped then return core.error("closed", "the subscription is stopped") end
    elseif err.code ~= "timeout" or asked then
      return err
    else
      asked = true
      socket:write(protocol.encode "PING")
    end
  end
end

-- ---- connections ---------------------------------------------------------------

---Connects and subscribes; messages that come meanwhile are kept for the first receive().
---@return socket|nil socket, table|nil err
local function establish(self)
  local socket, err = self.connect(self.owner.target, self.owner.opts)
  if not socket then return nil, err end
  self.socket = socket -- stop() closes it
  local ok
  ok, err = socket:write(protocol.encode(self.verb, self.names))
  local confirmed = 0
  while ok and confirmed < #self.names do
    local push
    push, err = next_push(socket)
    if not push then
      ok = nil
    elseif push[1] == self.verb:lower() then
      confirmed = confirmed + 1
    else
      self.early[#self.early + 1] = push
    end
  end
  if ok and not self.stopped then
    socket:settimeout(M.silence)
    return socket
  end
  socket:close()
  return nil, err or core.error("closed", "the subscription is stopped")
end

---@return socket|nil socket  nil: stopped
local function establish_again(self)
  local delay = FIRST_DELAY
  while not self.stopped do
    local socket = establish(self)
    if socket then return socket end
    self.gate:wait(delay)
    delay = math.min(delay * 2, LONGEST_DELAY)
  end
end

local function run(self, socket)
  local what = table.concat(self.names, ", ")
  while socket and not self.stopped do
    local early = self.early
    self.early = {}
    for _, push in ipairs(early) do deliver(self, push) end
    local err = receive(self, socket)
    socket:close()
    if self.stopped then return end
    core.log(2, ("redis: the subscription to %s is lost, connecting again: %s"):format(what,
      tostring(err)))
    socket = establish_again(self)
    if socket then core.log(1, ("redis: subscribed to %s again"):format(what)) end
  end
end

---Returns when the server has confirmed it.
---@return redis_subscription|nil subscription, table|nil err
function M.open(owner, connect, verb, names, fn)
  local what = "redis:" .. verb:lower()
  local self = setmetatable({ owner = owner, connect = connect, verb = verb, fn = fn,
    names = check_names(what, names), early = {}, gate = core.gate(), stopped = false },
    subscription)
  check.fn(what, fn)
  local socket, err = establish(self)
  if not socket then return nil, err end
  core.background(run, self, socket)
  return self
end

---No further call, except one that runs now.
function subscription:stop()
  self.stopped = true
  if self.socket then self.socket:close() end
  self.gate:open()
end

check.class("feed", subscription)
M.methods = subscription

return M
