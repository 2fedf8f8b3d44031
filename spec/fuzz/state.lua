---The Lua half of state_fuzz.c. An input is a program that builds two graphs of tables, the
---state of a version and what the next one has made on its way up; behind a zero byte come
---bytes that nobody has written, to be read.
---
---A program has one letter for each step, on a stack of values: digits and small letters push
---one, "t" a table, "k" one that is marked as a list, "o" one as an object, "p" one that was
---made before, whose number is the next letter; "s" sets the key below the top of the table
---below it to the top, "u" drops the top, "," begins the second graph.
local json = require "lunats.json"
local state = require "lunats.state"

-- ---- programs -------------------------------------------------------------------

local PLAIN = { a = "a", b = "", c = "a.b", d = "0", e = 1.5, f = false, g = -0.0, h = 2^53,
  i = math.mininteger, j = math.huge, l = ("x"):rep(300), m = "\0\xff", n = json.null,
  q = true, r = -1 }

---@return table whole
local function build(program)
  local whole = {}
  local tables, stack = { whole }, { whole }
  local function push(value)
    stack[#stack + 1] = value
    if type(value) == "table" then tables[#tables + 1] = value end
  end
  local at = 1
  while at <= #program do
    local letter = program:sub(at, at)
    if letter == "t" then
      push {}
    elseif letter == "k" then
      push(json.array {})
    elseif letter == "o" then
      push(json.object {})
    elseif letter == "p" then
      at = at + 1
      stack[#stack + 1] = tables[(program:byte(at) or 0) % #tables + 1]
    elseif letter == "s" and #stack >= 3 and type(stack[#stack - 2]) == "table" then
      local value, key = table.remove(stack), table.remove(stack)
      rawset(stack[#stack], key, value)
    elseif letter == "u" and #stack > 1 then
      stack[#stack] = nil
    elseif letter:find "%d" then
      push(tonumber(letter))
    elseif PLAIN[letter] ~= nil then
      push(PLAIN[letter])
    end
    at = at + 1
  end
  return whole
end

-- ---- comparing ------------------------------------------------------------------

---Tables as keys have no names: their order is that of the walk, which is not the same in a
---copy. So only their number counts.
local function key_count(value)
  local count = 0
  for key in next, value do
    if type(key) == "table" then count = count + 1 end
  end
  return count
end

---Whether two graphs have the same shape and values: `pairs_of` has for each table its partner.
local function same(a, b, partners)
  if type(a) ~= "table" or type(b) ~= "table" then
    return rawequal(a, b) and math.type(a) == math.type(b)
      and (a ~= 0 or 1 / a == 1 / b or math.type(a) == "integer")
  end
  if partners[a] then return partners[a] == b end
  partners[a] = b
  if getmetatable(a) ~= getmetatable(b) or key_count(a) ~= key_count(b) then return false end
  for key, item in next, a do
    if type(key) ~= "table" and not same(item, rawget(b, key), partners) then return false end
  end
  for key in next, b do
    if type(key) ~= "table" and rawget(a, key) == nil then return false end
  end
  return true
end

---Two tables of one graph are not one in the other.
local function is_same(a, b) return same(a, b, {}) and same(b, a, {}) end

local function check(ok, text)
  if not ok then error(text, 0) end
end

-- ---- what must hold -------------------------------------------------------------

local function check_copy(whole)
  local bytes = state.pack(whole, "app.state")
  local copy, after = state.unpack("behind" .. bytes .. "it", 7)
  check(after == 7 + #bytes, "not all of it was read")
  check(is_same(whole, copy), "the copy is another one")
  return bytes
end

---After two reloads `live`, which stays the same table, has what was copied, and what only its
---own script has given to it.
local function check_refill(bytes, live)
  local own = {}
  for key, value in next, live do
    if type(key) ~= "table" then own[key] = value end
  end
  local copied = state.unpack(bytes)
  local given = state.refill(live, state.unpack(bytes), {})
  for key, value in next, copied do
    if type(value) ~= "table" and type(key) ~= "table" then
      check(rawequal(live[key], value), "a value did not arrive")
    end
  end
  for key, value in next, own do
    check(rawget(copied, key) ~= nil or rawequal(live[key], value), "its own value is gone")
  end
  state.refill(live, state.unpack(state.pack({}, "empty")), given)
  for key in next, copied do
    check(type(key) == "table" or own[key] ~= nil or rawget(live, key) == nil,
      "what is not there any more has stayed")
  end
  state.pack(live, "live") -- it is plain data still
end

local M = {}

function M.run(input)
  local program, foreign = input:match "^(%Z*)%z?(.*)$"
  local first, second = program:match "^([^,]*),?(.*)$"
  check_refill(check_copy(build(first)), build(second))
  local ok, value, after = pcall(state.unpack, foreign)
  if ok then
    check(after <= #foreign + 1 and pcall(state.pack, value, "value"), "it is no plain data")
  end
end

return M
