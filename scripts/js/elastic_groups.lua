---Elastic consumer groups are created, opened, deleted and listed: their entries in the bucket,
---and the stream that each of them has.
local core = require "lunats.core"
local check = require "lunats.check"
local api = require "lunats.js.api"
local elastic = require "lunats.js.elastic"
local groups = require "lunats.js.elastic_group"
local json = require "lunats.json"
local kv = require "lunats.js.kv"
local partitions = require "lunats.js.partitions"
local streams = require "lunats.js.streams"

local M = {}

-- ---- names ------------------------------------------------------------------------

---Keys of buckets, of which the name of a group is a token.
local function check_names(what, stream, name)
  api.check_name(stream, what .. ": the stream", 2)
  if not stream:find "^[%w_=-]+$" then
    core.blame(("%s: the stream '%s': a stream whose name is no part of a key has no elastic "
      .. "groups: letters, digits, '_', '-' and '='"):format(what, stream))
  end
  if type(name) ~= "string" or not name:find "^[%w_=-]+$" or #name > 100 then
    core.blame(("%s: the name '%s' of a group may have letters, digits, '_', '-' and '='")
      :format(what, check.shown(name)))
  end
end

-- ---- making one -------------------------------------------------------------------

local CREATE = { partitions = "number", filters = "table", members = "table",
  mappings = "table", max_msgs = "number", max_bytes = "number" }

---@return elastic_filter[]
local function filters_of(what, list)
  local filters = {}
  for i, one in ipairs(list) do
    if type(one) == "string" then
      filters[i] = { filter = one, wildcards = elastic.all_wildcards(one) }
    elseif type(one) == "table" then
      core.check(what, one, { filter = "string", wildcards = "table" })
      filters[i] = { filter = one.filter, wildcards = one.wildcards or {} }
    else
      core.blame(what .. ": filters: a subject or a table expected, got " .. type(one))
    end
  end
  local fault = elastic.fault_of(filters)
  if fault then core.blame(what .. ": filters: " .. fault) end
  return filters
end

---Which members there are, for elastic.set_members().
---@return string[]|nil members, table<string, integer[]>|nil mappings
local function readers_of(what, opts, count)
  if opts.members and opts.mappings then
    core.blame(what .. ": either members or mappings")
  end
  local members = opts.members and groups.names_of(what, opts.members)
  if opts.mappings then
    for name in pairs(opts.mappings) do
      api.check_name(name, what .. ": mappings: a member", 3)
    end
    local config = { max_members = count }
    elastic.set_members(config, nil, opts.mappings)
    local _, fault = partitions.base(json.encode(config))
    if fault then core.blame(("%s: mappings: %s"):format(what, fault)) end
  end
  return members, opts.mappings
end

---@return kv|nil bucket, table|nil err
local function open_bucket(origin)
  local bucket, err = kv.key_value(elastic.BUCKET)
  if bucket or err.code ~= "not_found" then return bucket, err end
  bucket, err = kv.create_key_value { bucket = elastic.BUCKET, replicas = origin.num_replicas }
  if bucket or not err.differences then return bucket, err end
  return kv.key_value(elastic.BUCKET) -- another one was faster
end

---One that is there must be the same but for its members.
---@return boolean|nil there, table|nil err
local function check_there(self, shape, bucket)
  local there, err = groups.shape_of(self, bucket)
  if not there and err.code == "not_found" then return false end
  if not there then return nil, err end
  if elastic.same(shape, there) then return true end
  return nil, api.failure("exists", "the elastic group '%s' of the stream '%s' is there with "
    .. "other partitions, filters or limits, which cannot be changed: delete it when all is "
    .. "handled, or take another name", self.name, self.stream)
end

---The stream of the group, as it should be.
local function make_work(self, shape, origin)
  local config = elastic.work_config(self.stream, self.name, shape, origin)
  local there = streams.stream_info(config.name)
  local fault = there and elastic.work_fault(self.stream, shape, there.config)
  if fault then
    return nil, api.failure("exists", "the stream '%s', which would be that of the group, is "
      .. "there already: %s", config.name, fault)
  end
  if there then return true end
  local info, err = streams.add_stream(config)
  if info then return true end
  err.message = ("the stream '%s' of the group cannot be made: %s"):format(config.name,
    err.message)
  return nil, err
