---Values of JSON as a schema sees them.
local json = require "lunats.json"

local M = {}

---"integer" is also a float without a fraction; an empty message is null.
---@return string
function M.type_of(value)
  local kind = type(value)
  if kind == "table" then return json.is_array(value) and "array" or "object" end
  if kind == "number" then return math.tointeger(value) and "integer" or "number" end
  if value == json.null or value == nil then return "null" end
  return kind
end

local type_of = M.type_of

---Equal as JSON: 1 is 1.0, the order of members is of no matter.
function M.same(a, b)
  if a == b then return true end
  if type(a) ~= "table" or type(b) ~= "table" or type_of(a) ~= type_of(b) then return false end
  for key, value in next, a do
    if not M.same(value, b[key]) then return false end
  end
  for key in next, b do
    if a[key] == nil then return false end
  end
  return true
end

---In characters, in bytes where it is not UTF-8.
function M.length(text) return utf8.len(text) or #text end

function M.members(object)
  local count = 0
  for _ in next, object do count = count + 1 end
  return count
end

function M.is_multiple(value, of)
  if math.type(value) == "integer" and math.type(of) == "integer" then
    return value % of == 0
  end
  local times = value / of
  return times == math.floor(times) and times - times == 0
end

---A text that is the same for values that are.
local function fingerprint(value)
  local kind = type_of(value)
  if kind == "array" then
    local parts = {}
    for i, one in ipairs(value) do parts[i] = fingerprint(one) end
    return "[" .. table.concat(parts, ",") .. "]"
  elseif kind == "object" then
    local parts = {}
    for name, one in next, value do
      parts[#parts + 1] = json.encode(tostring(name)) .. ":" .. fingerprint(one)
    end
    table.sort(parts)
    return "{" .. table.concat(parts, ",") .. "}"
  elseif kind == "integer" then
    return tostring(math.tointeger(value))
  end
  return json.encode(value)
end

---The places of the first two items of a list that are the same.
---@return integer|nil, integer|nil
function M.twice(list)
  local seen = {}
  for i, value in ipairs(list) do
    local key = fingerprint(value)
    if seen[key] then return seen[key], i end
    seen[key] = i
  end
end

---A name as a part of a JSON pointer (RFC 6901).
function M.pointer(name)
  return (tostring(name):gsub("~", "~0"):gsub("/", "~1"))
end

local function unescape(part)
  part = part:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
  return (part:gsub("~1", "/"):gsub("~0", "~"))
end

local function find_anchor(schema, name, seen)
  if type(schema) ~= "table" or seen[schema] then return nil end
  seen[schema] = true
  if schema["$anchor"] == name then return schema end
  for _, one in next, schema do
    local found = find_anchor(one, name, seen)
    if found ~= nil then return found end
  end
end

---What "#", "#/$defs/name" or "#anchor" mean within a schema; nil: nothing.
function M.resolve(root, ref)
  local fragment = ref:match "^#(.*)$"
  if fragment == nil then return nil end
  if fragment == "" then return root end
  if fragment:sub(1, 1) ~= "/" then return find_anchor(root, fragment, {}) end
  local at = root
  for part in fragment:gmatch "/([^/]*)" do
    if type(at) ~= "table" then return nil end
    part = unescape(part)
    local index = part:find "^%d+$" and tonumber(part) + 1
    if at[part] ~= nil then at = at[part] else at = at[index] end
  end
  return at
end

return M
