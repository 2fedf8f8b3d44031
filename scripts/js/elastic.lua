---Elastic consumer groups: what a bucket says of one, in the format of orbit (pcgroups), and
---what follows from it. Such a group has a stream of its own, a work queue that copies the
---messages of the stream and puts the number of the partition before each subject.
local core = require "lunats.core"
local json = require "lunats.json"
local partitions = require "lunats.js.partitions"

local M = {
  BUCKET = "elastic-consumer-groups",
  ---The priority group of the consumers, of which there is one for each member.
  PRIORITY_GROUP = "PCG",
}
M.STREAM = "KV_" .. M.BUCKET

---@class elastic_filter
---@field filter string
---@field wildcards integer[]  which "*" make the key; none: the whole subject does

---@class elastic_shape
---@field count integer
---@field owners table<integer, string>  members by partition
---@field filters elastic_filter[]  none: all of the stream
---@field max_msgs integer|nil  of the group's stream
---@field max_bytes integer|nil

---The stream of the group.
---@param stream string
---@param group string
---@return string
function M.work_of(stream, group) return stream .. "-" .. group end

---@param stream string
---@param group string
---@return string
function M.key_of(stream, group) return stream .. "." .. group end

---@param stream string
---@param group string
---@return string
function M.subject_of(stream, group)
  return ("$KV.%s.%s"):format(M.BUCKET, M.key_of(stream, group))
end

-- ---- filters ----------------------------------------------------------------------

---@param filter string
---@return integer
local function count_wildcards(filter)
  local count = 0
  for token in filter:gmatch "[^.]+" do
    if token == "*" then count = count + 1 end
  end
  return count
end

---Where nobody says which "*" make the key: all of them, unless more may be behind them.
---Servers before 2.12 cannot take the whole subject.
---@param filter string
---@return integer[]
function M.all_wildcards(filter)
  local list = {}
  if filter:sub(-1) == ">" then return list end
  for i = 1, count_wildcards(filter) do list[i] = i end
  return list
end

---@param one elastic_filter
---@return string|nil
local function fault_of(one)
  local filter, seen = one.filter, {}
  if type(filter) ~= "string" or not pcall(core.check_pattern, filter) then
    return ("invalid subject '%s'"):format(tostring(filter))
  end
  local count = count_wildcards(filter)
  if count == 0 and filter:sub(-1) ~= ">" then
    return ("'%s' must have a token * or end in >, as what it stands for makes the key")
      :format(filter)
  end
  for _, number in ipairs(one.wildcards) do
    local valid = math.tointeger(number)
    if not valid or valid < 1 or valid > count or seen[valid] then
      return ("'%s' has no * number %s, or it is named twice"):format(filter, number)
    end
    seen[valid] = true
  end
end

---What is wrong with them; nil: nothing.
---@param filters elastic_filter[]
---@return string|nil
function M.fault_of(filters)
  for _, one in ipairs(filters) do
    local fault = fault_of(one)
    if fault then return fault end
  end
end

