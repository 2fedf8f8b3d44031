---What buckets of the key-value store and of the object store have in common: names, and the
---stream behind a bucket.
local api = require "lunats.js.api"
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

---Creates the stream, or finds it with the same configuration; a wrong value is an error of the
---caller's caller.
---@return table|nil info of the stream, table|nil err
function M.create(what, config)
  api.to_wire(what, config, 2)
  local info, err = streams.add_stream(config)
  return info, err
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
