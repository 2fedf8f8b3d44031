---lunats.msgpack: MessagePack by the rules of app.json: exact integers, marked arrays,
---app.json.null. A string that is UTF-8 is written as one, others as bytes.
local core = require "lunats.core"
local json = require "lunats.json"

local M = {}

local pack, unpack, byte, sub = string.pack, string.unpack, string.byte, string.sub

local DEPTH = 100 -- tables in tables

---Of who calls, not of the value: its memory or its time is over.
local function is_of_caller(err) return type(err) ~= "string" or err == "not enough memory" end

-- ---- writing ------------------------------------------------------------------

---@type fun(out: string[], value: any, depth: integer)
local write

local function sized(out, len, small, most, codes)
  if small and len <= most then out[#out + 1] = pack("B", small + len)
  elseif codes[1] and len <= 0xff then out[#out + 1] = pack(">BB", codes[1], len)
  elseif len <= 0xffff then out[#out + 1] = pack(">BI2", codes[2], len)
  else out[#out + 1] = pack(">BI4", codes[3], len) end
end

local TEXT, BYTES = { 0xd9, 0xda, 0xdb }, { 0xc4, 0xc5, 0xc6 }
local LIST, MAP = { nil, 0xdc, 0xdd }, { nil, 0xde, 0xdf }

local function write_integer(out, n)
  local text
  if n >= -32 and n <= 127 then text = pack("b", n)
  elseif n >= 0 then
    text = n <= 0xff and pack(">BB", 0xcc, n) or n <= 0xffff and pack(">BI2", 0xcd, n)
      or n <= 0xffffffff and pack(">BI4", 0xce, n) or pack(">Bi8", 0xcf, n)
  else
    text = n >= -0x80 and pack(">Bb", 0xd0, n) or n >= -0x8000 and pack(">Bi2", 0xd1, n)
      or n >= -0x80000000 and pack(">Bi4", 0xd2, n) or pack(">Bi8", 0xd3, n)
  end
  out[#out + 1] = text
end

local function write_table(out, t, depth)
  if depth > DEPTH then error("more than 100 tables are inside of each other", 0) end
  local count = 0
  for _ in next, t do count = count + 1 end
  if json.is_array(t) then
    if count ~= #t then error("cannot encode a list with holes or named fields", 0) end
    sized(out, count, 0x90, 15, LIST)
    for i = 1, count do write(out, t[i], depth) end
    return
  end
  sized(out, count, 0x80, 15, MAP)
  for key, value in next, t do
    write(out, key, depth)
    write(out, value, depth)
  end
end

function write(out, value, depth)
  local kind = type(value)
  if value == nil or value == json.null then
    out[#out + 1] = "\xc0"
  elseif kind == "boolean" then
    out[#out + 1] = value and "\xc3" or "\xc2"
  elseif kind == "number" then
    if math.type(value) == "integer" then return write_integer(out, value) end
    out[#out + 1] = pack(">Bd", 0xcb, value)
  elseif kind == "string" then
    if utf8.len(value) then sized(out, #value, 0xa0, 31, TEXT)
    else sized(out, #value, nil, 0, BYTES) end
    out[#out + 1] = value
  elseif kind == "table" then
    write_table(out, value, depth + 1)
  else
    error("cannot encode a " .. kind, 0)
  end
end

---@param value any
---@return string bytes
function M.encode(value)
  local out = {}
  local ok, err = pcall(write, out, value, 0)
  if not ok and is_of_caller(err) then error(err, 0) end
  if not ok then core.blame("msgpack.encode: " .. err) end
  return table.concat(out)
end

-- ---- reading ------------------------------------------------------------------

---@type fun(bytes: string, at: integer, depth: integer): any, integer
local read

local function read_bytes(bytes, at, len)
  if len > #bytes - at + 1 then error("data string too short", 0) end
  return sub(bytes, at, at + len - 1), at + len
end

local function read_list(bytes, at, count, depth)
  if depth > DEPTH then error("more than 100 values are inside of each other", 0) end
  local list = {}
  for i = 1, count do list[i], at = read(bytes, at, depth) end
  return json.array(list), at
end

local function read_map(bytes, at, count, depth)
  if depth > DEPTH then error("more than 100 values are inside of each other", 0) end
  local map = {}
  for _ = 1, count do
    local key
    key, at = read(bytes, at, depth)
    local kind = type(key)
    if kind ~= "string" and kind ~= "number" and kind ~= "boolean" or key ~= key then
      error("the key of a map is no string, number or boolean", 0)
    end
    map[key], at = read(bytes, at, depth)
  end
  return next(map) == nil and json.object(map) or map, at
end

---By the first byte: the format of string.unpack for a number, or a length.
local NUMBERS = { [0xca] = ">f", [0xcb] = ">d", [0xcc] = "B", [0xcd] = ">I2", [0xce] = ">I4",
  [0xcf] = ">i8", [0xd0] = "b", [0xd1] = ">i2", [0xd2] = ">i4", [0xd3] = ">i8" }
local SIZED = { [0xc4] = { "B", read_bytes }, [0xc5] = { ">I2", read_bytes },
  [0xc6] = { ">I4", read_bytes }, [0xd9] = { "B", read_bytes }, [0xda] = { ">I2", read_bytes },
  [0xdb] = { ">I4", read_bytes }, [0xdc] = { ">I2", read_list }, [0xdd] = { ">I4", read_list },
  [0xde] = { ">I2", read_map }, [0xdf] = { ">I4", read_map } }

function read(bytes, at, depth)
  local first = byte(bytes, at)
  if not first then error("data string too short", 0) end
  at = at + 1
  if first <= 0x7f then return first, at end
  if first <= 0x8f then return read_map(bytes, at, first - 0x80, depth + 1) end
  if first <= 0x9f then return read_list(bytes, at, first - 0x90, depth + 1) end
  if first <= 0xbf then return read_bytes(bytes, at, first - 0xa0) end
  if first >= 0xe0 then return first - 0x100, at end
  if first == 0xc0 then return json.null, at end
  if first == 0xc2 or first == 0xc3 then return first == 0xc3, at end
  local format, how = NUMBERS[first], SIZED[first]
  if format then
    local n
    n, at = unpack(format, bytes, at)
    if first == 0xcf and n < 0 then n = n + 0x1p64 end
    return n, at
  elseif how then
    local len
    len, at = unpack(how[1], bytes, at)
    return how[2](bytes, at, len, depth + 1)
  end
  error(("the byte 0x%02x begins no value that is known (an extension?)"):format(first), 0)
end

---@param bytes string
---@return any value
---@return table|nil err
function M.decode(bytes)
  local ok, value, at = pcall(read, bytes, 1, 0)
  if not ok then
    if is_of_caller(value) then error(value, 0) end
    local why = value:find "too short" and "it ends too early" or value
    return nil, core.error("bad_msgpack", "not MessagePack: " .. why)
  elseif at <= #bytes then
    return nil, core.error("bad_msgpack", "not MessagePack: there is more behind the value")
  end
  return value
end

return M
