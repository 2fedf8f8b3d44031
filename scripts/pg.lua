---lunats.pg: PostgreSQL. Values for parameters are made here; pools are in scripts/pg/pool.lua.
local check = require "lunats.check"
local core = require "lunats.core"
local json = require "lunats.json"

local native = core.native "pg"

---@class pg
local M = {}

-- ---- values --------------------------------------------------------------------

local BYTEA, TIMESTAMPTZ, UNKNOWN = 17, 1184, 0

---JSON, for a parameter that is json or jsonb.
function M.json(value) return native.typed(json.encode(value), UNKNOWN) end

---Bytes, which may be no text.
---@param bytes string
function M.bytea(bytes)
  check.string("pg.bytea", "the value", bytes)
  return native.typed(bytes, BYTEA, true)
end

local FIRST, LAST = -210866803200, 9224318016000 -- 4714-11-24 BC, and the end of 294276

---A moment, given as Unix time.
---@param seconds number
function M.timestamp(seconds)
  local finite = type(seconds) == "number" and seconds - seconds == 0
  if not finite then core.blame "pg.timestamp: the time must be a number of seconds" end
  if seconds < FIRST or seconds >= LAST then
    core.blame(("pg.timestamp: PostgreSQL has no time %.14g: seconds since 1970 expected")
      :format(seconds))
  end
  local whole = seconds // 1
  local micro = ((seconds - whole) * 1e6 + 0.5) // 1
  if micro == 1e6 then whole, micro = whole + 1, 0 end
  local at = os.date("!*t", math.tointeger(whole))
  local year, era = at.year, ""
  if year < 1 then year, era = 1 - year, " BC" end
  return native.typed(("%04d-%02d-%02d %02d:%02d:%02d.%06d+00%s"):format(year, at.month, at.day,
    at.hour, at.min, at.sec, math.tointeger(micro), era), TIMESTAMPTZ)
end

local DIMENSIONS = 6 -- PostgreSQL has no more
local TYPED = getmetatable(native.typed("", UNKNOWN))

local function quoted(text) return '"' .. text:gsub('[\\"]', "\\%0") .. '"' end

---As parameters are written: it reads back as the same, and 3.0 fits an integer.
local function number_text(value)
  if math.type(value) == "integer" then return tostring(value) end
  if value ~= value then return "NaN" end
  if value == math.huge or value == -math.huge then
    return value > 0 and "Infinity" or "-Infinity"
  end
  if math.tointeger(value) then return ("%.0f"):format(value) end
  local short = ("%.15g"):format(value)
  return tonumber(short) == value and short or ("%.17g"):format(value)
end

---What pg.json() and so on have made.
local function typed_text(value)
  local text, binary = value[1], value[3]
  if value.list then return text end
  if not binary then return quoted(text) end
  return quoted("\\x" .. text:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

local array_text

local function element_text(value, depth)
  local kind = type(value)
  if value == json.null then return "NULL" end
  if kind == "table" and getmetatable(value) == TYPED then return typed_text(value) end
  if kind == "table" then return array_text(value, depth + 1) end
  if kind == "string" then
    if value:find("%z") then core.blame "pg.array: a text with a zero byte" end
    return quoted(value)
  end
  if kind == "number" then return number_text(value) end
  if kind == "boolean" then return tostring(value) end
  core.blame(("pg.array: no element can be a %s"):format(kind))
end

function array_text(list, depth)
  if depth > DIMENSIONS then
    core.blame(("pg.array: lists are at most %d inside of each other"):format(DIMENSIONS))
  end
  local length, count = #list, 0
  for key in pairs(list) do
    count = count + 1
    if math.type(key) ~= "integer" or key < 1 or key > length then count = -1 break end
  end
  if count ~= length then
    core.blame "pg.array: a list without holes expected; NULL is app.json.null, JSON pg.json(t)"
  end
  local parts = {}
  for i = 1, length do parts[i] = element_text(list[i], depth) end
  return "{" .. table.concat(parts, ",") .. "}"
end

---An array, for a parameter of such a type; app.json.null is NULL in it.
---@param list table
function M.array(list)
  check.table("pg.array", list)
  local value = native.typed(array_text(list, 1), UNKNOWN)
  value.list = true
  return value
end

-- ---- pools ---------------------------------------------------------------------

M.pool = require "lunats.pg.pool"

return M
