---The module "bit" of LuaJIT: operations on numbers of 32 bits, with results that have a sign.
local M = {}

local function integer(x)
  return math.tointeger(x) or math.tointeger(x // 1) or error("number expected", 3)
end

---@return integer from -2^31 to 2^31 - 1
local function signed(x)
  x = x & 0xFFFFFFFF
  return x < 0x80000000 and x or x - 0x100000000
end

local function fold(operation)
  return function(x, ...)
    x = integer(x)
    for i = 1, select("#", ...) do x = operation(x, integer((select(i, ...)))) end
    return signed(x)
  end
end

function M.tobit(x) return signed(integer(x)) end
function M.bnot(x) return signed(~integer(x)) end
M.band = fold(function(x, y) return x & y end)
M.bor = fold(function(x, y) return x | y end)
M.bxor = fold(function(x, y) return x ~ y end)
function M.lshift(x, n) return signed(integer(x) << (n & 31)) end
function M.rshift(x, n) return signed((integer(x) & 0xFFFFFFFF) >> (n & 31)) end
function M.arshift(x, n) return signed(signed(integer(x)) // (1 << (n & 31))) end

function M.rol(x, n)
  x, n = integer(x) & 0xFFFFFFFF, n & 31
  return signed(x << n | x >> (32 - n))
end

function M.ror(x, n) return M.rol(x, -n) end
function M.bswap(x) return signed(("<I4"):unpack((">I4"):pack(integer(x) & 0xFFFFFFFF))) end

function M.tohex(x, n)
  n = n or 8
  local text = (n < 0 and "%08X" or "%08x"):format(integer(x) & 0xFFFFFFFF)
  return text:sub(-math.min(math.abs(n), 8))
end

return M
