---Finds names that `app` and the tables in it do not have, from byte code: for `lunats check`.
---
---Registers and upvalues are followed as far as it is certain what they hold: `app.lisen`,
---`local js = app.js` and `js.add_steam` in a function are found; what passes through tables,
---arguments and branches is not.
local names = require "lunats.commands.names"

local M = {}

local OP = { MOVE = 0, LOADNIL = 8, GETUPVAL = 9, SETUPVAL = 10, GETTABUP = 11, GETFIELD = 14,
  SETTABUP = 15, SETTABLE = 16, SETI = 17, SETFIELD = 18, SELF = 20, MMBIN = 46,
  MMBINK = 48, CLOSE = 54, JMP = 56,
  TEST = 66, CALL = 68, TAILCALL = 69, RETURN1 = 72, FORLOOP = 73, FORPREP = 74, TFORPREP = 75,
  TFORCALL = 76, TFORLOOP = 77, SETLIST = 78, CLOSURE = 79, VARARG = 80,
  EXTRAARG = 82 }

---Instructions whose A is not a register that they change, and those that change all from A on.
local KEEPS = { [OP.SETUPVAL] = true, [OP.SETTABUP] = true, [OP.SETTABLE] = true,
  [OP.SETI] = true, [OP.SETFIELD] = true, [OP.SETLIST] = true, [OP.EXTRAARG] = true }
for op = OP.MMBIN, OP.MMBINK do KEEPS[op] = true end
for op = OP.CLOSE, OP.TEST do KEEPS[op] = true end
for op = OP.TAILCALL, OP.RETURN1 do KEEPS[op] = true end
local CLEARS = { [OP.LOADNIL] = true, [OP.CALL] = true, [OP.FORLOOP] = true,
  [OP.FORPREP] = true, [OP.TFORPREP] = true, [OP.TFORCALL] = true, [OP.TFORLOOP] = true,
  [OP.VARARG] = true }

---Where jumps lead to: what the registers hold there is not known.
local function jump_targets(code)
  local targets = {}
  for pc, one in ipairs(code) do
    if one.op == OP.JMP then targets[pc + 1 + one.sj] = true end
    if one.op == OP.FORLOOP or one.op == OP.TFORLOOP then targets[pc + 1 - one.bx] = true end
    if one.op == OP.FORPREP then targets[pc + 2 + one.bx] = true end
    if one.op == OP.TFORPREP then targets[pc + 1 + one.bx] = true end
  end
  return targets
end

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
local function captured(child, held, outer)
  local known, changed = {}, assigned(child, {})
  for i, upvalue in ipairs(child.upvalues) do
    if not changed[i - 1] then
      known[i - 1] = (upvalue.in_stack and held or outer)[upvalue.index]
    end
  end
  return known
end

---What instruction `one` reads from a table that we know; the name of that table if it is one.
local function result(state, one, line)
  local constants, use = state.func.constants, state.use
  if one.op == OP.MOVE then return state.held[one.b] end
  if one.op == OP.GETUPVAL then return state.outer[one.b] end
  if one.op == OP.GETFIELD then return use(state.held[one.b], constants[one.c + 1], line) end
  if one.op == OP.SELF and one.k then use(state.held[one.b], constants[one.c + 1], line) end
  if one.op ~= OP.GETTABUP then return nil end
  local name = constants[one.c + 1]
  if state.func.upvalues[one.b + 1].name ~= "_ENV" then
    return use(state.outer[one.b], name, line)
  end
  return state.roots[name] and name
end

---Fields that the script sets itself.
local function note_set(state, one, line)
  local name = state.func.constants[one.b + 1]
  if one.op == OP.SETFIELD then state.use(state.held[one.a], name, line, true) end
  if one.op == OP.SETTABUP then state.use(state.outer[one.a], name, line, true) end
end

local function forget(held, first)
  for register in pairs(held) do
    if register >= first then held[register] = nil end
  end
end

---@param use fun(path: string|nil, name: string, line: integer, is_set: boolean|nil): any
local function scan(func, outer, roots, use)
  local state = { func = func, held = {}, outer = outer, roots = roots, use = use }
  local targets = jump_targets(func.code)
  for pc, one in ipairs(func.code) do
    if targets[pc] then state.held = {} end
    local held, line = state.held, func.lines[pc]
    local path = result(state, one, line)
    note_set(state, one, line)
    if one.op == OP.CLOSURE then
      local child = func.children[one.bx + 1]
      scan(child, captured(child, held, outer), roots, use)
    end
    if CLEARS[one.op] then
      forget(held, one.a)
    elseif not KEEPS[one.op] then
      held[one.a] = path or nil
      if one.op == OP.SELF then held[one.a + 1] = nil end
    end
  end
end

---@param func bytecode.func
---@param app table
---@return { path: string, name: string, line: integer }[]
function M.unknown(func, app)
  local known, own, missing = names.tables(app), {}, {}
  scan(func, {}, { app = true }, function(path, name, line, is_set)
    if not path or not name then return nil end
    if is_set then own[path .. "." .. name] = true end
    if not is_set then
      missing[#missing + 1] = { path = path, name = name, line = line }
    end
    local inner = path .. "." .. name
    return known[inner] and inner
  end)
  local list = {}
  for _, one in ipairs(missing) do
    if not own[one.path .. "." .. one.name] and not known[one.path][one.name] then
      list[#list + 1] = one
    end
  end
  return list
end

return M
