---Writes down which files a script loads, so that a change of any of them is noticed.
local core = require "lunats.core"

local M = {}

local add = core.add_file

local function noting(load)
  return function(path, ...)
    if type(path) == "string" then add(path) end
    return load(path, ...)
  end
end

loadfile = noting(loadfile) -- luacheck: ignore 121
dofile = noting(dofile) -- luacheck: ignore 121

---An editor empties a file before it writes it. The empty file is a valid module, `true`, and a
---version with it would take over and fail at its first message.
local function check_filled(name, path)
  local file = io.open(path, "rb")
  local text = file and file:read "a"
  if file then file:close() end
  if text and not text:gsub("^\u{FEFF}", ""):find "%S" then
    error(("module '%s' is empty: is %s being written?"):format(name, path), 0)
  end
end

---A searcher of Lua files, which returns a loader and the name of the file, as one that notes
---them. Its errors get our position in front, which helps nobody.
function M.searcher(search)
  return function(name)
    local ok, loader, path = pcall(search, name)
    if not ok then
      -- The file counts, too: mending it is a change.
      local file = tostring(loader):match "from file '([^']+)'"
      if file then add(file) end
      error((tostring(loader):gsub("^lunats/files%.lua:%d+: ", "")), 0)
    end
    if type(loader) == "function" and type(path) == "string" and path:find "%.lua$" then
      add(path)
      check_filled(name, path)
    end
    return loader, path
  end
end

for i, search in ipairs(package.searchers) do package.searchers[i] = M.searcher(search) end

-- A module of C with an event loop of its own.
table.insert(package.searchers, 2, function(name)
  if name ~= "luv" then return end
  core.blame("luv is not available: it has an event loop of its own. uv.run would hold all "
    .. "services of the process, and an error in one of its callbacks ends it. Use app.timer, "
    .. "app.sleep and app.spawn, and app.thread for what blocks")
end)

---The last one knows where else it might be.
package.searchers[#package.searchers + 1] = function(name)
  local ok, hint = pcall(function() return require("lunats.modules").hint(name) end)
  return ok and hint or nil
end

return M
