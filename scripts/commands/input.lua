---The standard input of commands: reading waits, and everything else goes on meanwhile.
local core = require "lunats.core"

local M = {}

local input, rest, over = nil, "", false

---Adds the next piece to `rest`; false at the end.
local function more()
  if over then return false end
  if not input then input = assert(core.input()) end
  local piece, err = input:read()
  if err then error(err, 0) end
  if not piece then over = true else rest = rest .. piece end
  return not over
end

---Everything that is left, byte by byte as it came.
---@return string
function M.all()
  local pieces = { rest }
  rest = ""
  while more() do
    pieces[#pieces + 1], rest = rest, ""
  end
  return table.concat(pieces)
end

---What comes next, of a terminal what was pressed; nil at the end.
---@return string|nil
function M.some()
  if rest == "" and not more() then return nil end
  local bytes = rest
  rest = ""
  return bytes
end

---The next line without its end, or nil.
---@return string|nil
function M.line()
  while not rest:find("\n", 1, true) and more() do end
  if rest == "" then return nil end
  local line, after = rest:match "^([^\n]*)\n?(.*)$"
  rest = after
  return line
end

return M
