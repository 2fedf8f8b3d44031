---What a console shows of a value: tables with what is in them, as far as a person reads it.
local null = require("lunats.json").null

local MOST = 50 -- entries of a table
local DEEP = 4  -- tables in tables

local show

local function name_of(key)
  if type(key) == "string" and key:find "^[%a_][%w_]*$" then return key end
  return ("[%s]"):format(show(key, DEEP))
end

---The first keys in the order of a person: 1, 2, ..., then by name.
---@return table keys, boolean more
local function keys_of(value)
  local keys = {}
  for key in pairs(value) do
    if #keys == MOST then return keys, true end
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b)
    local x, y = math.type(a), math.type(b)
    if x and y then return a < b end
    if x or y then return x ~= nil end
    return tostring(a) < tostring(b)
  end)
  return keys, false
end

local function show_table(value, depth, above)
  if above[value] or depth >= DEEP then return "{...}" end
  above[value] = true
  local keys, more = keys_of(value)
  local parts = {}
  for i, key in ipairs(keys) do
    local text = show(value[key], depth + 1, above)
    parts[i] = key == i and text or name_of(key) .. " = " .. text
  end
  if more then parts[#parts + 1] = "..." end
  above[value] = nil
  return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

---@param depth integer  0: not in a table
function show(value, depth, above)
  if type(value) == "string" then
    if depth == 0 then return value end
    return (("%q"):format(value):gsub("\\\n", "\\n"))
  end
  if value == null then return "null" end
  local meta = type(value) == "table" and getmetatable(value)
  if type(value) ~= "table" or type(meta) == "table" and (meta.__tostring or meta.__name) then
    return tostring(value)
  end
  return show_table(value, depth, above or {})
end

---@return string  as print writes values that are no tables
return function(...)
  local words = table.pack(...)
  for i = 1, words.n do words[i] = show(words[i], 0) end
  return table.concat(words, "\t", 1, words.n)
end
