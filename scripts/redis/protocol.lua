---RESP2, what Redis speaks: commands as text, replies as values.
local core = require "lunats.core"

local M = { null = require("lunats.json").null }

---A bulk of Redis has 512 MiB at most, and nobody nests so deep.
local BULK_MAX, DEPTH_MAX = 1 << 29, 32

-- ---- commands ------------------------------------------------------------------

local function text_of(value)
  if type(value) == "string" then return value end
  if math.type(value) == "integer" then return ("%d"):format(value) end
  if math.type(value) == "float" then return ("%.17g"):format(value) end
end

---Puts a value behind the arguments; the items of a list, or the keys and values of a table.
---@return string|nil why
local function add(arguments, value)
  local text = text_of(value)
  if text then
    arguments[#arguments + 1] = text
    return nil
  end
  if type(value) ~= "table" then return "a " .. type(value) end
  if next(value) == nil then return "an empty table" end
  if #value > 0 then
    for _, item in ipairs(value) do
      local one = text_of(item)
      if not one then return ("a list with a %s in it"):format(type(item)) end
      arguments[#arguments + 1] = one
    end
    return nil
  end
  for key, item in pairs(value) do
    local name, one = text_of(key), text_of(item)
    if not name or not one then return ("a table with a %s in it"):format(type(item)) end
    arguments[#arguments + 1] = name
    arguments[#arguments + 1] = one
  end
end

---Raises where a value is none that can be sent.
---@param name string  of the command
---@return string
function M.encode(name, ...)
  local arguments = { name }
  for i = 1, select("#", ...) do
    local why = add(arguments, (select(i, ...)))
    if why then
      core.blame(("redis: %s: argument %d is %s; strings, numbers, lists and tables of them "
        .. "can be sent"):format(name, i, why))
    end
  end
  local parts = { ("*%d\r\n"):format(#arguments) }
  for _, one in ipairs(arguments) do
    parts[#parts + 1] = ("$%d\r\n"):format(#one)
    parts[#parts + 1] = one
    parts[#parts + 1] = "\r\n"
  end
  return table.concat(parts)
end

-- ---- replies -------------------------------------------------------------------

local function garbled(what)
  return nil, core.error("redis", "this is no reply of Redis: " .. what)
end

---An error that the server has answered with; `kind` is its first word.
local function refusal(text)
  local err = core.error("redis", text)
  err.kind = text:match "^(%u+)%f[^%u]"
  return err
end

---The time of a whole reply. Each item of a list is a read of its own, which has the time that
---is left, give or take a part of it: setting it for each would cost as much as reading.
---@class redis_limit
---@field due number  core.clock()
---@field slack number  seconds
---@field later number  when the reads get less time

---@param limit redis_limit|nil
local function in_time(socket, limit)
  local now = limit and core.clock()
  if not limit or now < limit.later then return true end
  if now >= limit.due then return false end
  socket:settimeout(limit.due - now)
  limit.later = math.min(now + limit.slack, limit.due)
  return true
end

local read

local function read_bulk(socket, len)
  if len == -1 then return M.null end
  if not len or len < 0 or len > BULK_MAX then return garbled "a string of no length" end
  local bytes, err = socket:read(len)
  if not bytes then return nil, err end
  local tail
  tail, err = socket:read(2)
  if tail == "\r\n" then return bytes end
  if tail then return garbled "a string without its end" end
  return nil, err
end

local function read_list(socket, count, depth, limit)
  if count == -1 then return M.null end
  if not count or count < 0 or depth > DEPTH_MAX then return garbled "a list of no length" end
  local list = {}
  for i = 1, count do
    if not in_time(socket, limit) then
      return nil, core.error("timeout", "redis: the reply did not come to its end in time")
    end
    local value, err, is_refusal = read(socket, depth + 1, limit)
    if value == nil and not is_refusal then return nil, err end
    list[i] = value == nil and err or value
  end
  return list
end

---@return any value  M.null where there is none, nil: an error
---@return table|nil err
---@return boolean|nil is_refusal  by the server; the connection is as good as before
function read(socket, depth, limit)
  local line, err = socket:read "line"
  if not line then return nil, err end
  local sign, rest = line:sub(1, 1), line:sub(2)
  if sign == "+" then return rest end
  if sign == "-" then return nil, refusal(rest), true end
  if sign == ":" then
    local number = math.tointeger(tonumber(rest))
    if number then return number end
    return garbled "a number that is none"
  end
  if sign == "$" then return read_bulk(socket, math.tointeger(tonumber(rest))) end
  if sign == "*" then
    return read_list(socket, math.tointeger(tonumber(rest)), depth, limit)
  end
  return garbled(("%q"):format(line:sub(1, 40)))
end

---@param timeout number|nil  seconds for all of it (the socket may keep less); nil: each read
---has what the socket has
function M.read(socket, timeout)
  if not timeout then return read(socket, 1) end
  local now, slack = core.clock(), timeout / 8
  socket:settimeout(timeout)
  return read(socket, 1, { due = now + timeout, slack = slack, later = now + slack })
end

return M
