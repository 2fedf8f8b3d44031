---Keys and entries of a key-value bucket.
local core = require "lunats.core"
local json = require "lunats.json"
local stored = require "lunats.js.stored"

local M = {}

-- ---- keys -----------------------------------------------------------------------

local function bad_key(what, key, rule, level)
  if type(key) ~= "string" then
    error(("%s: a key expected, got %s"):format(what, type(key)), level + 1)
  end
  error(("%s: invalid key '%s': %s"):format(what, key, rule), level + 1)
end

local function has_empty_token(key)
  return key == "" or key:sub(1, 1) == "." or key:sub(-1) == "." or key:find("..", 1, true)
end

---Raises unless `key` may be written.
function M.check_key(key, what, level)
  if type(key) ~= "string" or has_empty_token(key) or not key:find "^[-/_=.A-Za-z0-9]+$" then
    bad_key(what, key, "letters, digits and -/_=. without a dot at an end, and no two dots "
      .. "together", (level or 1) + 2)
  end
  return key
end

local STORED = "no blanks, no dot at an end, no two dots together, '>' at the end only"

---Raises unless `key` may be one that a server has stored: other tools write other keys.
function M.check_stored(key, what, level)
  if type(key) ~= "string" or not pcall(core.check_pattern, key) then
    bad_key(what, key, STORED, (level or 1) + 2)
  end
  return key
end

---A key in which "*" stands for a token and a ">" at the end for all that follow.
M.check_filter = M.check_stored

---Whether servers take a token of the key for a pattern, although they store it as it is.
function M.is_pattern(key)
  key = "." .. key .. "."
  return key:find(".*.", 1, true) ~= nil or key:find(".>.", 1, true) ~= nil
end

-- ---- entries --------------------------------------------------------------------

---@class kv.entry
---@field bucket string
---@field key string
---@field value string|nil
---@field data any
---@field revision integer
---@field created number
---@field delta integer
---@field operation "PUT"|"DEL"|"PURGE"
local entry = {}

function entry.__index(self, name)
  if name ~= "data" then return nil end
  local value = rawget(self, "value")
  if value == nil or value == "" then return nil end
  local data, err = json.decode(value)
  if data == nil and err ~= nil then
    error(("the value of the key '%s' in the bucket '%s' is not JSON: %s"):format(self.key,
      self.bucket, tostring(err)), 2)
  end
  rawset(self, "data", data)
  return data
end

local MARKERS = { MaxAge = "PURGE", Purge = "PURGE", Remove = "DEL" }

---@return "PUT"|"DEL"|"PURGE"
local function operation_of(headers)
  local operation = stored.last(headers, "KV-Operation")
  if operation == "PUT" or operation == "PURGE" then return operation end
  if operation then return "DEL" end
  -- Put there by the server itself when a limit has removed the last value.
  return MARKERS[stored.last(headers, "Nats-Marker-Reason")] or "PUT"
end

---@param kv kv
---@param message js.stored_message
---@return kv.entry
function M.from_stored(kv, message)
  local operation = operation_of(message.headers)
  return setmetatable({
    bucket = kv.bucket, key = message.subject:sub(#kv.prefix + 1),
    value = operation == "PUT" and message.data or nil, operation = operation,
    revision = message.sequence, created = message.created, delta = 0,
  }, entry)
end

---@param kv kv
---@param msg msg as a consumer delivers it
---@param without_value boolean
---@return kv.entry
function M.from_msg(kv, msg, without_value)
  local meta = msg.metadata
  local operation = operation_of(msg.headers)
  return setmetatable({
    bucket = kv.bucket, key = msg.subject:sub(#kv.prefix + 1),
    value = operation == "PUT" and not without_value and msg.raw or nil,
    operation = operation, revision = meta.stream_sequence, created = meta.timestamp,
    delta = meta.num_pending,
  }, entry)
end

return M