end

local function level_for(shape)
  local ok, err = api.need_level(api.LEVEL_2_11, "elastic consumer groups")
  if not ok or not elastic.needs_2_12(shape) then return ok, err end
  return api.need_level(api.LEVEL_2_12, "partitions by the whole subject (filters with * only "
    .. "work on older ones)")
end

---Creates an elastic consumer group. One that is there stays as it is, with its members.
---@param stream string
---@param name string
---@param opts table
---@return elastic_group|nil group, table|nil err
function M.create_elastic_group(stream, name, opts)
  local what = "app.js.create_elastic_group"
  check_names(what, stream, name)
  check.table(what, opts)
  opts = core.check(what, opts, CREATE)
  if not opts.partitions then core.blame(what .. ": partitions: how many are there to be?") end
  check.whole(what, "partitions", opts.partitions, 1, partitions.MOST)
  check.whole(what, "max_msgs", opts.max_msgs, 1)
  check.whole(what, "max_bytes", opts.max_bytes, 1)
  local shape = { count = math.tointeger(opts.partitions), max_msgs = opts.max_msgs,
    max_bytes = opts.max_bytes, filters = filters_of(what, opts.filters or {}) }
  local members, mappings = readers_of(what, opts, shape.count)
  local ok, err = level_for(shape)
  if not ok then return nil, err end
  local origin, bucket
  origin, err = streams.stream_info(stream)
  if not origin then return nil, err end
  bucket, err = open_bucket(origin.config)
  if not bucket then return nil, err end
  local self = groups.new(stream, name)
  local there
  there, err = check_there(self, shape, bucket)
  if there == nil then return nil, err end
  ok, err = make_work(self, shape, origin.config)
  if not ok then return nil, err end
  if there then return self end
  local config = elastic.config_of(shape)
  elastic.set_members(config, members, mappings)
  ok, err = bucket:create(elastic.key_of(stream, name), config)
  if ok then return self end
  if err.code ~= "wrong_last_sequence" then return nil, err end
  local why
  there, why = check_there(self, shape, bucket) -- another one was faster
  if there then return self end
  return nil, why or err
end

---Opens one that is there.
---@param stream string
---@param name string
---@return elastic_group|nil group, table|nil err
function M.elastic_group(stream, name)
  check_names("app.js.elastic_group", stream, name)
  local self = groups.new(stream, name)
  local shape, err = groups.shape_of(self)
  if not shape then return nil, err end
  return self
end

---@param missing table|nil  err: it has no entry
---@return boolean|nil ok, table|nil err
local function delete_work(self, missing)
  local work = elastic.work_of(self.stream, self.name)
  local info, err = streams.stream_info(work)
  if not info and err.code ~= "not_found" then return nil, err end
  if not info or elastic.work_fault(self.stream, nil, info.config) then -- somebody else's
    if missing then return nil, missing end
    return true
  end
  local ok
  ok, err = streams.delete_stream(work)
  if ok or err.code == "not_found" then return true end
  return nil, err
end

---Deletes one, with what it has not handled. Who reads it stops.
---@param stream string
---@param name string
---@return boolean|nil ok, table|nil err
function M.delete_elastic_group(stream, name)
  check_names("app.js.delete_elastic_group", stream, name)
  local self = groups.new(stream, name)
  local bucket = kv.key_value(elastic.BUCKET)
  local entry, err = groups.entry_of(self, bucket)
  if entry then
    local ok
    ok, err = bucket:delete(elastic.key_of(stream, name))
    if not ok then return nil, err end
    return delete_work(self)
  end
  -- Whoever deleted it may have been cut off between the two.
  if err.code == "not_found" and err.operation then return delete_work(self, err) end
  return nil, err
end

---The names of the elastic groups of a stream.
---@param stream string
---@return string[]|nil names, table|nil err
function M.elastic_group_names(stream)
  check_names("app.js.elastic_group_names", stream, "x")
  local bucket, err = kv.key_value(elastic.BUCKET)
  if not bucket then
    if err.code == "not_found" then return {} end
    return nil, err
  end
  local keys
  keys, err = bucket:keys(stream .. ".*")
  if not keys then return nil, err end
  local names = {}
  for i, key in ipairs(keys) do names[i] = key:sub(#stream + 2) end
  table.sort(names)
  return names
end

return M
