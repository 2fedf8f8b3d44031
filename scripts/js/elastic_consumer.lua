---The consumer of a member of an elastic group: found, or made. Only who holds the lease of the
---member calls this. No consumer is changed: one with other subjects would skip messages, and a
---request that comes late, of a process that has lost its lease meanwhile, must not change what
---another one reads.
local api = require "lunats.js.api"
local config = require "lunats.js.config"
local consumers = require "lunats.js.consumers"
local elastic = require "lunats.js.elastic"
local errors = require "lunats.js.errors"

local M = {}

---In the metadata of a consumer: it is one of ours, so that its lease tells whether it is read.
local MARK = "lunats"

---@param info table  of a consumer
---@return boolean
function M.is_ours(info) return (info.config.metadata or {})[MARK] ~= nil end

---Whether a consumer has one of these partitions.
---@param info table
---@param numbers integer[]
---@return boolean
function M.overlaps(info, numbers)
  local mine = {}
  for _, number in ipairs(numbers) do mine[tostring(number)] = true end
  local filters = info.config.filter_subjects or { info.config.filter_subject }
  for _, filter in ipairs(filters) do
    local first = filter:match "^[^.]*"
    if mine[first] or not tonumber(first) then return true end
  end
  return #filters == 0
end

---@param self table  work, member, ack_wait, ttl, config
---@param numbers integer[]
---@return table wire
local function wire_of(self, numbers)
  local fields, subjects, metadata = { ack_wait = self.ack_wait }, {}, { [MARK] = app.name }
  for field, value in pairs(self.config or {}) do fields[field] = value end
  for name, value in pairs(fields.metadata or {}) do metadata[name] = value end
  for i, number in ipairs(numbers) do subjects[i] = ("%d.>"):format(number) end
  fields.durable_name, fields.filter_subjects = self.member, subjects
  fields.metadata = metadata
  fields.priority_groups, fields.priority_policy = { elastic.PRIORITY_GROUP }, "pinned_client"
  fields.priority_timeout = self.ack_wait
  -- Longer than a process that is cut off believes in its lease.
  fields.inactive_threshold = 2 * self.ttl
  return api.to_wire("app.js.consumer_group", "consumer", fields)
end

---@param old table  configuration as on the wire
local function is_same(wire, old)
  local asked = {}
  for name, value in pairs(wire) do asked[name] = value end
  if asked.backoff then asked.ack_wait = nil end -- the server takes the first of them
  return not config.differs(asked, old)
end

---@param work string
---@param member string
---@return boolean|nil ok, table|nil err
function M.drop(work, member)
  local ok, err = consumers.delete(work, member)
  if ok or err.code == "not_found" then return true end
  return nil, err
end

---The consumer with these partitions and no other ones.
---@param self table  work, member, ack_wait, ttl, config
---@param numbers integer[]
---@return boolean|nil ok, table|nil err  err_code NOT_UNIQUE: another one has some of them
function M.claim(self, numbers)
  local wire = wire_of(self, numbers)
  local old, err = api.raw(("CONSUMER.INFO.%s.%s"):format(self.work, self.member))
  if old and is_same(wire, old.config) then
    -- Who had it has no lease any more, and no claim to be the one that is served.
    consumers.unpin(self.work, self.member, elastic.PRIORITY_GROUP)
    return true
  end
  if not old and err.err_code ~= errors.CONSUMER_NOT_FOUND then return nil, err end
  if old then
    local ok
    ok, err = M.drop(self.work, self.member)
    if not ok then return nil, err end
  end
  local info
  info, err = consumers.create_new(self.work, wire)
  return info and true, err
end

return M
