---`lunats lua`: runs Lua as lua(1) does, with `app`, in a fiber that may wait.
local core = require "lunats.core"

---The whole command line; the script, or without one the program, is at 0.
local function set_arg()
  local words = core.options.words
  local zero = core.options.scripts[1] and #words - #core.options.args or 1
  local list = {}
  for i, word in ipairs(words) do list[i - zero] = word end
  rawset(_G, "arg", list)
end

---@param err any  what was raised
local function fail(text, err)
  core.report(text, { kind = "main" }, err)
  os.exit(1)
end

---Runs a chunk; an error is reported and ends the process, as one of lua(1) does.
local function run(service, fn, err, ...)
  if not fn then fail(err, err) end
  local ok, caught = core.protect(fn, ...)
  if core.cancelled() then error(caught, 0) end
  local trace, raised
  if not ok then trace, raised = core.caught(caught) end
  if service then service.end_of_file(ok, raised) end
  if not ok then fail(trace, raised) end
end

---The standard input as a chunk.
local function load_input()
  local text = require("lunats.commands.input").all()
  return load((text:gsub("^\xEF\xBB\xBF", ""):gsub("^#[^\n]*", "")), "=stdin", "t")
end

return function(...)
  local options = core.options
  local file = options.scripts[1]
  set_arg()
  for _, code in ipairs(options.code) do run(nil, load(code, "=(command line)", "t")) end
  if file == "-" then
    local fn, err = load_input()
    run(nil, fn, err, ...)
  elseif file then
    local service
    if not options.interactive then
      service = require "lunats.commands.lua_service"
      service.watch(file)
    end
    local fn, err = loadfile(file, "t")
    run(service, fn, err, ...)
  end
  if options.interactive then require("lunats.commands.repl").run() end
end