---What puts the number before the subject. Spelled as orbit does it: a stream that is there
---must be the same one.
---@param count integer  of partitions
---@param one elastic_filter
---@return { src: string, dest: string }
local function transform(count, one)
  local args, tokens, star = { ("%d"):format(count) }, {}, 0
  for _, number in ipairs(one.wildcards) do args[#args + 1] = ("%d"):format(number) end
  for token in one.filter:gmatch "[^.]+" do
    if token == "*" then
      star = star + 1
      token = ("{{Wildcard(%d)}}"):format(star)
    end
    tokens[#tokens + 1] = token
  end
  return { src = one.filter, dest = ("{{Partition(%s)}}.%s"):format(table.concat(args, ","),
    table.concat(tokens, ".")) }
end

---@param shape elastic_shape
---@return { src: string, dest: string }[]
function M.transforms(shape)
  local list = {}
  for i, one in ipairs(shape.filters) do list[i] = transform(shape.count, one) end
  if not list[1] then list[1] = transform(shape.count, { filter = ">", wildcards = {} }) end
  return list
end

---Whether it takes a server that can make the number of the whole subject.
---@param shape elastic_shape
---@return boolean
function M.needs_2_12(shape)
  if #shape.filters == 0 then return true end
  for _, one in ipairs(shape.filters) do
    if #one.wildcards == 0 then return true end
  end
  return false
end

-- ---- the bucket -------------------------------------------------------------------

---Before 2026 there was one filter, as fields of the group.
local function old_filters(config)
  local wildcards, fault = partitions.list_of(config, "partitioning_wildcards", "number")
  if not wildcards then return nil, fault end
  return { { filter = config.filter, wildcards = wildcards } }
end

---@return elastic_filter[]|nil filters, string|nil fault
local function filters_of(config)
  if config.partitioning_filters == nil and config.filter ~= nil then
    return old_filters(config)
  end
  local list, fault = partitions.list_of(config, "partitioning_filters", "table")
  if not list then return nil, fault end
  local filters = {}
  for i, one in ipairs(list) do
    local wildcards
    wildcards, fault = partitions.list_of(one, "partitioning_wildcards", "number")
    if not wildcards then return nil, fault end
    filters[i] = { filter = one.filter, wildcards = wildcards }
  end
  return filters
end

local function limit_of(config, name)
  local limit = math.tointeger(config[name])
  return limit and limit > 0 and limit or nil
end

---@param text string  JSON, as it stands in the bucket
---@return elastic_shape|nil shape, string|nil fault
function M.parse(text)
  local shape, fault, config = partitions.base(text)
  if not shape then return nil, fault end
  local filters
  filters, fault = filters_of(config)
  fault = fault or M.fault_of(filters)
  if fault then return nil, "filters: " .. fault end
  shape.filters = filters
  shape.max_msgs = limit_of(config, "max_buffered_msg")
  shape.max_bytes = limit_of(config, "max_buffered_bytes")
  return shape
end

---@param stream string
---@param group string
---@return elastic_shape|nil shape, table|nil err, integer|nil revision
function M.read(stream, group)
  return partitions.look(M.BUCKET, stream, group, "app.js.create_elastic_group makes one",
    M.parse)
end

---The entry of a group that has no members yet.
---@param shape elastic_shape
---@return table config
function M.config_of(shape)
  local filters = json.array {}
  for i, one in ipairs(shape.filters) do
    filters[i] = { filter = one.filter, partitioning_wildcards = json.array(one.wildcards) }
  end
  return { max_members = shape.count, partitioning_filters = filters,
    max_buffered_msg = shape.max_msgs, max_buffered_bytes = shape.max_bytes }
end

---Changes who reads in an entry; all else in it stays as it is. One of both, or none.
---@param config table
---@param members string[]|nil
---@param mappings table<string, integer[]>|nil
function M.set_members(config, members, mappings)
  config.members, config.member_mappings = nil, nil
  if members and #members > 0 then config.members = json.array(members) end
  if not mappings then return end
  local list, names = json.array {}, {}
  for name in pairs(mappings) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do
    list[i] = { member = name, partitions = json.array(mappings[name]) }
  end
  config.member_mappings = list
end

---Whether two have the same partitions of the same subjects, and limits, whoever reads them.
---@param one elastic_shape|nil
---@param other elastic_shape|nil
---@return boolean
function M.same(one, other)
  local function text(shape)
    return shape and json.encode { M.transforms(shape), shape.max_msgs or 0,
      shape.max_bytes or 0 }
  end
  return text(one) == text(other)
end

---@param shape elastic_shape
---@param member string
---@return integer[]
function M.numbers_of(shape, member)
  local list = {}
  for number = 0, shape.count - 1 do
    if shape.owners[number] == member then list[#list + 1] = number end
  end
  return list
end

---@param shape elastic_shape
---@return table<string, integer[]>
function M.shares(shape)
  local shares = {}
  for number = 0, shape.count - 1 do
    local owner = shape.owners[number]
    if owner then
      shares[owner] = shares[owner] or {}
      table.insert(shares[owner], number)
    end
  end
  return shares
end


-- ---- the stream of the group ------------------------------------------------------

---@param stream string
---@param group string
---@param shape elastic_shape
---@param origin table  the configuration of the stream
---@return table config
function M.work_config(stream, group, shape, origin)
  return { name = M.work_of(stream, group), retention = "workqueue", discard = "new",
    storage = origin.storage, num_replicas = origin.num_replicas, allow_direct = true,
    max_msgs = shape.max_msgs, max_bytes = shape.max_bytes,
    sources = { { name = stream, subject_transforms = M.transforms(shape) } } }
end

---As servers read it, whoever has written it.
local function plain(dest) return (tostring(dest):lower():gsub("%s", "")) end

---Why a stream cannot be that of the group.
---@param stream string
---@param shape elastic_shape|nil  nil: whichever it has
---@param config table  of the stream that has its name
---@return string|nil fault
function M.work_fault(stream, shape, config)
  local sources = config.sources or {}
  local source = sources[1] or {}
  if config.retention ~= "workqueue" or #sources ~= 1 or source.name ~= stream then
    return ("it is no work queue of what is in '%s'"):format(stream)
  end
  if not shape then return nil end
  local wanted, found = M.transforms(shape), source.subject_transforms or {}
  local set = {}
  for _, one in ipairs(found) do set[tostring(one.src)] = plain(one.dest) end
  local same = #wanted == #found
  for _, one in ipairs(wanted) do same = same and set[one.src] == plain(one.dest) end
  if same then return nil end
  local texts = {}
  for i, one in ipairs(found) do texts[i] = ("%s -> %s"):format(one.src, one.dest) end
  return ("it makes other partitions of other subjects than the group has: %s"):format(
    texts[1] and table.concat(texts, ", ") or "none")
end

return M
