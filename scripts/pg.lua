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

---A moment, given as Unix time.
---@param seconds number
function M.timestamp(seconds)
  local finite = type(seconds) == "number" and seconds - seconds == 0
  if not finite then core.blame "pg.timestamp: the time must be a number of seconds" end
  local whole = seconds // 1
  local text = os.date("!%Y-%m-%d %H:%M:%S", math.tointeger(whole))
  local micro = (seconds - whole) * 1e6 // 1
  return native.typed(("%s.%06d+00"):format(text, math.tointeger(micro)), TIMESTAMPTZ)
end

local function quoted(text) return '"' .. text:gsub('[\\"]', "\\%0") .. '"' end

local array_text

local function refuse_holes()
  core.blame "pg.array: a list without holes expected; NULL is app.json.null"
end

local function element_text(value)
  if value == nil then refuse_holes() end
  if value == json.null then return "NULL" end
  if type(value) == "table" then return array_text(value) end
  if type(value) == "string" then
    if value:find("%z") then core.blame "pg.array: a text with a zero byte" end
    return quoted(value)
  end
  if type(value) == "number" or type(value) == "boolean" then return tostring(value) end
  core.blame(("pg.array: no element can be a %s"):format(type(value)))
end

function array_text(list)
  local parts = {}
  for i = 1, #list do parts[i] = element_text(list[i]) end
  return "{" .. table.concat(parts, ",") .. "}"
end

---An array, for a parameter of such a type; app.json.null is NULL in it.
---@param list table
function M.array(list)
  check.table("pg.array", list)
  for key in pairs(list) do
    if math.type(key) ~= "integer" or key < 1 or key > #list then refuse_holes() end
  end
  return native.typed(array_text(list), UNKNOWN)
end

-- ---- pools ---------------------------------------------------------------------

M.pool = require "lunats.pg.pool"

return M
