---What the Lua state of a thread begins with (app.thread): it runs beside the loop and has
---nothing of the service but what it is given. Not a module: bindings/thread/state.c runs it
---there.
local host = ...

-- ---- files: those that are loaded belong to the service ---------------------------

local function noting(load)
  return function(path, ...)
    if type(path) == "string" then host.note(path) end
    return load(path, ...)
  end
end

loadfile = noting(loadfile) -- luacheck: ignore 121
dofile = noting(dofile) -- luacheck: ignore 121

for i, search in ipairs(package.searchers) do
  package.searchers[i] = function(name)
    local ok, loader, path = pcall(search, name)
    if not ok then
      local file = tostring(loader):match "from file '([^']+)'"
      if file then host.note(file) end
      error(loader, 0)
    end
    if type(loader) == "function" and type(path) == "string" and path:find "%.lua$" then
      host.note(path)
    end
    return loader, path
  end
end

table.insert(package.searchers, 2, function(name)
  if name == "app" or name:find "^lunats%." then
    error(("module '%s' is not available in a thread: what runs there has only its arguments, "
      .. "and gives back its results"):format(name), 0)
  elseif name == "luv" then
    error("luv is not available: an error in one of its callbacks ends the whole process", 0)
  end
end)

-- ---- what would reach the whole process --------------------------------------------

os.execute = host.execute -- luacheck: ignore 122

function os.exit() -- luacheck: ignore 122
  error("os.exit is not available in a thread", 2)
end

local setlocale = os.setlocale
function os.setlocale(locale, category) -- luacheck: ignore 122
  if locale ~= nil then
    error("os.setlocale: the locale is that of the whole process; not from a thread", 2)
  end
  return setlocale(nil, category)
end

-- Modules in C stay loaded: libraries may have something that runs when the thread ends.
debug.setmetatable(debug.getregistry()._CLIBS, nil)

-- ---- calls ---------------------------------------------------------------------------

return function(module, name, ...)
  local value = host.call(require, module) -- whose errors do not begin with our position then
  local fn = type(value) == "table" and value[name]
  if type(fn) ~= "function" then
    local has = type(value) == "table" and ("has no function '%s'"):format(name)
      or ("is a %s, not a table of functions"):format(type(value))
    error(("module '%s' %s"):format(module, has), 0)
  end
  return fn(...)
end
