---The option data_type: what makes values of the bytes of messages, and the other way round.
---JSON and text are a matter of bindings/msg.c; everything else is a codec, a table with the
---functions `encode` and `decode`.
local core = require "lunats.core"
local json = require "lunats.json"

local M = {}

---@class codec
---@field encode fun(value: any): string
---@field decode fun(bytes: string): any, any
---@field content_type string|nil  what HTTP calls it

---@type codec
local msgpack = {
  content_type = "application/vnd.msgpack",
  encode = function(value) return require "lunats.msgpack".encode(value) end,
  decode = function(bytes)
    if bytes == "" then return nil end -- what sending nil sends
    return require "lunats.msgpack".decode(bytes)
  end,
}

local function blame(what, text, ...)
  core.blame((what and what .. ": " or "") .. text:format(...))
end

---The codec of a data_type, nil for those that need none. Raises for anything else.
---@param data_type any
---@param what string|nil  names the function in errors
---@return codec|nil
function M.of(data_type, what)
  if data_type == nil or data_type == "json" or data_type == "string" then return nil end
  if data_type == "msgpack" then return msgpack end
  if type(data_type) ~= "table" then
    blame(what,
      'data_type must be "json", "string", "msgpack", or a table of encode and decode')
  end
  for _, name in ipairs { "encode", "decode" } do
    if type(data_type[name]) ~= "function" then
      blame(what, "data_type: %s must be a function, not a %s", name, type(data_type[name]))
    end
  end
  local content_type = data_type.content_type
  if content_type ~= nil and type(content_type) ~= "string" then
    blame(what, "data_type: content_type must be a string, not a %s", type(content_type))
  elseif content_type and content_type:find "%c" then
    blame(what, "data_type: content_type has a control character")
  end
  return data_type
end

---What HTTP and AsyncAPI call a data_type.
---@return string
function M.content_type(data_type)
  if data_type == "string" then return "text/plain" end
  local codec = M.of(data_type)
  return codec and (codec.content_type or "application/octet-stream") or "application/json"
end

local function text_of(err)
  return tostring(type(err) == "table" and err.message or err)
end

---The bytes of a message: none for nil, whatever the codec makes of anything else.
---@param codec codec
---@return string
function M.encode(codec, value)
  if value == nil then return "" end
  local bytes, err = codec.encode(value)
  if type(bytes) == "string" then return bytes end
  if bytes == nil and err ~= nil then
    core.blame("data_type: encode cannot do it: " .. text_of(err))
  end
  core.blame(("data_type: encode must return a string, not a %s"):format(type(bytes)))
end

---What has nothing to do with the bytes: the end of a fiber, of its time, of memory.
local function is_of_caller(err)
  return core.cancelled() or err == "not enough memory"
    or type(err) == "table" and err.code == "slice"
end

---@param codec codec
---@param bytes string
---@return any value
---@return string|nil code, string|nil problem  that of an error, and what is wrong with them
function M.decode(codec, bytes)
  local ok, value, err = pcall(codec.decode, bytes)
  if ok and (value ~= nil or err == nil) then return value end
  if not ok then
    if is_of_caller(value) then error(value, 0) end
    err = value
  end
  return nil, "bad_data", "cannot be decoded: " .. text_of(err)
end

---The same by a data_type, for what is no message of bindings/msg.c.
---@return any value
---@return string|nil code, string|nil problem
function M.read(data_type, bytes)
  if data_type == "string" then return bytes end
  local codec = M.of(data_type)
  if codec then return M.decode(codec, bytes) end
  if bytes == "" then return nil end
  local value, err = json.decode(bytes)
  if err then return nil, "bad_json", "is not JSON: " .. err.message end
  return value
end

return M
