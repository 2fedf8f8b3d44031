---One partition of a consumer group, in this process: from the lease that says that nobody else
---reads it, by way of its consumer, to the last handler, after which the lease is given back.
local core = require "lunats.core"
local api = require "lunats.js.api"
local consumers = require "lunats.js.consumers"
local errors = require "lunats.js.errors"
local partitions = require "lunats.js.partitions"
local pull = require "lunats.js.pull"

local M = {}

---Seconds between two looks whether the last handler has ended.
local LOOK = 0.01

---@class partition: lease_slot
---@field number integer
---@field own boolean|nil  this process has it, or is about to
---@field leaving boolean|nil  and gives it away
---@field handle consume|nil  while it is read

-- ---- its consumer -------------------------------------------------------------------

---@return string
function M.consumer_of(group, number) return ("%s-%d"):format(group.name, number) end

local function same(list, other)
  if #list ~= #other then return false end
  local set = {}
  for _, one in ipairs(list) do set[one] = true end
  for _, one in ipairs(other) do
    if not set[one] then return false end
  end
  return true
end

---A consumer whose subjects are changed skips messages, so that is not done.
local function check_subjects(group, name, info, subjects)
  local has = info.config.filter_subjects or { info.config.filter_subject }
  if same(has, subjects) then return true end
  return nil, api.failure("jetstream", "the consumer '%s' of stream '%s' reads '%s', not '%s': "
    .. "delete it, or give the group another name", name, group.stream,
    table.concat(has, "', '"), table.concat(subjects, "', '"))
end

---Finds the consumer of a partition, or makes it.
---@return table|nil info, table|nil err
function M.consumer(group, number)
  local name, subjects = M.consumer_of(group, number), partitions.of(group.shape, number)
  local info, err = consumers.info(group.stream, name)
  if not info and err.err_code ~= errors.CONSUMER_NOT_FOUND then return nil, err end
  if info then
    local ok
    ok, err = check_subjects(group, name, info, subjects)
    if not ok then return nil, err end
  end
  local fields = { durable_name = name, ack_wait = group.ack_wait }
  for field, value in pairs(group.config or {}) do fields[field] = value end
  if #subjects > 1 then
    fields.filter_subjects = subjects
  else
    fields.filter_subject = subjects[1]
  end
  return consumers.create(group.stream, fields)
end

-- ---- reading ------------------------------------------------------------------------

---A handler runs under the lease, and with it ends what it has started.
local function fenced(group, self, held)
  local fn = group.fn
  local partition = { number = self.number, token = held.state.token }
  return function(msg)
    held.lease:enter()
    if core.cancelled() then core.sleep(0) end -- which raises
    return fn(msg, partition)
  end
end

---@return consume|nil handle, table|nil err
local function open(group, self, held)
  local info, err = M.consumer(group, self.number)
  if not info then return nil, err end
  local psub = pull.subscribe(nil, { stream = group.stream, durable = info.name })
  psub.unwatched, psub.sole, psub.lease = true, true, held.lease
  self.psub = psub
  local opts = { on_error = function(why)
    self.failure = why
    M.leave(self)
  end }
  for name, value in pairs(group.opts) do opts[name] = value end
  opts.key = opts.key or partitions.key(group.shape)
  local handle
  handle, err = psub:consume(opts, fenced(group, self, held))
  if handle then -- psub does not know its subjects: M.consumer() makes it again
    function handle.create_again(why) return nil, consumers.lost_error(psub, why) end
  end
  return handle, err
end

local function finish(self)
  self.handle:stop()
  while not self.handle:closed() do core.sleep(LOOK) end
end

---Reads for as long as the lease is held, and gives it back after the last handler.
---@param group consumer_group
---@param self partition
---@param held table  the lease
---@param on_begin fun()
---@return string|nil lost  why the lease was lost
---@return table|nil err  why it cannot be read, or not any more
function M.read(group, self, held, on_begin)
  self.held = held
  local handle, err = open(group, self, held)
  self.handle, self.failure = handle, err
  local lost
  if handle and not self.leaving then
    on_begin()
    lost = held.lease:wait()
  end
  if handle then finish(self) end
  if self.psub then self.psub:stop() end
  held.lease:release()
  err = self.failure
  self.own, self.leaving, self.handle, self.held = nil, nil, nil, nil
  self.psub, self.failure = nil, nil
  return lost, err
end

local function let_go(self)
  finish(self)
  self.held.lease:release()
end

---Another one shall have it: what is under way here is finished first.
---@param self partition
function M.leave(self)
  if self.leaving then return end
  self.leaving = true
  if self.handle then core.background(let_go, self) end
end

return M
