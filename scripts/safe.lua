---`--libs safe`: the libraries of Lua for a script that nobody vouches for. It gets globals of
---its own, without what reaches files, processes, C and byte code. Our modules keep the former
---ones: nothing leads to these without the library debug.
local core = require "lunats.core"
local check = require "lunats.check"
local files = require "lunats.files"

-- A script may change the methods of strings: what is decided here calls none of them.
local find, format, sub = string.find, string.format, string.sub

local OPTION = " is not available with --libs safe"

---What is left of libraries that reach further. All else in them is there to say so.
local KEPT = {
  debug = { traceback = true }, -- for xpcall; it shows names and lines
  io = {},
  os = { clock = true, date = true, difftime = true, time = true },
  package = { config = true },
}

---Variables that are about lunats itself: where it connects, with which password.
local HIDDEN = { "^LUNATS_", "^NATS_", "^OTEL_" }

---The folder of the script: the only one of which it reads files, by whatever function.
local folder = string.match(arg[0], "^(.*)/[^/]*$") or "."
if folder == "" then folder = "/" end

local function refusing(name)
  return function() error(name .. OPTION, 2) end
end

local function copy(t)
  local same = {}
  for key, value in next, t do same[key] = value end
  return same
end

local function remains(library, name)
  local left = {}
  for key, value in next, library do
    if KEPT[name][key] then
      left[key] = value
    elseif type(value) == "function" then
      left[key] = refusing(name .. "." .. key)
    end
  end
  return left
end

-- ---- code ----------------------------------------------------------------------

---@return string|nil why a file is none of those that the script reads
local function unreadable(path)
  if core.is_below(folder, path) then return nil end
  return format("cannot read %s: with --libs safe a file must be in the folder of the script "
    .. "(%s), or below it", path, folder)
end

---For whatever else reads files that a script names.
core.unreadable = unreadable

---The first kind is what the error says.
local function expect(what, i, value, ...)
  for _, kind in ipairs { ... } do
    if type(value) == kind then return end
  end
  local text = "bad argument #%d to '%s' (%s expected, got %s)"
  error(format(text, i, what, (...), type(value)), 3)
end

---Whatever mode is asked for, text is all there is.
local function refused_mode(mode)
  return mode ~= nil and not find(mode, "t", 1, true) and "byte code" .. OPTION
end

local load, loadfile = load, loadfile

local function load_text(chunk, name, mode, ...)
  expect("load", 1, chunk, "function", "string")
  expect("load", 2, name, "string", "nil")
  expect("load", 3, mode, "string", "nil")
  local refused = refused_mode(mode)
  if refused then return nil, refused end
  return load(chunk, name, "t", ...)
end

local function load_text_file(path, mode, ...)
  expect("loadfile", 1, path, "string")
  expect("loadfile", 2, mode, "string", "nil")
  local refused = refused_mode(mode) or unreadable(path)
  if refused then return nil, refused end
  return loadfile(path, "t", ...)
end

local function do_text_file(path)
  expect("dofile", 1, path, "string")
  local fn, err = load_text_file(path)
  if not fn then error(err, 0) end
  return fn()
end

-- ---- modules -------------------------------------------------------------------

---Copies: package.path and package.searchpath are for scripts to change.
local path, searchpath = package.path, package.searchpath

local function search_file(name)
  local found, tried = searchpath(name, path)
  if not found then return tried end
  local fn, err = loadfile(found, "t")
  if not fn then
    error(format("error loading module '%s' from file '%s':\n\t%s", name, found, err), 0)
  end
  return fn, found
end

local function search_ours(name)
  if sub(name, 1, 7) == "lunats." then return "no modules of lunats with --libs safe" end
end

---What require of a script works with. It never sees the table `package` of the script: to
---change the path, or take away a searcher, helps nobody.
local function new_package(loaded)
  local seen = remains(package, "package")
  seen.loaded, seen.preload = loaded, package.preload
  seen.path, seen.cpath = path, ""
  local function explain()
    local moved = seen.path ~= path and "package.path cannot be changed with --libs safe\n\t"
    return (moved or "") .. "no C modules with --libs safe"
  end
  -- In the order of Lua's own, whose first one looks into package.preload.
  seen.searchers = { package.searchers[1], search_ours, files.searcher(search_file), explain }
  package.searchers = seen.searchers
  return seen
end

---What `require` is for our own modules: none but those in the binary.
local function our_require(globals, loaded)
  return function(name)
    local value = loaded[name]
    if value == nil then
      value = core.module(name, globals)(name)
      loaded[name] = value == nil or value
    end
    return value
  end
end

-- ---- metatables ----------------------------------------------------------------

local metatable_of, registry = debug.getmetatable, debug.getregistry()

---Who calls a __gc by hand, or changes a method, could break what lunats keeps. Some of these
---metatables are only made when they are needed.
local function is_ours(value, meta)
  if type(value) == "userdata" then return true end
  local name = rawget(meta, "__name")
  return name ~= nil and rawget(registry, name) == meta or check.is_class(meta)
end

local function safe_getmetatable(...)
  if select("#", ...) == 0 then
    error("bad argument #1 to 'getmetatable' (value expected)", 2)
  end
  local value = ...
  local meta = metatable_of(value)
  if meta ~= nil and is_ours(value, meta) then return false end
  return getmetatable(value)
end

local function safe_setmetatable(value, meta)
  expect("setmetatable", 1, value, "table")
  expect("setmetatable", 2, meta, "nil or table", "nil", "table")
  local before = metatable_of(value)
  if before ~= nil and is_ours(value, before) then
    error("cannot change a protected metatable", 2)
  end
  return setmetatable(value, meta)
end

---Methods of strings are those of Lua, for us as for the script; further ones come from its own
---table.
local function guard_strings(own)
  local methods = copy(string)
  methods.dump = own.dump
  local meta = metatable_of ""
  meta.__index, meta.__metatable = setmetatable(methods, { __index = own }), false
end

-- ---- the switch ----------------------------------------------------------------

local function hidden(name)
  for _, pattern in ipairs(HIDDEN) do
    if find(name, pattern) then return true end
  end
end

local getenv = os.getenv

---Takes the libraries away from all that is loaded from here on.
return function()
  local ours, theirs = _G, copy(_G)
  for name in next, KEPT do theirs[name] = remains(ours[name], name) end
  local loaded = { _G = theirs, app = app }
  theirs._G, theirs.package = theirs, new_package(loaded)
  theirs.load, theirs.loadfile, theirs.dofile = load_text, load_text_file, do_text_file
  function theirs.os.getenv(name)
    expect("getenv", 1, name, "string")
    return not hidden(name) and getenv(name) or nil
  end
  for _, name in ipairs { "coroutine", "math", "string", "table", "utf8" } do
    ours[name] = copy(ours[name]) -- a script may change its own
    loaded[name] = theirs[name]
  end
  for name in next, KEPT do loaded[name] = theirs[name] end
  theirs.string.dump = refusing "string.dump"
  theirs.getmetatable, theirs.setmetatable = safe_getmetatable, safe_setmetatable
  guard_strings(theirs.string)
  ours.require = our_require(ours, package.loaded)
  core.confine(theirs, loaded)
end
