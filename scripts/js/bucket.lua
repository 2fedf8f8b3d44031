---What buckets of the key-value store and of the object store have in common: names, and the
---stream behind a bucket.
local json = require "lunats.json"
local api = require "lunats.js.api"
local differences = require "lunats.js.differences"
local errors = require "lunats.js.errors"
local streams = require "lunats.js.streams"

local M = {}

-- ---- names --------------------------------------------------------------------

local LONGEST = 250

---Raises unless `name` can name a bucket.
---@param name string
---@param what string names the function in errors
---@param level integer|nil
---@return string
function M.check_name(name, what, level)
  level = (level or 1) + 2
  if type(name) ~= "string" then
    error(("%s: the name of a bucket expected, got %s"):format(what, type(name)), level)
  end
  if #name > LONGEST or not name:find "^[A-Za-z0-9_-]+$" then
    error(("%s: invalid bucket name '%s': letters, digits, '_' and '-'"):format(what, name),
      level)
  end
  return name
end

---@param prefix string of the streams: "KV_"
---@return string[]|nil names of buckets, table|nil err
function M.names(prefix)
  -- Mirrors have no subjects, so a filter by subject would leave them out.
  local all, err = api.pages("STREAM.NAMES", "streams", {})
  if not all then return nil, err end
  local names = {}
  for _, name in ipairs(all) do
    if name:sub(1, #prefix) == prefix then names[#names + 1] = name:sub(#prefix + 1) end
  end
  return names
end

-- ---- the stream ---------------------------------------------------------------

---The server speaks of streams.
local function no_bucket(err, name)
  if err.err_code == errors.STREAM_NOT_FOUND then
    err.message = ("there is no bucket '%s'"):format(name)
  end
  return err
end

---What buckets call the fields of their stream.
local OPTIONS = {
  max_msgs_per_subject = "history", max_age = "ttl", max_msg_size = "max_value_size",
  num_replicas = "replicas", subject_delete_marker_ttl = "limit_marker_ttl",
  allow_direct = "direct",
}

---@param list js.difference[] of the stream
---@return js.difference[] of the bucket
local function of_options(list)
  local own = {}
  for i, one in ipairs(list) do
    local asked, found = one.asked, one.found
    if one.field == "compression" then asked, found = asked == "s2", found == "s2" end
    own[i] = { field = OPTIONS[one.field] or one.field, asked = asked, found = found }
  end
  return own
end

---The call that makes of the bucket what is asked for: its stream has other names.
local function update_of(stream, list)
  local fields = { ("name = %q"):format(stream) }
  for _, one in ipairs(list) do
    local value = type(one.asked) == "table" and "..."
      or one.asked == nil and "app.json.null" or json.encode(one.asked)
    fields[#fields + 1] = ("%s = %s"):format(one.field, value)
  end
  return ("app.js.update_stream { %s }"):format(table.concat(fields, ", "))
end

---Creates the stream, or finds it with the same configuration; a wrong value is an error of the
---caller's caller.
---@param what string names the function in errors
---@param bucket string
---@param open string the function that opens a bucket as it is
---@return table|nil info of the stream, table|nil err
function M.create(what, bucket, config, open)
  api.to_wire(what, "stream", config, 2, OPTIONS)
  local info, err = streams.add_stream(config)
  if info or not err.differences then return info, err end
  local list = err.differences
  return nil, differences.exists(err, ("bucket '%s'"):format(bucket), of_options(list),
    ("%s(%q) opens it as it is, %s changes it where it can be changed"):format(open, bucket,
      update_of(config.name, list)))
end

---@param stream string
---@param name string of the bucket
---@return table|nil info of the stream, table|nil err
function M.info(stream, name)
  local info, err = api.call("STREAM.INFO." .. stream)
  if not info then return nil, no_bucket(err, name) end
  return info
end

---@return boolean|nil ok, table|nil err
function M.delete(stream, name)
  local ok, err = api.done("STREAM.DELETE." .. stream)
  if ok == nil then return nil, no_bucket(err, name) end
  return ok
end

---Removes messages of a subject. What others write to it meanwhile stays when `last` is the
---sequence of a message that the caller has seen.
---@param last integer|nil up to this sequence
---@return boolean|nil ok, table|nil err
function M.purge(stream, subject, last)
  if last and last < 1 then return true end
  return api.done("STREAM.PURGE." .. stream,
    { filter = subject, seq = last and last + 1 or nil })
end

return M
