---JSON with the keys of objects in order, for what commands print: two runs can be compared.
local json = require "lunats.json"

local M = {}

local encode

local function object(value)
  local keys, parts = {}, {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys)
  for i, key in ipairs(keys) do parts[i] = json.encode(key) .. ":" .. encode(value[key]) end
  return "{" .. table.concat(parts, ",") .. "}"
end

local function array(value)
  local parts = {}
  for i, one in ipairs(value) do parts[i] = encode(one) end
  return "[" .. table.concat(parts, ",") .. "]"
end

function encode(value)
  if type(value) ~= "table" or next(value) == nil then return json.encode(value) end
  return type(next(value)) == "string" and object(value) or array(value)
end

---@param value any  of strings, numbers, booleans and tables of these
---@return string
M.encode = encode

return M
