---Finds the globals that a chunk uses, from its byte code: for `lunats check`.
local M = {}

local GETTABUP, SETTABUP = 11, 15

---One function with those inside of it; calls found(name, line, is_set).
local function scan(func, found)
  for _, child in ipairs(func.children) do scan(child, found) end
  local function is_environment(index)
    local upvalue = func.upvalues[index + 1]
    return upvalue and upvalue.name == "_ENV"
  end
  for pc, one in ipairs(func.code) do
    if one.op == GETTABUP and is_environment(one.b) then
      found(func.constants[one.c + 1], func.lines[pc], false)
    elseif one.op == SETTABUP and is_environment(one.a) then
      found(func.constants[one.b + 1], func.lines[pc], true)
    end
  end
end

---The globals that a function reads, and which neither it sets nor anybody has.
---@param func bytecode.func
---@param environment table  what exists
---@return { name: string, line: integer }[]  by line
function M.undeclared(func, environment)
  local read, set = {}, {}
  scan(func, function(name, line, is_set)
    if is_set then
      set[name] = true
    else
      read[#read + 1] = { name = name, line = line }
    end
  end)
  local missing = {}
  for _, one in ipairs(read) do
    if not set[one.name] and environment[one.name] == nil then missing[#missing + 1] = one end
  end
  table.sort(missing, function(x, y)
    if x.line ~= y.line then return x.line < y.line end
    return x.name < y.name
  end)
  return missing
end

---Those of a list that another one has, too.
---@param list { name: string, line: integer }[]
---@param others { name: string }[]
function M.confirm(list, others)
  local known, confirmed = {}, {}
  for _, one in ipairs(others) do known[one.name] = true end
  for _, one in ipairs(list) do
    if known[one.name] then confirmed[#confirmed + 1] = one end
  end
  return confirmed
end

return M
