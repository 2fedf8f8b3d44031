---Copies plain data from one Lua state to another, as bytes: app.state across a reload.
---Tables may be shared and may refer to each other in circles; arrays and objects of JSON keep
---their marks. Each table is written once and by itself, after those that refer to it, so time
---and memory are linear in what is copied, and the depth of a list does not count.
local json = require "lunats.json"

local M = {}

local pack, unpack = string.pack, string.unpack
local ARRAY, OBJECT = getmetatable(json.array {}), getmetatable(json.object {})

---@class state.found  a table on its way into bytes
---@field value table
---@field parent state.found|nil  where it was found first, nil for the whole
---@field key any  under which

local function step_of(key)
  if type(key) == "string" and key:find "^[%a_][%w_]*$" then return "." .. key end
  return ("[%s]"):format(type(key) == "string" and ("%q"):format(key) or tostring(key))
end

---What errors call the value under `key` of a table: its way from the whole, of which the
---middle is left out where it is long.
local function path_of(found, key, name)
  local steps = {}
  while found do
    steps[#steps + 1] = step_of(key)
    found, key = found.parent, found.key
  end
  local path = { name }
  for i = #steps, 1, -1 do
    if i == #steps - 8 and i > 8 then path[#path + 1] = " ... " end
    if i > #steps - 8 or i <= 8 then path[#path + 1] = steps[i] end
  end
  return table.concat(path)
end

local writers = {
  boolean = function(value) return value and "y" or "n" end,
  string = function(value) return pack("<c1s4", "s", value) end,
  number = function(value)
    local integer = math.type(value) == "integer"
    return pack(integer and "<c1i8" or "<c1d", integer and "i" or "d", value)
  end,
}

local marks = { [ARRAY] = "a", [OBJECT] = "o" }

local function refuse(item, parent, key, name)
  error(("%s: cannot copy a %s"):format(path_of(parent, key, name), type(item)), 0)
end

---@param found state.found
---@return string  how the table is marked in the bytes
local function mark_of(found, name)
  local metatable = getmetatable(found.value)
  if metatable == nil then return "t" end
  if not marks[metatable] then
    local path = path_of(found.parent, found.key, name)
    error(path .. ": cannot copy a table with a metatable", 0)
  end
  return marks[metatable]
end

---@param value any  plain data
---@param name string  what errors call it
---@return string bytes
function M.pack(value, name)
  local out, numbers, queue = {}, {}, {}

  local function write(item, parent, key)
    local writer = writers[type(item)]
    if writer then
      out[#out + 1] = writer(item)
    elseif rawequal(item, json.null) then
      out[#out + 1] = "z"
    elseif type(item) == "table" then
      if not numbers[item] then
        queue[#queue + 1] = { value = item, parent = parent, key = key }
        numbers[item] = #queue
      end
      out[#out + 1] = pack("<c1I4", "r", numbers[item])
    else
      refuse(item, parent, key, name)
    end
  end

  local function write_table(found)
    out[#out + 1] = mark_of(found, name)
    for key, item in next, found.value do
      write(key, found, key)
      write(item, found, key)
    end
    out[#out + 1] = "e"
  end

  write(value)
  local at = 1
  while queue[at] do -- it grows meanwhile
    write_table(queue[at])
    at = at + 1
  end
  return table.concat(out)
end

---Raises what M.pack() would raise, but makes no bytes.
---@param value table
---@param name string
function M.check(value, name)
  local seen, queue = { [value] = true }, { { value = value } }

  local function look(item, parent, key)
    if type(item) == "table" then
      if not seen[item] then
        seen[item] = true
        queue[#queue + 1] = { value = item, parent = parent, key = key }
      end
    elseif not writers[type(item)] and not rawequal(item, json.null) then
      refuse(item, parent, key, name)
    end
  end

  local at = 1
  while queue[at] do -- it grows meanwhile
    local found = queue[at]
    mark_of(found, name)
    for key, item in next, found.value do
      look(key, found, key)
      look(item, found, key)
    end
    queue[at], at = false, at + 1
  end
end

---@param bytes string  of M.pack()
---@param at integer|nil  where it begins, 1
---@return any value
---@return integer after  the first byte behind it
function M.unpack(bytes, at)
  local tables = {}

  local readers = {
    y = function(i) return true, i end,
    n = function(i) return false, i end,
    z = function(i) return json.null, i end,
    i = function(i) return unpack("<i8", bytes, i) end,
    d = function(i) return unpack("<d", bytes, i) end,
    s = function(i) return unpack("<s4", bytes, i) end,
    r = function(i)
      local number, after = unpack("<I4", bytes, i)
      tables[number] = tables[number] or {}
      return tables[number], after
    end,
  }

  local function read(i) return readers[bytes:sub(i, i)](i + 1) end

  local metatables = { a = ARRAY, o = OBJECT }

  local function read_table(into, i)
    local metatable = metatables[bytes:sub(i, i)]
    i = i + 1
    while bytes:sub(i, i) ~= "e" do
      local key, item
      key, i = read(i)
      item, i = read(i)
      rawset(into, key, item)
    end
    setmetatable(into, metatable)
    return i + 1
  end

  local value, after = read(at or 1)
  local number = 1
  while tables[number] do -- those of a table follow it
    after = read_table(tables[number], after)
    number = number + 1
  end
  return value, after
end

---@alias state.known table<table, table<any, true>>  of each table the keys that it was given

---Whether a table of the script can take what was copied.
local function fits(live)
  if type(live) ~= "table" then return false end
  local mark = getmetatable(live)
  return mark == nil or marks[mark] ~= nil
end

---Gives `live` the content of `copied`. A table in `live` stays the same table where there is
---one at the same place of `copied`, so whoever has a name for it goes on with it. Keys that
---only its script has given to `live` stay; what it got from the call before, and is not in
---`copied` any more, goes.
---@param live table
---@param copied table  of M.unpack(); its tables become part of `live`
---@param known state.known  what the call before has returned, or {}
---@return state.known
function M.refill(live, copied, known)
  local given = {}
  local places, taken, queue = { [copied] = live }, { [live] = true }, { copied }
  known[live] = known[live] or {}

  ---The table that stands for one of `copied`: `candidate`, the one in its place, or itself.
  local function place_of(source, candidate)
    if not places[source] then
      local same = fits(candidate) and not taken[candidate]
      places[source] = same and candidate or source
      taken[places[source]] = true
      queue[#queue + 1] = source
    end
    return places[source]
  end

  local function drop_old(target, source)
    local before = known[target]
    for key in next, target do
      if rawget(source, key) == nil and (not before or before[key]) then
        rawset(target, key, nil)
      end
    end
  end

  local function fill(target, source)
    local items, keys = {}, {}
    for key, item in next, source do items[key] = item end
    if target ~= source then
      drop_old(target, source)
      setmetatable(target, getmetatable(source))
    end
    for key, item in next, items do
      local name = key
      if type(key) == "table" then
        name = place_of(key)
        if target == source and name ~= key then rawset(target, key, nil) end
      end
      if type(item) == "table" then item = place_of(item, rawget(target, name)) end
      rawset(target, name, item)
      keys[name] = true
    end
    given[target] = keys
  end

  local at = 1
  while queue[at] do -- it grows meanwhile
    fill(places[queue[at]], queue[at])
    at = at + 1
  end
  return given
end

return M
