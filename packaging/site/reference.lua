---The API reference: a page for each file of declarations, which editors read as well. Nothing
---is said twice: what is missing here is missing there.
local M = {}

---Cuts "TYPE what it is" behind the type, which may have spaces: fun(a: b): c, d.
---@return string kind, string text
local function cut_type(text)
  local depth = 0
  for at = 1, #text do
    local c = text:sub(at, at)
    if c:find "[%(%[{<]" then depth = depth + 1 end
    if c:find "[%)%]}>]" then depth = depth - 1 end
    if c == " " and depth == 0 and not text:sub(1, at - 1):find "[,:|]$"
      and text:sub(at + 1, at + 1) ~= "|" then
      return text:sub(1, at - 1), text:sub(at + 1)
    end
  end
  return text, ""
end

local function code(text)
  local escaped = text:gsub("&", "&amp;"):gsub("<", "&lt;"):gsub(">", "&gt;")
  return "<code>" .. escaped:gsub("|", "&#124;"):gsub("%*", "&#42;"):gsub("_", "&#95;")
    .. "</code>"
end

---Text of a comment; what looks like HTML is none.
local function prose(text)
  local parts = {}
  for outside, inside in (text .. "``"):gmatch "([^`]*)(`[^`]*`)" do
    parts[#parts + 1] = outside:gsub("<", "&lt;"):gsub("%*", "\\*"):gsub("_", "\\_")
    parts[#parts + 1] = inside ~= "``" and inside or ""
  end
  return table.concat(parts)
end

local function entry(name, kind, text)
  return ("- **%s** %s%s"):format(name:gsub("_", "\\_"), code(kind),
    text ~= "" and ": " .. prose(text) or "")
end

-- ---- reading ------------------------------------------------------------------

---@class block  one comment, and the line of code behind it
---@field text string[]  @field tags { name: string, rest: string }[]  @field code string

---@return fun(): block|nil
local function blocks(lines)
  local at = 0
  return function()
    local block = { text = {}, tags = {}, code = "" }
    while at < #lines do
      at = at + 1
      local line = lines[at]
      local tag, rest = line:match "^%-%-%-@(%w+)%s*(.*)$"
      local section = line:match "^%-%- %-%-%-%- (.-) %-+$"
      if tag then
        block.tags[#block.tags + 1] = { name = tag, rest = rest }
      elseif line:find "^%-%-%-" then
        block.text[#block.text + 1] = line:sub(4)
      elseif section then
        block.section = section
        return block
      elseif line == "" then
        if #block.text + #block.tags > 0 then return block end
      elseif not line:find "^%-%-" then
        block.code = line
        return block
      end
    end
    return #block.text + #block.tags > 0 and block or nil
  end
end

local function tagged(block, name)
  for _, tag in ipairs(block.tags) do
    if tag.name == name then return tag.rest end
  end
end

-- ---- writing ------------------------------------------------------------------

local function put_class(out, block, rest)
  local name, text = rest:match "^([%w_.]+)[^ ]*%s*(.*)$"
  local parent = rest:match "^[%w_.]+: ([%w_.]+)"
  if parent then text = text:gsub("^[%w_.]+%s*", "") end
  out[#out + 1] = ("\n### %s { #%s }\n"):format(code(name), name:gsub("[.]", "-"))
  if parent then out[#out + 1] = "Has all that " .. code(parent) .. " has.\n" end
  local words = table.concat(block.text, "\n")
  if text ~= "" then words = words .. (words ~= "" and "\n" or "") .. text end
  if words ~= "" then out[#out + 1] = prose(words) .. "\n" end
  for _, tag in ipairs(block.tags) do
    local field, more = tag.rest:match "^(%[?[%w_]+%]?)%s+(.*)$"
    if tag.name == "field" and field then
      out[#out + 1] = entry(field, cut_type(more))
    end
  end
end

---The name that a page shows: functions of a class by its name, methods on a value of it.
local function shown(name, classes)
  local table_name, rest = name:match "^([%w_]+)([.:].*)$"
  local class = classes[table_name]
  if not class then return name end
  return (rest:find "^:" and class:match "[^.]+$" or class) .. rest
end

local function put_function(out, block, name, args, classes)
  local full = shown(name, classes)
  out[#out + 1] = ("\n### %s { #%s }\n"):format(code(full .. "(" .. args .. ")"),
    full:gsub("[.:]", "-"))
  out[#out + 1] = prose(table.concat(block.text, "\n")) .. "\n"
  for _, tag in ipairs(block.tags) do
    local what, more = tag.rest:match "^(%S+)%s*(.*)$"
    if tag.name == "param" then
      out[#out + 1] = entry(what, cut_type(more))
    elseif tag.name == "return" then
      out[#out + 1] = entry("returns", cut_type(tag.rest))
    elseif tag.name == "overload" then
      out[#out + 1] = "- or " .. code((tag.rest:gsub("^fun", full)))
    end
  end
end

---What a table is that functions are put into: the class in front of it.
local function note_class(block, classes)
  local name = block.code:match "^local ([%w_]+) = {}" or block.code:match "^([%w_]+) = {}"
  local class = tagged(block, "class")
  if name and class then classes[name] = class:match "^[%w_.]+" end
end

---@param source string
---@return string title, string markdown
function M.page(source)
  local lines = {}
  for line in (source .. "\n"):gmatch "([^\n]*)\n" do lines[#lines + 1] = line end
  local out, classes, title = {}, {}, nil
  for block in blocks(lines) do
    note_class(block, classes)
    local name, args = block.code:match "^function ([%w_.:]+)%((.-)%)"
    local class, alias = tagged(block, "class"), tagged(block, "alias")
    if tagged(block, "meta") then
      title = title or tagged(block, "meta")
      out[#out + 1] = prose(table.concat(block.text, "\n")) .. "\n"
      if name then out[#out] = nil end
    end
    if block.section then
      out[#out + 1] = ("\n## %s\n"):format(block.section:gsub("^%l", string.upper))
    elseif name then
      put_function(out, block, name, args, classes)
    elseif class then
      put_class(out, block, class)
    elseif alias then
      local alias_name, kind = alias:match "^([%w_.]+)%s+(.*)$"
      out[#out + 1] = ("\n### %s { #%s }\n"):format(code(alias_name),
        alias_name:gsub("[.]", "-"))
      out[#out + 1] = prose(table.concat(block.text, "\n")) .. "\n"
      out[#out + 1] = entry("is", cut_type(kind))
    end
  end
  return title or error "declarations without ---@meta", table.concat(out, "\n") .. "\n"
end

return M
