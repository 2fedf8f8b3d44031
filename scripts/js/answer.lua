---What answers of the JetStream API look like, as far as anything depends on it. Whoever reads
---one need not ask whether a field is there, or what it is.
local core = require "lunats.core"
local json = require "lunats.json"
local config = require "lunats.js.config"
local errors = require "lunats.js.errors"
local schema = require "lunats.js.schema"

-- ---- the fields -------------------------------------------------------------

---Kinds are those of schema.lua, and "name", which may be part of a subject, "sequence", with
---which one may calculate and ask again, and "counts" by names. Fields that are not named here
---may be anything.
local LIST = schema.LIST

local STATE = { messages = "count", bytes = "count", first_seq = "sequence",
  last_seq = "sequence", subjects = "counts" }
local STREAM = { config = schema.fields.stream, state = STATE, created = "string",
  total = "count" }
local SEQUENCES = { consumer_seq = "sequence", stream_seq = "sequence" }
local CONSUMER = { name = "name", stream_name = "name", created = "string",
  config = schema.fields.consumer, delivered = SEQUENCES, ack_floor = SEQUENCES,
  num_pending = "count", num_ack_pending = "count", push_bound = "boolean" }
local MESSAGE = { subject = "string", seq = "sequence", data = "string", hdrs = "string",
  time = "string" }
local ERROR = { code = "whole", err_code = "whole", description = "string" }

local function page(name, kind) return { total = "count", [name] = { LIST, kind } } end
local STORED, PURGED = { message = MESSAGE }, { purged = "count" }

---By what the request begins with.
local ANSWERS = {
  INFO = { api = { level = "count" } },
  ["STREAM.CREATE"] = STREAM, ["STREAM.UPDATE"] = STREAM, ["STREAM.INFO"] = STREAM,
  ["STREAM.LIST"] = page("streams", STREAM), ["STREAM.NAMES"] = page("streams", "name"),
  ["STREAM.PURGE"] = PURGED, ["STREAM.MSG.GET"] = STORED,
  ["CONSUMER.CREATE"] = CONSUMER, ["CONSUMER.INFO"] = CONSUMER, ["CONSUMER.RESET"] = CONSUMER,
  ["CONSUMER.LIST"] = page("consumers", CONSUMER),
  ["CONSUMER.NAMES"] = page("consumers", "name"),
}

---What is always there, but for those in a list, which are shown as they are.
local NEEDED = {
  [STREAM] = { "config", "state" }, [schema.fields.stream] = { "name" },
  [STATE] = { "messages", "bytes", "last_seq" },
  [CONSUMER] = { "name", "stream_name", "config", "delivered", "ack_floor", "num_pending" },
  [SEQUENCES] = { "consumer_seq", "stream_seq" },
  [STORED] = { "message" }, [MESSAGE] = { "subject", "seq" }, [PURGED] = { "purged" },
}

-- ---- checking ---------------------------------------------------------------

local function type_of(value) return json.is_array(value) and "list" or type(value) end

---Beyond 63 bits they are floats.
local function is_whole(value)
  return math.type(value) == "integer"
    or type(value) == "number" and (value >= 2^63 or value < -2^63)
end

local function is_count(value) return is_whole(value) and value >= 0 end
local function is_sequence(value) return math.type(value) == "integer" and value >= 0 end

local function is_counts(value)
  for name, one in pairs(value) do
    if type(name) ~= "string" or not is_sequence(one) then return false end
  end
  return type_of(value) == "table"
end

local function is_words(value)
  for name, one in pairs(value) do
    if type(name) ~= "string" or type(one) ~= "string" then return false end
  end
  return type_of(value) == "table"
end

local SCALARS = {
  string = function(value) return type(value) == "string" end,
  boolean = function(value) return type(value) == "boolean" end,
  table = function(value) return type_of(value) == "table" end,
  words = function(value) return type(value) == "table" and is_words(value) end,
  counts = function(value) return type(value) == "table" and is_counts(value) end,
  whole = is_whole, count = is_count, sequence = is_sequence,
  name = function(value) return type(value) == "string" and core.js_name_ok(value) end,
}
SCALARS.subject = SCALARS.string

local fault_of

local function fault_in_list(kind, list, path)
  if type_of(list) ~= "list" then return ("%s is a %s"):format(path, type_of(list)) end
  for i, value in ipairs(list) do
    local fault = fault_of(kind == "time" and "whole" or kind, value,
      ("%s[%d]"):format(path, i), true)
    if fault then return fault end
  end
end

local function fault_in_table(fields, value, path, listed)
  if type_of(value) ~= "table" then return ("%s is a %s"):format(path, type_of(value)) end
  for name, kind in pairs(fields) do
    if value[name] == json.null then value[name] = nil end -- means that it is not there
    if kind == "time" then kind = config.is_duration(name) and "whole" or "string" end
    local fault = value[name] ~= nil
      and fault_of(kind, value[name], ("%s.%s"):format(path, name), listed)
    if fault then return fault end
  end
  for _, name in ipairs(not listed and NEEDED[fields] or {}) do
    if value[name] == nil then return ("%s.%s is missing"):format(path, name) end
  end
end

---@return string|nil fault  what is wrong, the first of it
function fault_of(kind, value, path, listed)
  if type(kind) == "table" and kind[1] == LIST then
    return fault_in_list(kind[2], value, path)
  elseif type(kind) == "table" and not kind[1] then
    return fault_in_table(kind, value, path, listed)
  end
  local fits = SCALARS[kind] or SCALARS.string -- one of some words, or a newer one
  if fits(value) then return nil end
  return kind == "name" and type(value) == "string" and ("%s is no name"):format(path)
    or ("%s is a %s"):format(path, type_of(value))
end

---@param op string what follows the prefix: "STREAM.INFO.ORDERS"
local function kind_of(op)
  return ANSWERS[op:match "^%u+%.%u+%.%u+" or ""] or ANSWERS[op:match "^%u+%.%u+" or ""]
    or ANSWERS[op] or {}
end

---Looks at an answer; fields that are null are removed from it.
---@param op string what follows the prefix
---@param reply table as on the wire
---@return table|nil refusal error object of the server
---@return string|nil fault why this is no answer
return function(op, reply)
  local refusal, kind = reply.error, kind_of(op)
  if refusal ~= nil and refusal ~= json.null then
    return refusal, fault_of(ERROR, refusal, "error")
  end
  if kind == CONSUMER and reply.config == nil then -- of a server that is just deleting it
    return { err_code = errors.CONSUMER_NOT_FOUND, code = 404,
      description = "consumer not found" }
  end
  return nil, fault_of(kind, reply, "answer")
end
