---Pieces of code in documents.
local read = require "spec.support.read"

local M = {}

---Blocks of code of one language: { text =, line = }.
function M.of(path, language)
  local found, current, number = {}, nil, 0
  for line in read(path):gmatch "([^\n]*)\n" do
    number = number + 1
    if current and line == "```" then
      current.text = table.concat(current, "\n") .. "\n"
      if current.language == language then found[#found + 1] = current end
      current = nil
    elseif current then
      current[#current + 1] = line
    elseif line:sub(1, 3) == "```" then
      current = { line = number + 1, language = line:sub(4) }
    end
  end
  assert(not current, path .. ": a block of code does not end")
  return found
end

---The name of a file that the block is complete, or nil.
function M.file_name(block) return block.text:match "^%-%- ([%w_]+%.lua)\n" end

return M
