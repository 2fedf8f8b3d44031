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

local function escape(text)
  return (text:gsub("&", "&amp;"):gsub("<", "&lt;"):gsub(">", "&gt;"):gsub("|", "&#124;")
    :gsub("%*", "&#42;"):gsub("_", "&#95;"))
end

local function code(text) return "<code>" .. escape(text) .. "</code>" end

---A type, each part of which leads to where that is described.
---@param hrefs table<string, string>  by the name of a class or an alias
local function type_code(text, hrefs)
  local parts = {}
  for before, word, at in (text .. " "):gmatch "([^%a_\"]*)([\"%a_]?[%w_.]*\"?)()" do
    local named = text:find("^%??:", at) -- a parameter or a field, and not its type
    parts[#parts + 1] = escape(before)
    parts[#parts + 1] = hrefs[word] and not named
      and ('<a href="%s">%s</a>'):format(hrefs[word], escape(word)) or escape(word)
  end
  return "<code>" .. table.concat(parts):gsub(" $", "") .. "</code>"
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

local function entry(hrefs, name, kind, text)
  return ("- **%s** %s%s"):format(name:gsub("_", "\\_"), type_code(kind, hrefs),
    text ~= "" and ": " .. prose(text) or "")
end

-- ---- reading ------------------------------------------------------------------

---@class block  one comment, and the line of code behind it
---@field text string[]  @field tags { name: string, rest: string }[]  @field code string
---@field values { value: string, text: string }[]  of an alias that lists them

---@return fun(): block|nil
local function blocks(lines)
  local at = 0
  return function()
    local block = { text = {}, tags = {}, values = {}, code = "" }
    while at < #lines do
      at = at + 1
      local line = lines[at]
      local tag, rest = line:match "^%-%-%-@(%w+)%s*(.*)$"
      local value, meaning = line:match '^%-%-%-| (".-")[ #]*(.*)$'
      local section = line:match "^%-%- %-%-%-%- (.-) %-+$"
      if tag then
        block.tags[#block.tags + 1] = { name = tag, rest = rest }
      elseif value then
        block.values[#block.values + 1] = { value = value, text = meaning }
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

local function lines_of(source)
  local lines = {}
  for line in (source .. "\n"):gmatch "([^\n]*)\n" do lines[#lines + 1] = line end
  return lines
end

local function anchor(name) return (name:gsub("[.:]", "-")) end

---@return string|nil name, string|nil rest  of the class or the alias that a block declares
local function declared_type(block)
  local rest = tagged(block, "class") or tagged(block, "alias")
  if rest then return rest:match "^([%w_.]+)[^ ]*%s*(.*)$" end
end

local function put_class(out, block, rest, hrefs)
  local name, text = rest:match "^([%w_.]+)[^ ]*%s*(.*)$"
  local parent = rest:match "^[%w_.]+: ([%w_.]+)"
  if parent then text = text:gsub("^[%w_.]+%s*", "") end
  out[#out + 1] = ("\n### %s { #%s }\n"):format(code(name), anchor(name))
  if parent then out[#out + 1] = "Has all that " .. type_code(parent, hrefs) .. " has.\n" end
  local words = table.concat(block.text, "\n")
  if text ~= "" then words = words .. (words ~= "" and "\n" or "") .. text end
  if words ~= "" then out[#out + 1] = prose(words) .. "\n" end
  for _, tag in ipairs(block.tags) do
    local field, more = tag.rest:match "^(%[?[%w_]+%]?)%s+(.*)$"
    if tag.name == "field" and field then
      out[#out + 1] = entry(hrefs, field, cut_type(more))
    end
  end
end

local function put_alias(out, block, hrefs)
  local name, kind = declared_type(block)
  out[#out + 1] = ("\n### %s { #%s }\n"):format(code(name), anchor(name))
  out[#out + 1] = prose(table.concat(block.text, "\n")) .. "\n"
  if kind ~= "" then out[#out + 1] = entry(hrefs, "is", cut_type(kind)) end
  for _, one in ipairs(block.values) do
    out[#out + 1] = ("- %s%s"):format(code(one.value),
      one.text ~= "" and ": " .. prose(one.text) or "")
  end
end

---How scripts reach tables whose class has another name.
local REACHED = { js = "app.js", json = "app.json", redis_module = "redis" }

---The name that a page shows: functions of a class by its name, methods on a value of it.
local function shown(name, classes)
  local table_name, rest = name:match "^([%w_]+)([.:].*)$"
  local class = classes[table_name]
  if not class then return name end
  if rest:find "^%." then class = REACHED[class] or class end
  return (rest:find "^:" and class:match "[^.]+$" or class) .. rest
end

local function put_function(out, block, name, args, classes, hrefs)
  local full = shown(name, classes)
  out[#out + 1] = ("\n### %s { #%s }\n"):format(code(full .. "(" .. args .. ")"), anchor(full))
  out[#out + 1] = prose(table.concat(block.text, "\n")) .. "\n"
  local instead = tagged(block, "deprecated")
  if instead then out[#out + 1] = "**Deprecated:** " .. prose(instead) .. "\n" end
  for _, tag in ipairs(block.tags) do
    local what, more = tag.rest:match "^(%S+)%s*(.*)$"
    if tag.name == "param" then
      out[#out + 1] = entry(hrefs, what, cut_type(more))
    elseif tag.name == "return" then
      out[#out + 1] = entry(hrefs, "returns", cut_type(tag.rest))
    elseif tag.name == "overload" then
      out[#out + 1] = "- or " .. type_code((tag.rest:gsub("^fun", full)), hrefs)
    end
  end
end

---What a table is that functions are put into: the class in front of it.
local function note_class(block, classes)
  local name = block.code:match "^local ([%w_]+) = {}" or block.code:match "^([%w_]+) = {}"
  local class = tagged(block, "class")
  if name and class then classes[name] = class:match "^[%w_.]+" end
end

---The classes and aliases that a file declares, with their places on its page.
---@param source string
---@return table<string, string> anchors
function M.types(source)
  local found = {}
  for block in blocks(lines_of(source)) do
    local name = declared_type(block)
    if name then found[name] = anchor(name) end
  end
  return found
end

---@param source string
---@param hrefs table<string, string>  where classes and aliases are described, by name
---@return string title, string markdown
function M.page(source, hrefs)
  local out, classes, title = {}, {}, nil
  for block in blocks(lines_of(source)) do
    note_class(block, classes)
    local name, args = block.code:match "^function ([%w_.:]+)%((.-)%)"
    local class = tagged(block, "class")
    if tagged(block, "meta") then
      title = title or tagged(block, "meta")
      out[#out + 1] = prose(table.concat(block.text, "\n")) .. "\n"
      if name then out[#out] = nil end
    end
    if block.section then
      out[#out + 1] = ("\n## %s\n"):format(block.section:gsub("^%l", string.upper))
    elseif name then
      put_function(out, block, name, args, classes, hrefs)
    elseif class then
      put_class(out, block, class, hrefs)
    elseif tagged(block, "alias") then
      put_alias(out, block, hrefs)
    end
  end
  return title or error "declarations without ---@meta", table.concat(out, "\n") .. "\n"
end

return M
