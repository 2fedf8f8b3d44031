---The documents, cut into the units in which something is said: rows of tables, paragraphs,
---items of lists. A table of options is one unit: with its head where that names functions,
---else with the paragraph in front of it.
local read = require "spec.support.read"

local M = {}

---The page without its code, and that code.
---@return string text, string code
function M.split(path)
  local code = {}
  local text = ("\n" .. read(path)):gsub("\n```(%w*)\n(.-)\n```", function(language, block)
    if language == "lua" then code[#code + 1] = block:gsub("%-%-[^\n]*", "") end
    return "\n"
  end)
  return text, table.concat(code, "\n")
end

---What stands between backquotes.
---@param text string
---@return string[]
local function spans(text)
  local found = {}
  for span in text:gmatch "`([^`]+)`" do found[#found + 1] = span:gsub("\\|", "|") end
  return found
end
M.spans = spans

local function first_cell(row) return (row:gsub("\\|", ""):match "^|([^|]*)|" or "") end

---@class unit
---@field text string
---@field calls string[] spans that may name its function: of a row those of its first cell
---@field options string[] spans of the first cells of its table of options

---@return unit[]
local function new_unit(text, calls)
  return { text = text, calls = spans(calls or text), options = {} }
end

local function add_rows(unit, rows)
  for i = 3, #rows do
    unit.text = unit.text .. "\n" .. rows[i]
    for _, span in ipairs(spans(first_cell(rows[i]))) do
      unit.options[#unit.options + 1] = span
    end
  end
end

---@param path string
---@return unit[]
function M.units(path)
  local units, previous = {}, nil
  for block in (M.split(path) .. "\n\n"):gmatch "%s*(.-)\n%s*\n" do
    if block:sub(1, 1) == "|" then
      local rows = {}
      for row in block:gmatch "[^\n]+" do rows[#rows + 1] = row end
      if not rows[1]:find "%f[%a]options?%f[%A]" then
        for i = 3, #rows do units[#units + 1] = new_unit(rows[i], first_cell(rows[i])) end
      elseif #spans(rows[1]) > 0 then
        units[#units + 1] = new_unit(rows[1])
        add_rows(units[#units], rows)
      else
        add_rows(assert(previous, path .. ": options of nothing"), rows)
      end
    elseif block ~= "" then
      for item in ("\n" .. block):gsub("\n%- ", "\0"):gmatch "[^%z]+" do
        previous = new_unit(item)
        units[#units + 1] = previous
      end
    end
  end
  return units
end

return M
