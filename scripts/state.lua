---Copies plain data from one Lua state to another, as bytes: app.state across a reload.
---Tables may be shared and may refer to each other in circles; arrays and objects of JSON keep
---their marks.
local json = require "lunats.json"

local M = {}

local pack, unpack = string.pack, string.unpack
local ARRAY, OBJECT = getmetatable(json.array {}), getmetatable(json.object {})

local function path_of(path, key)
  if type(key) == "string" and key:find "^[%a_][%w_]*$" then return path .. "." .. key end
  return ("%s[%s]"):format(path, type(key) == "string" and ("%q"):format(key) or tostring(key))
end

local write

local function write_table(out, seen, value, path)
  if seen[value] then
    out[#out + 1] = pack("<c1I4", "r", seen[value])
    return
  end
  seen.count = seen.count + 1
  seen[value] = seen.count
  local mark = getmetatable(value)
  if mark ~= nil and mark ~= ARRAY and mark ~= OBJECT then
    error(path .. ": cannot copy a table with a metatable", 0)
  end
  out[#out + 1] = mark == ARRAY and "a" or mark == OBJECT and "o" or "t"
  for key, item in next, value do
    write(out, seen, key, path_of(path, key))
    write(out, seen, item, path_of(path, key))
  end
  out[#out + 1] = "e"
end

local writers = {
  boolean = function(out, _, value) out[#out + 1] = value and "y" or "n" end,
  string = function(out, _, value) out[#out + 1] = pack("<c1s4", "s", value) end,
  number = function(out, _, value)
    local integer = math.type(value) == "integer"
    out[#out + 1] = pack(integer and "<c1i8" or "<c1d", integer and "i" or "d", value)
  end,
  table = write_table,
}

function write(out, seen, value, path)
  if value == json.null then
    out[#out + 1] = "z"
    return
  end
  local writer = writers[type(value)]
  if not writer then error(("%s: cannot copy a %s"):format(path, type(value)), 0) end
  writer(out, seen, value, path)
end

---@param value any  plain data
---@param name string  what errors call it
---@return string bytes
function M.pack(value, name)
  local out = {}
  write(out, { count = 0 }, value, name)
  return table.concat(out)
end

local read

local function read_table(bytes, at, seen, mark)
  local value = setmetatable({}, mark)
  seen[#seen + 1] = value
  while bytes:sub(at, at) ~= "e" do
    local key, item
    key, at = read(bytes, at, seen)
    item, at = read(bytes, at, seen)
    rawset(value, key, item)
  end
  return value, at + 1
end

local readers = {
  y = function(_, at) return true, at end,
  n = function(_, at) return false, at end,
  z = function(_, at) return json.null, at end,
  i = function(bytes, at) return unpack("<i8", bytes, at) end,
  d = function(bytes, at) return unpack("<d", bytes, at) end,
  s = function(bytes, at) return unpack("<s4", bytes, at) end,
  r = function(bytes, at, seen)
    local index, after = unpack("<I4", bytes, at)
    return seen[index], after
  end,
  t = function(bytes, at, seen) return read_table(bytes, at, seen, nil) end,
  a = function(bytes, at, seen) return read_table(bytes, at, seen, ARRAY) end,
  o = function(bytes, at, seen) return read_table(bytes, at, seen, OBJECT) end,
}

function read(bytes, at, seen)
  return readers[bytes:sub(at, at)](bytes, at + 1, seen)
end

---@param bytes string  of M.pack()
---@param at integer|nil  where it begins, 1
---@return any value
---@return integer after  the first byte behind it
function M.unpack(bytes, at)
  return read(bytes, at or 1, {})
end

return M
