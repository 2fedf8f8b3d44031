---Links of Markdown: from one file of the repository to another, they become links from one
---page of the site to another.
local M = {}

---@param path string  may have "." and ".." in it
local function normal(path)
  local parts = {}
  for part in path:gmatch "[^/]+" do
    if part == ".." then
      table.remove(parts)
    elseif part ~= "." then
      parts[#parts + 1] = part
    end
  end
  return table.concat(parts, "/")
end

local function folder_of(path) return path:match "^(.*/)[^/]*$" or "" end

---@return string relative  from the page `from` to `to`, both from the root of the site
local function relative(from, to)
  local up = folder_of(from):gsub("[^/]+/", "../")
  return up .. to
end

---Calls fn with each piece of the text that is no code.
local function outside_of_code(text, fn)
  local out, fence = {}, nil
  for line in (text .. "\n"):gmatch "([^\n]*\n)" do
    local mark = line:match "^%s*(```+)"
    if mark and not fence then
      fence = mark
    elseif mark and #mark >= #fence then
      fence = nil
    end
    out[#out + 1] = (fence or mark) and line or fn(line)
  end
  return table.concat(out):sub(1, -2)
end

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

---@param text string  Markdown
---@param file string  the file that it is, from the root of the repository
---@param page string  the page that it becomes, from the root of the site
---@param pages table<string, string>  page by file or folder
---@param titles table<string, string>  of pages, by file: said in the place of the file's name
---@return string text  in which links to files that are no pages are their words alone
---@return string[] broken  links to what does not exist
function M.rewrite(text, file, page, pages, titles)
  local broken = {}
  local result = outside_of_code(text, function(line)
    return (line:gsub("%[([^%[%]]*)%]%(([^)%s]+)%)", function(words, target)
      local path, anchor = target:match "^([^#]*)(.*)$"
      if path == "" or path:find "^%a+:" then return end
      local wanted = normal(folder_of(file) .. path)
      local to = pages[wanted]
      if not to then
        if not exists(wanted) then broken[#broken + 1] = ("%s: %s"):format(file, target) end
        return words
      end
      if words:gsub("`", "") == path or words:gsub("`", "") == wanted then
        words = titles[wanted] or words
      end
      return ("[%s](%s%s)"):format(words, relative(page, to:gsub("#.*", "")),
        anchor ~= "" and anchor or to:match "#.*" or "")
    end))
  end)
  return result, broken
end

return M
