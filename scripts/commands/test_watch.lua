---`lunats test --watch`: runs the specs again whenever a Lua file below the working directory
---changes.
local core = require "lunats.core"
local command = require "lunats.commands.test_command"
local lfs = require "lfs" -- busted needs it, too

local SIGTERM = 15
---Folders nobody writes code in.
local LEFT_OUT = { node_modules = true, lua_modules = true, build = true }

local function watch_folder(watch, folder)
  watch:add(folder, ".lua")
  local polls = core.options.watch_poll > 0 -- which tells of names in the folder only
  for name in lfs.dir(folder) do
    local path = folder == "." and name or folder .. "/" .. name
    if name:sub(1, 1) ~= "." and not LEFT_OUT[name]
      and lfs.symlinkattributes(path, "mode") == "directory" then
      watch_folder(watch, path)
    elseif polls and name:find "^[^.].*%.lua$" then
      watch:add(path)
    end
  end
end

---Runs the specs until they end or a file changes. Returns the path of that file.
local function run_once(words, watch)
  local child = assert(core.process(words, false))
  local ended
  app.spawn(function()
    local status = child:wait()
    ended = true
    print(("-- %s; waiting for changes (Ctrl-C ends)"):format(
      status == 0 and "passed" or "failed with status " .. status))
    io.stdout:flush()
  end)
  local path = watch:wait()
  if not ended then
    child:kill(SIGTERM)
    while not ended do core.sleep(0.01) end
  end
  return path
end

return function()
  local own = command.read()
  local words = command.words(core.options.jobs, own.options, own.roots)
  local watch = assert(core.watch(core.options.watch_poll))
  while true do
    watch:clear()
    watch_folder(watch, ".")
    watch:add ".busted"
    local path = run_once(words, watch)
    print(("-- %s has changed"):format(path))
    io.stdout:flush()
  end
end
