---What a consumer group reads: how many partitions, by which subjects, and whose they are. A
---script says it, or a bucket does, in the format of the static consumer groups of orbit.
local core = require "lunats.core"
local api = require "lunats.js.api"
local balance = require "lunats.js.balance"
local json = require "lunats.json"
local stored = require "lunats.js.stored"

local M = {
  BUCKET = "static-consumer-groups",
  ---Partitions of a group.
  MOST = 1024,
}
M.STREAM = "KV_" .. M.BUCKET

---Stands in subjects where the number is.
local PLACE = "{partition}"

---@class partitions
---@field count integer
---@field subjects string[]|nil  with PLACE; nil: nobody has said
---@field owners table<integer, string>|nil  members by partition

-- ---- subjects ---------------------------------------------------------------------

---@return integer|nil token  the number of the one that is PLACE
local function place_of(subject)
  local found, number = nil, 0
  for token in subject:gmatch "[^.]+" do
    number = number + 1
    if token == PLACE then
      if found then return nil end
      found = number
    end
  end
  return found
end

---What is wrong with them; nil: nothing.
---@param subjects any
---@return string|nil
local function fault_of(subjects)
  if #subjects == 0 then return "an empty list" end
  for _, one in ipairs(subjects) do
    if type(one) ~= "string" then return "a string expected, got " .. type(one) end
    local place = place_of(one)
    if not place then
      return ("'%s' must have one token %s, where the number of the partition is"):format(one,
        PLACE)
    end
    if place ~= place_of(subjects[1]) then
      return PLACE .. " must be the same token of all subjects"
    end
    if not pcall(core.check_pattern, (one:gsub(PLACE, "0"))) then
      return ("invalid subject '%s'"):format(one)
    end
  end
end

---Checks the option `subject`; a wrong one is an error of the script.
---@param what string
---@param subject string|string[]
---@return string[]
function M.subjects(what, subject)
  local subjects = type(subject) == "table" and subject or { subject }
  local fault = fault_of(subjects)
  if fault then core.blame(("%s: subject: %s"):format(what, fault)) end
  return subjects
end

---Where nobody says which subjects: all that begin with the number. Servers of 2.9 want to have
---it in the words of the stream.
---@param config table of the stream
---@return string[]
function M.all_of(config)
  local found
  for _, subject in ipairs(config.subjects or {}) do
    local first, rest = subject:match "^([^.]+)(%..+)"
    if first and (first == "*" or first:find "^%d+$") then
      if found and found ~= rest then return { PLACE .. ".>" } end
      found = rest
    end
  end
  return { PLACE .. (found or ".>") }
end

---The subjects of one partition.
---@param self partitions
---@return string[]
function M.of(self, number)
  local list = {}
  for i, one in ipairs(self.subjects) do
    list[i] = one:gsub(PLACE, tostring(number))
  end
  return list
end

---The key that all messages of a partition have in common.
---@param self partitions
---@return string
function M.key(self) return "subject:" .. place_of(self.subjects[1]) end

-- ---- the bucket -------------------------------------------------------------------

local function is_list(value, kind)
  if type(value) ~= "table" then return false end
  for _, one in ipairs(value) do
    if type(one) ~= kind then return false end
  end
  return true
end

---A list of the configuration, which may be missing.
---@return table|nil list, string|nil fault
function M.list_of(config, name, kind)
  local value = config[name]
  if value == nil or value == json.null then return {} end
  if is_list(value, kind) then return value end
  return nil, ("%s is no list of %ss"):format(name, kind)
end

---@return table<integer, string>|nil owners, string|nil fault
local function mapped(mappings, count)
  local owners, named, left = {}, {}, count
  for _, one in ipairs(mappings) do
    local member, numbers = one.member, one.partitions
    if type(member) ~= "string" or not is_list(numbers, "number") then
      return nil, "member_mappings: each needs a member and its partitions"
    end
    if named[member] then return nil, ("the member '%s' is mapped twice"):format(member) end
    named[member] = true
    for _, number in ipairs(numbers) do
      local valid = math.tointeger(number)
      if not valid or valid < 0 or valid >= count or owners[valid] then
        return nil, ("the partition %s of '%s' is mapped twice, or there is none"):format(
          number, member)
      end
      owners[valid], left = member, left - 1
    end
  end
  if left > 0 then return nil, ("%d partitions are mapped to nobody"):format(left) end
  return owners
end

---@param config table
---@return table<integer, string>|nil owners, string|nil fault
local function owners_of(config, count)
  local members, mappings, fault
  members, fault = M.list_of(config, "members", "string")
  if not members then return nil, fault end
  mappings, fault = M.list_of(config, "member_mappings", "table")
  if not mappings then return nil, fault end
  if #members > 0 and #mappings > 0 then return nil, "both members and member_mappings" end
  if #mappings > 0 then return mapped(mappings, count) end
  return balance.blocks(members, count)
end

---What static and elastic groups have in common.
---@param text string  JSON, as it stands in the bucket
---@return partitions|nil shape, string|nil fault, table|nil config
function M.base(text)
  local config, bad = json.decode(text)
  if type(config) ~= "table" then return nil, "it is not JSON: " .. tostring(bad or text) end
  local count = math.tointeger(config.max_members)
  if not count or count < 1 or count > M.MOST then
    return nil, ("max_members must be a whole number from 1 to %d"):format(M.MOST)
  end
  local owners, fault = owners_of(config, count)
  if not owners then return nil, fault end
  return { count = count, owners = owners }, nil, config
end

---@param text string  JSON, as it stands in the bucket
---@return partitions|nil, string|nil fault
function M.parse(text)
  local shape, wrong, config = M.base(text)
  if not shape then return nil, wrong end
  local filters, fault = M.list_of(config, "filters", "string")
  if not filters then return nil, fault end
  local subjects = {}
  for i, filter in ipairs(filters) do subjects[i] = PLACE .. "." .. filter end
  if #filters == 0 then subjects = nil end
  fault = subjects and fault_of(subjects)
  if fault then return nil, "filters: " .. fault end
  shape.subjects = subjects
  return shape
end

---@param stream string
---@param group string
---@return string
function M.subject_of(stream, group)
  return ("$KV.%s.%s.%s"):format(M.BUCKET, stream, group)
end

---What a bucket says of a group.
---@param bucket string
---@param stream string
---@param group string
---@param advice string  what to do where there is none
---@param parse fun(text: string): table|nil, string|nil
---@return table|nil shape, table|nil err, integer|nil revision
function M.look(bucket, stream, group, advice, parse)
  local key = stream .. "." .. group
  local entry, err = stored.get({ name = "KV_" .. bucket },
    { last_by_subj = ("$KV.%s.%s"):format(bucket, key) })
  if entry and entry.headers["KV-Operation"] or err and err.code == "not_found" then
    return api.not_found("there is no key '%s' in the bucket %s: %s", key, bucket, advice)
  end
  if not entry then
    if err.code == "no_stream" then
      return api.not_found("there is no bucket %s that says what it is: %s", bucket, advice)
    end
    return nil, err
  end
  local found, fault = parse(entry.data)
  if found then return found, nil, entry.sequence end
  return nil, api.failure("jetstream", "the key '%s' of the bucket %s is no consumer group: %s",
    key, bucket, fault)
end

---What the bucket says of a group.
---@return partitions|nil, table|nil err
function M.read(stream, group)
  return M.look(M.BUCKET, stream, group, "create the group there, or say how many `partitions` "
    .. "it has", M.parse)
end

return M
