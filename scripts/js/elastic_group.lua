---What app.js.elastic_group() returns: an elastic consumer group, as the bucket has it. Who
---reads it is app.js.consumer_group().
local api = require "lunats.js.api"
local check = require "lunats.check"
local consumers = require "lunats.js.consumers"
local core = require "lunats.core"
local elastic = require "lunats.js.elastic"
local json = require "lunats.json"
local kv = require "lunats.js.kv"
local partitions = require "lunats.js.partitions"
local streams = require "lunats.js.streams"

local M = {}

---How often a change is tried while others change the same group.
local ATTEMPTS = 10

---@class elastic_group
---@field stream string
---@field name string
local elastic_group = {}

---@param stream string
---@param name string
---@return elastic_group
function M.new(stream, name)
  return setmetatable({ stream = stream, name = name }, elastic_group)
end

---A list of the names of members, without those that are there twice, in their order.
---@param members string|string[]
---@return string[]
function M.names_of(what, members)
  local list, seen = {}, {}
  if type(members) ~= "table" then members = { members } end
  for _, one in ipairs(members) do
    api.check_name(one, what .. ": a member", 3)
    if not seen[one] then list[#list + 1], seen[one] = one, true end
  end
  if next(members) ~= nil and #list == 0 then
    core.blame(what .. ": a name or a list of names of members expected")
  end
  table.sort(list)
  return list
end

-- ---- the bucket -------------------------------------------------------------------

---@param err table|nil
---@return nil, table err  operation: it was there
local function no_group(self, err)
  local _, missing = api.not_found("there is no elastic group '%s' of the stream '%s': "
    .. "app.js.create_elastic_group makes one", self.name, self.stream)
  missing.operation = err and err.operation
  return nil, missing
end

---@param bucket kv|nil
---@return kv.entry|nil entry, table|nil err
function M.entry_of(self, bucket)
  local err
  if not bucket then
    bucket, err = kv.key_value(elastic.BUCKET)
    if not bucket and err.code == "not_found" then return no_group(self) end
    if not bucket then return nil, err end
  end
  local entry
  entry, err = bucket:get(elastic.key_of(self.stream, self.name))
  if entry or err.code ~= "not_found" then return entry, err end
  return no_group(self, err)
end

local function damaged(self, fault)
  return api.failure("jetstream", "the key '%s' of the bucket %s is no consumer group: %s",
    elastic.key_of(self.stream, self.name), elastic.BUCKET, fault)
end

---@return elastic_shape|nil shape, table|nil err, kv.entry|nil entry
function M.shape_of(self, bucket)
  local entry, err = M.entry_of(self, bucket)
  if not entry then return nil, err end
  local shape, fault = elastic.parse(entry.value)
  if not shape then return nil, damaged(self, fault) end
  return shape, nil, entry
end

---Changes the entry, which others may do at the same moment.
---@param change fun(config: table, shape: elastic_shape): boolean|nil, table|nil
---@return boolean|nil ok, table|nil err
local function change_entry(self, change)
  local bucket, err = kv.key_value(elastic.BUCKET)
  if not bucket and err.code == "not_found" then return no_group(self) end
  if not bucket then return nil, err end
  for _ = 1, ATTEMPTS do
    local shape, entry
    shape, err, entry = M.shape_of(self, bucket)
    if not shape then return nil, err end
    local config = json.decode(entry.value)
    local ok, why = change(config, shape)
    if not ok then return nil, why end
    ok, err = bucket:update(elastic.key_of(self.stream, self.name), config, entry.revision)
    if ok then return true end
    if err.code ~= "wrong_last_sequence" then return nil, err end
  end
  return nil, err
end

-- ---- methods --------------------------------------------------------------

local function decoded_members(config)
  local members = config.members
  if type(members) ~= "table" or #members == 0 then return nil end
  local list = {}
  for i, one in ipairs(members) do list[i] = one end
  table.sort(list)
  return list
end

---What it is, and who reads what.
---@return table|nil info, table|nil err
function elastic_group:info()
  local shape, err, entry = M.shape_of(self)
  if not shape then return nil, err end
  local work
  work, err = streams.stream_info(elastic.work_of(self.stream, self.name))
  if not work and err.code ~= "not_found" then return nil, err end
  local config = json.decode(entry.value)
  local mapped = type(config.member_mappings) == "table" and #config.member_mappings > 0
  local shares = elastic.shares(shape)
  return { partitions = shape.count, filters = shape.filters, max_msgs = shape.max_msgs,
    max_bytes = shape.max_bytes, members = decoded_members(config),
    mappings = mapped and shares or nil, shares = shares, revision = entry.revision,
    pending = work and work.state.messages or 0 }
end

---The members for which a process reads just now.
---@return string[]|nil members, table|nil err
function elastic_group:active()
  local list, err = consumers.list(elastic.work_of(self.stream, self.name))
  if not list then
    if err.code == "not_found" then return no_group(self) end
    return nil, err
  end
  local names = {}
  for _, info in ipairs(list) do
    if (info.num_waiting or 0) > 0 then names[#names + 1] = info.name end
  end
  table.sort(names)
  return names
end

---@return boolean|nil ok, table|nil err
local function change_members(self, change)
  return change_entry(self, function(config)
    if type(config.member_mappings) == "table" and #config.member_mappings > 0 then
      return nil, api.failure("exists", "the partitions of the elastic group '%s' are mapped "
        .. "to members: change the mappings, or replace them with elastic:set_members()",
        self.name)
    end
    local list, names = {}, change(decoded_members(config) or {})
    for name in pairs(names) do list[#list + 1] = name end
    table.sort(list)
    elastic.set_members(config, list)
    return true
  end)
end

local function set_of(list)
  local set = {}
  for _, one in ipairs(list) do set[one] = true end
  return set
end

---@param members string|string[]
---@return boolean|nil ok, table|nil err
function elastic_group:add_members(members)
  local added = M.names_of("elastic:add_members", members)
  return change_members(self, function(there)
    local set = set_of(there)
    for _, one in ipairs(added) do set[one] = true end
    return set
  end)
end

---@param members string|string[]
---@return boolean|nil ok, table|nil err
function elastic_group:remove_members(members)
  local removed = M.names_of("elastic:remove_members", members)
  return change_members(self, function(there)
    local set = set_of(there)
    for _, one in ipairs(removed) do set[one] = nil end
    return set
  end)
end

---These are all; there are no mappings any more.
---@param members string[]
---@return boolean|nil ok, table|nil err
function elastic_group:set_members(members)
  check.table("elastic:set_members", members)
  local list = M.names_of("elastic:set_members", members)
  return change_entry(self, function(config)
    elastic.set_members(config, list)
    return true
  end)
end

---Who reads what.
---@param mappings table<string, integer[]>
---@return boolean|nil ok, table|nil err
function elastic_group:set_mappings(mappings)
  local what = "elastic:set_mappings"
  check.table(what, mappings)
  for name, numbers in pairs(mappings) do
    api.check_name(name, what .. ": a member")
    check.table(what, numbers)
  end
  return change_entry(self, function(config, shape)
    local _, fault
    elastic.set_members(config, nil, mappings)
    _, fault = partitions.base(json.encode(config))
    if fault then return nil, api.failure("invalid", "%s: %s", what, fault) end
    return shape ~= nil
  end)
end

check.class("elastic", elastic_group)
M.methods = elastic_group

return M
