---`lunats test`: busted's own runner, inside the host, in a fiber. `it` blocks may wait.
local core = require "lunats.core"

local function fail(...)
  io.stderr:write("lunats test: ", ...)
  io.stderr:write "\n"
  os.exit(1)
end

local function find(module, advice)
  local ok, result = pcall(require, module)
  if ok then return result end
  fail(advice, ": ", (tostring(result):match "[^\n]*"))
end

local has_tests, has_run = false, false

---Notes that there is a test, also one that a filter leaves out, and that one runs.
local function note_tests(busted)
  local publish = busted.publish
  function busted.publish(channel, ...)
    local what, which = channel[1], channel[2]
    has_tests = has_tests or what == "register" and (which == "it" or which == "pending")
    has_run = has_run or what == "test"
    return publish(channel, ...)
  end
end

---A run that has tested nothing is not green.
local function check_tests()
  if not has_tests then fail "there is no test: a spec calls it() inside of describe()" end
  if not has_run then fail(require("lunats.commands.test_command").NO_MATCH) end
end

---busted's own words for this do not say what to do.
local function check_folder()
  local given = require("lunats.commands.test_command").read()
  if #given.roots > 0 or #given.options > 0 or core.folder "spec" then return end
  local settings = io.open ".busted"
  if settings then return settings:close() end
  fail "there is no folder spec/ here: name spec files, or begin with `lunats new NAME`"
end

---Each run of busted is watched from its beginning, whatever its specs require.
local function guard_runs()
  local new = require "busted.core"
  local guard = require "lunats.testing.guard"
  package.loaded["busted.core"] = function(...)
    local busted = new(...)
    guard.of(busted)
    note_tests(busted)
    return busted
  end
end

return function()
  local options = core.options
  local runner = find("busted.runner",
    "needs busted (apt-get install lua-busted, or luarocks install busted)")
  if options.coverage then
    find("luacov.runner", "--coverage needs luacov (luarocks --lua-version 5.4 install luacov)")
  end
  check_folder()
  if options.watch then
    require("lunats.commands.test_watch")()
  elseif options.jobs > 0 then
    -- luacov's file is written by one process at a time.
    local jobs = options.coverage and 1 or options.jobs
    os.exit(require("lunats.commands.test_jobs")(jobs) and 0 or 1)
  else
    if options.coverage then table.insert(arg, 1, "--coverage") end
    guard_runs()
    local leftover = require "lunats.commands.leftover"
    leftover.watch()
    runner { standalone = false }
    leftover.warn "lunats test: the run has ended"
    check_tests()
  end
end
