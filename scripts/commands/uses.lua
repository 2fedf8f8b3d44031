---What a script takes from tables and which functions it calls, with what is known of their
---arguments, from its byte code: for `lunats check`.
---
---Registers and upvalues are followed as far as it is certain what they hold: texts, tables
---that are written down, functions of `app`, and what these return. A text whose end is only
---known when it runs is known up to there.
local M = {}

local OP = { MOVE = 0, LOADK = 3, LOADNIL = 8, GETUPVAL = 9, SETUPVAL = 10, GETTABUP = 11,
  GETI = 13, GETFIELD = 14, SETTABUP = 15, SETTABLE = 16, SETI = 17, SETFIELD = 18,
  NEWTABLE = 19, SELF = 20, MMBIN = 46, MMBINK = 48, CONCAT = 53, CLOSE = 54, JMP = 56,
  TEST = 66, CALL = 68, TAILCALL = 69, RETURN1 = 72, FORLOOP = 73, FORPREP = 74,
  TFORPREP = 75, TFORCALL = 76, TFORLOOP = 77, SETLIST = 78, CLOSURE = 79, VARARG = 80,
  EXTRAARG = 82 }

---Instructions whose A is no register that they change; and those that change all from A on.
local KEEPS = { [OP.SETUPVAL] = true, [OP.SETTABUP] = true, [OP.SETTABLE] = true,
  [OP.SETI] = true, [OP.SETFIELD] = true, [OP.SETLIST] = true, [OP.EXTRAARG] = true }
for op = OP.MMBIN, OP.MMBINK do KEEPS[op] = true end
for op = OP.CLOSE, OP.TEST do KEEPS[op] = true end
for op = OP.TAILCALL, OP.RETURN1 do KEEPS[op] = true end
local CLEARS = { [OP.LOADNIL] = true, [OP.CALL] = true, [OP.FORLOOP] = true,
  [OP.FORPREP] = true, [OP.TFORPREP] = true, [OP.TFORCALL] = true, [OP.TFORLOOP] = true,
  [OP.VARARG] = true }

---@class uses.value  what is known of a value, one of these, or that there is one
---@field path string|nil  "app.publish"
---@field text string|nil
---@field open boolean|nil  of a text: more follows
---@field fields table<string|integer, uses.value>|nil  of a table
---@field result uses.call|nil  of this call

---@class uses.call
---@field path string|nil  the function
---@field method string|nil  or the name of a method
---@field args uses.value[]  holes for what is not known; of a method the object first
---@field line integer

-- ---- where control flow meets --------------------------------------------------

---By the instruction that they lead to, those that jump there.
local function jumps(code)
  local into = {}
  local function add(target, source)
    into[target] = into[target] or {}
    table.insert(into[target], source)
  end
  for pc, one in ipairs(code) do
    if one.op == OP.JMP then add(pc + 1 + one.sj, pc) end
    if one.op == OP.FORLOOP or one.op == OP.TFORLOOP then add(pc + 1 - one.bx, pc) end
    if one.op == OP.FORPREP then add(pc + 2 + one.bx, pc) end
    if one.op == OP.TFORPREP then add(pc + 1 + one.bx, pc) end
  end
  return into
end

local function changes(one, register)
  if CLEARS[one.op] then return register >= one.a end
  if KEEPS[one.op] then return false end
  return register == one.a or one.op == OP.SELF and register == one.a + 1
end

---Whether a register that was set at `since` is the same on all ways to `target`.
local function survives(code, register, since, target, sources)
  for _, source in ipairs(sources) do
    if source < target and source < since then return false end
    for pc = target, source do -- a loop
      if changes(code[pc], register) then return false end
    end
  end
  return true
end

local function meet(state, pc, sources)
  for register in pairs(state.held) do
    if not survives(state.func.code, register, state.since[register], pc, sources) then
      state.held[register] = nil
    end
  end
end

-- ---- upvalues ------------------------------------------------------------------

---Upvalues that a function or one inside of it assigns to.
local function assigned(func, into)
  for _, one in ipairs(func.code) do
    if one.op == OP.SETUPVAL then into[one.b] = true end
  end
  for _, child in ipairs(func.children) do
    for index in pairs(assigned(child, {})) do
      local upvalue = child.upvalues[index + 1]
      if not upvalue.in_stack then into[upvalue.index] = true end
    end
  end
  return into
end

---What the upvalues of a new closure are known to be.
local function captured(child, state)
  local known, changed = {}, assigned(child, {})
  for i, upvalue in ipairs(child.upvalues) do
    if not changed[i - 1] then
      known[i - 1] = (upvalue.in_stack and state.held or state.outer)[upvalue.index]
    end
  end
  return known
end

-- ---- values --------------------------------------------------------------------

local function text_of(state, index)
  local text = state.func.constants[index + 1]
  return text and { text = text } or nil
end

---A field of what is known.
local function field(state, value, name)
  if not value or not name then return nil end
  if value.path then
    state.watch.field(value.path, name, state.line, false)
    return { path = value.path .. "." .. name }
  end
  return value.fields and value.fields[name]
