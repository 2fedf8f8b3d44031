---Tables for people: columns that fit the width of the terminal, numbers and times that they
---can read.
local M = {}

local CUT = "…"
local GAP = "  "
---Columns are not cut below the first while others can be left out, and never below the other.
local READABLE, LEAST = 12, 4
---Characters of a cell: anybody may answer, with names of any length.
local MOST = 200

-- ---- cells ---------------------------------------------------------------------

---Characters; bytes of what is no UTF-8.
local function width_of(text) return utf8.len(text) or #text end

---The first `width` characters, the last of them a sign that something is missing.
function M.cut(text, width)
  if width_of(text) <= width then return text end
  if width < 1 then return "" end
  local last = utf8.len(text) and utf8.offset(text, width) or width
  return text:sub(1, last - 1) .. CUT
end

---On one line, and nothing that a terminal would obey.
function M.clean(text)
  text = text:gsub("[%z\1-\31\127]", " ")
  if not utf8.len(text) then return (text:gsub("[\x80-\xff]", "?")) end
  text = text:gsub("\xc2[\x80-\x9f]", " ") -- and what turns the direction of writing round:
  return (text:gsub("\xe2\x80[\x8e\x8f\xa8-\xae]", " "):gsub("\xe2\x81[\xa6-\xa9]", " "))
end

local function pad(text, width, right)
  local blanks = (" "):rep(width - width_of(text))
  return right and blanks .. text or text .. blanks
end

-- ---- tables --------------------------------------------------------------------

---@class columns.column
---@field title string
---@field right boolean|nil  numbers
---@field shrinks boolean|nil  may be cut
---@field drop integer|nil  where there is no room it is left out, the highest first

local function widths_of(columns, rows)
  local widths = {}
  for i, column in ipairs(columns) do
    widths[i] = width_of(column.title)
    for _, row in ipairs(rows) do widths[i] = math.max(widths[i], width_of(row[column.at])) end
  end
  return widths
end

local function total(widths)
  local sum = (#widths - 1) * #GAP
  for _, width in ipairs(widths) do sum = sum + width end
  return sum
end

---Takes one character after the other from the widest column that may lose some.
local function shrink(columns, widths, room, least)
  for _ = room + 1, total(widths) do
    local widest
    for i, column in ipairs(columns) do
      if column.shrinks and widths[i] > (widest and widths[widest] or least) then
        widest = i
      end
    end
    if not widest then return end
    widths[widest] = widths[widest] - 1
  end
end

local function drop(columns)
  local first
  for i, column in ipairs(columns) do
    if column.drop and (not first or column.drop > columns[first].drop) then first = i end
  end
  if first then table.remove(columns, first) end
  return first ~= nil
end

---Columns that fit, with their widths.
local function fit(columns, rows, room)
  local list = {}
  for i, column in ipairs(columns) do
    list[i] = setmetatable({ at = i }, { __index = column })
  end
  while true do
    local widths = widths_of(list, rows)
    shrink(list, widths, room, READABLE)
    if total(widths) <= room then return list, widths end
    if not drop(list) then
      shrink(list, widths, room, LEAST)
      return list, widths
    end
  end
end

---The lines of a table, the titles first. None ends in blanks.
---@param columns columns.column[]
---@param rows string[][]
---@param room integer|nil  characters in a line; nil: as many as it takes
---@return string[]
function M.lines(columns, rows, room)
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do row[i] = M.cut(M.clean(cell), MOST) end
  end
  local shown, widths = fit(columns, rows, room or math.huge // 1)
  local titles = {}
  for i, column in ipairs(columns) do titles[i] = column.title end
  local lines = {}
  for r = 0, #rows do
    local row, cells = rows[r] or titles, {}
    for i, column in ipairs(shown) do
      cells[i] = pad(M.cut(row[column.at], widths[i]), widths[i], column.right)
    end
    lines[#lines + 1] = table.concat(cells, GAP):match "^(.*%S)" or ""
  end
  return lines
end

-- ---- numbers and times ---------------------------------------------------------

---Three digits that count.
local function three(value)
  return ("%." .. (value < 9.995 and 2 or value < 99.95 and 1 or 0) .. "f"):format(value)
end

---@param ns number  nanoseconds
function M.duration(ns)
  if ns < 999.5 then return ("%d ns"):format(ns // 1) end
  for _, unit in ipairs { { 1e3, "µs" }, { 1e6, "ms" } } do
    if ns < unit[1] * 999.5 then return ("%s %s"):format(three(ns / unit[1]), unit[2]) end
  end
  return ("%s s"):format(three(ns / 1e9))
end

---The mean, or a dash without requests.
function M.average(nanoseconds, requests)
  return requests > 0 and M.duration(nanoseconds / requests) or "-"
end

---How long something has lasted, in its two largest units.
---@param seconds number|nil
function M.age(seconds)
  if not seconds then return "-" end
  local s = math.max(seconds, 0) // 1 | 0
  if s < 60 then return ("%ds"):format(s) end
  if s < 3600 then return ("%dm%02ds"):format(s // 60, s % 60) end
  if s < 86400 then return ("%dh%02dm"):format(s // 3600, s % 3600 // 60) end
  return ("%dd%02dh"):format(s // 86400, s % 86400 // 3600)
end

---@param count integer
function M.bytes(count)
  for _, unit in ipairs { { 30, "GiB" }, { 20, "MiB" }, { 10, "KiB" } } do
    if count >= 1 << unit[1] then
      return ("%s %s"):format(three(count / (1 << unit[1])), unit[2])
    end
  end
  return ("%d bytes"):format(count)
end

---@param value number  so many a second
function M.rate(value)
  if value >= 999500 then return three(value / 1e6) .. "M" end
  if value >= 9995 then return three(value / 1e3) .. "k" end
  return value >= 99.95 and ("%.0f"):format(value) or ("%.1f"):format(value)
end

return M
