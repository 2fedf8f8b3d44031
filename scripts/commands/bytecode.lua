---Reads the byte code of Lua 5.4: for `lunats check`.
local M = {}

---Signature, version and format of Lua 5.4, and what tells whether its numbers are stored as
---they are on all machines that we know.
local HEADER = "\27Lua\x54\0\x19\x93\r\n\x1a\n" .. string.char(4, 8, 8)
  .. string.pack("<i8d", 0x5678, 370.5)
local ABSOLUTE_LINE = -128
local CONSTANT = {
  nothing = { [0] = true, [1] = true, [17] = true }, -- nil, false, true
  number = { [3] = true, [19] = true },
}

---@class bytecode.reader
local reader = {}
reader.__index = reader

function reader:byte()
  self.at = self.at + 1
  return self.code:byte(self.at - 1)
end

---Seven bits a byte, the highest first, the last byte marked.
function reader:int()
  local value = 0
  while true do
    local byte = self:byte()
    value = value << 7 | byte & 0x7f
    if byte & 0x80 ~= 0 then return value end
  end
end

function reader:string()
  local size = self:int()
  if size == 0 then return nil end
  self.at = self.at + size - 1
  return self.code:sub(self.at - size + 1, self.at - 1)
end

function reader:list(read)
  local list = {}
  for i = 1, self:int() do list[i] = read(self) end
  return list
end

local function instruction(self)
  self.at = self.at + 4
  return (string.unpack("<I4", self.code, self.at - 4))
end

local function constant(self)
  local kind = self:byte()
  if CONSTANT.nothing[kind] then return false end
  if not CONSTANT.number[kind] then return self:string() end
  self.at = self.at + 8
  return false
end

local function upvalue(self)
  local in_stack, index = self:byte(), self:byte()
  self.at = self.at + 1 -- kind
  return { in_stack = in_stack ~= 0, index = index }
end
local function delta(self) local byte = self:byte() return byte < 128 and byte or byte - 256 end
local function absolute(self) return { pc = self:int(), line = self:int() } end
local function variable(self) return self:string(), self:int(), self:int() end

---The line of every instruction.
local function lines(first, deltas, absolutes)
  local result, line = {}, first
  local known = {}
  for _, one in ipairs(absolutes) do known[one.pc + 1] = one.line end
  for pc, step in ipairs(deltas) do
    line = step == ABSOLUTE_LINE and known[pc] or line + step
    result[pc] = line
  end
  return result
end

---@class bytecode.instruction
---@field op integer
---@field a integer
---@field b integer
---@field c integer
---@field k boolean
---@field bx integer
---@field sj integer

local function decode(word)
  return {
    op = word & 0x7f, a = word >> 7 & 0xff, k = word >> 15 & 1 == 1, b = word >> 16 & 0xff,
    c = word >> 24 & 0xff, bx = word >> 15, sj = (word >> 7) - 0xffffff,
  }
end

---@class bytecode.func
---@field code bytecode.instruction[]
---@field lines integer[]  of the instructions
---@field constants (string|false)[]  strings; false for everything else
---@field upvalues { in_stack: boolean, index: integer, name: string|nil }[]
---@field children bytecode.func[]

local function read_function(self)
  self:string() -- source
  local first = self:int()
  self:int() -- last line
  self.at = self.at + 3 -- parameters, vararg, stack
  local code = self:list(instruction)
  for i, word in ipairs(code) do code[i] = decode(word) end
  local constants = self:list(constant)
  local upvalues = self:list(upvalue)
  local children = self:list(read_function)
  local deltas = self:list(delta)
  local line = lines(first, deltas, self:list(absolute))
  self:list(variable)
  for i, name in ipairs(self:list(reader.string)) do upvalues[i].name = name end
  return { code = code, lines = line, constants = constants, upvalues = upvalues,
    children = children }
end

---Whether this is byte code that read() can read.
---@param code string
function M.is_known(code) return code:sub(1, #HEADER) == HEADER end

---@param fn function  with debug information
---@return bytecode.func|nil  nil: this Lua has another kind of byte code
function M.read(fn)
  local code = string.dump(fn)
  if not M.is_known(code) then return nil end
  local first = #HEADER + 2 -- behind the number of upvalues
  return read_function(setmetatable({ code = code, at = first }, reader))
end

return M
