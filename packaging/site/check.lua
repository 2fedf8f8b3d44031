---Looks at the site that was built: each link must lead to a page and a place in it that exist,
---and nothing may be fetched from other servers.
---
---  lunats lua packaging/site/check.lua FOLDER
local folder = assert(arg[1], "usage: lunats lua packaging/site/check.lua FOLDER")
local core = require "lunats.core"

local function read(path)
  local file = io.open(path)
  local text = file and file:read "a"
  if file then file:close() end
  return text
end

local ids = {}

---Places of a page; nil: there is no such page.
local function places(path)
  if ids[path] == nil then
    local text = read(path)
    local found = text and {} or false
    for id in (text or ""):gmatch '%sid="([^"]+)"' do found[id] = true end
    ids[path] = found
  end
  return ids[path] or nil
end

local function resolve(from, target)
  local parts = {}
  for part in (from:match "^(.*)/" .. "/" .. target):gmatch "[^/]+" do
    if part == ".." then
      table.remove(parts)
    elseif part ~= "." then
      parts[#parts + 1] = part
    end
  end
  return "/" .. table.concat(parts, "/")
end

local problems, links = {}, 0
local function problem(...) problems[#problems + 1] = table.concat({ ... }, " ") end

local function check_link(page, target)
  local path, anchor = target:match "^([^#?]*)[^#]*#?(.*)$"
  if target:find "^%a+:" then return end
  links = links + 1
  local to = path == "" and page or resolve(page, path)
  if path:find "^[./]+$" then to = to .. "/index.html" end
  if to:find "%.html$" then
    local found = places(to)
    if not found then return problem(page, "has a link to nothing:", target) end
    if anchor ~= "" and anchor ~= "__top" and not found[anchor] then
      problem(page, "has a link to a place that does not exist:", target)
    end
  elseif not read(to) then
    problem(page, "has a link to nothing:", target)
  end
end

local status, output = assert(core.process({ "find", folder, "-name", "*.html" }, true)):wait()
assert(status == 0, output)
for page in output:gmatch "[^\n]+" do
  local text = assert(read(page))
  if not page:find "/404.html$" then
    for target in text:gmatch '<a[^>]-%shref="([^"]*)"' do check_link(page, target) end
  end
  for asset in text:gmatch '<script[^>]-%ssrc="(https?:[^"]*)"' do
    problem(page, "fetches", asset)
  end
  for tag in text:gmatch "<link[^>]+>" do
    if tag:find 'rel="stylesheet"' and tag:find 'href="https?:' then
      problem(page, "fetches", tag)
    end
  end
end

print(("%d links, %d problems"):format(links, #problems))
for _, text in ipairs(problems) do print(text) end
os.exit(#problems == 0 and 0 or 1)