end

local function concatenate(held, first, count)
  local text = ""
  for register = first, first + count - 1 do
    local one = held[register]
    if not one or not one.text then return { text = text, open = true } end
    text = text .. one.text
    if one.open then return { text = text, open = true } end
  end
  return { text = text }
end

local function set_field(state, table_value, name, one)
  if not table_value or not name then return end
  if table_value.path then state.watch.field(table_value.path, name, state.line, true) end
  if not table_value.fields then return end
  local value
  if one.k then -- of what is no text is known that it is there
    value = text_of(state, one.c) or {}
  else
    value = state.held[one.c]
  end
  table_value.fields[name] = value
end

local function set_list(state, one)
  local into = state.held[one.a]
  if not into or not into.fields or one.b == 0 or one.k then return end
  for i = 1, one.b do into.fields[one.c + i] = state.held[one.a + i] end
end

local EVALUATE = {
  [OP.MOVE] = function(state, one) return state.held[one.b] end,
  [OP.LOADK] = function(state, one) return text_of(state, one.bx) end,
  [OP.GETUPVAL] = function(state, one) return state.outer[one.b] end,
  [OP.NEWTABLE] = function() return { fields = {} } end,
  [OP.GETI] = function(state, one) return field(state, state.held[one.b], one.c) end,
  [OP.GETFIELD] = function(state, one)
    return field(state, state.held[one.b], state.func.constants[one.c + 1])
  end,
  [OP.CONCAT] = function(state, one) return concatenate(state.held, one.a, one.b) end,
  [OP.GETTABUP] = function(state, one)
    local name = state.func.constants[one.c + 1]
    if state.func.upvalues[one.b + 1].name == "_ENV" then return name and { path = name } end
    return field(state, state.outer[one.b], name)
  end,
}

-- ---- calls ---------------------------------------------------------------------

---The pattern of what string.format makes of a text.
local function formatted(value)
  if value.open then return value end
  local tokens = {}
  for token in value.text:gsub("%%%%", "\0"):gmatch "[^.]+" do
    tokens[#tokens + 1] = token:find "%%" and "*" or token
  end
  return { text = (table.concat(tokens, "."):gsub("%z", "%%")) }
end

---What a call returns.
local function result_of(call)
  local first = call.args[1]
  if call.path == "assert" then return first end
  if first and first.text and (call.method == "format" or call.path == "string.format") then
    return formatted(first)
  end
  return { result = call }
end

local function call(state, one)
  local target, count = state.held[one.a], one.b - 1
  if not target then return nil end
  if one.b == 0 then -- up to what the call before has returned, of which the first is known
    count = 0
    while state.held[one.a + count + 1] do count = count + 1 end
  end
  local made = { path = target.path, method = target.method, args = {}, line = state.line }
  for i = 1, count do made.args[i] = state.held[one.a + i] end
  state.watch.call(made)
  return result_of(made)
end

---@class uses.watch
---@field call fun(call: uses.call)
---@field field fun(path: string, name: string, line: integer, is_set: boolean)

---@param watch uses.watch
local function scan(func, outer, watch)
  local state = { func = func, outer = outer, held = {}, since = {}, watch = watch }
  local into = jumps(func.code)
  for pc, one in ipairs(func.code) do
    if into[pc] then meet(state, pc, into[pc]) end
    local held, op = state.held, one.op
    state.line = func.lines[pc]
    local value = EVALUATE[op] and EVALUATE[op](state, one)
    if op == OP.SETFIELD then
      set_field(state, held[one.a], func.constants[one.b + 1], one)
    elseif op == OP.SETTABUP and func.upvalues[one.a + 1].name ~= "_ENV" then
      set_field(state, outer[one.a], func.constants[one.b + 1], one)
    elseif op == OP.SETLIST then
      set_list(state, one)
    elseif op == OP.CALL or op == OP.TAILCALL then
      value = call(state, one)
    elseif op == OP.CLOSURE then
      local child = func.children[one.bx + 1]
      scan(child, captured(child, state), watch)
    end
    local object = op == OP.SELF and held[one.b]
    if object and one.k then field(state, object, func.constants[one.c + 1]) end
    for register in pairs(held) do
      if changes(one, register) then held[register] = nil end
    end
    if op == OP.SELF then
      held[one.a + 1], state.since[one.a + 1] = object or nil, pc
      value = { method = one.k and func.constants[one.c + 1] or "?" }
    end
    if value and not KEEPS[op] then held[one.a], state.since[one.a] = value, pc end
  end
end

local function ignore() end

---@param func bytecode.func
---@return uses.call[]
function M.calls(func)
  local list = {}
  scan(func, {}, { call = function(one) list[#list + 1] = one end, field = ignore })
  return list
end

---Calls fn for what is read from, and set in, tables with a name: `app`, `app.js`, ...
---@param func bytecode.func
---@param fn fun(path: string, name: string, line: integer, is_set: boolean)
function M.fields(func, fn) scan(func, {}, { call = ignore, field = fn }) end

return M
