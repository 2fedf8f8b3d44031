---Every test leaves the loop as it found it: no handle more (timers, sockets, children, files)
---and no error of a callback that nobody has looked at. .busted loads this for all specs.
---
---A test that makes errors of its own state on purpose takes them: expected_errors(count).
local busted = require "busted"
local core = require "lunats.core"

local M = {
  ---Seconds: a deadline for handles that close in their own time, not a duration.
  patience = 15,
}

local errors = core.error_watch()
local before, expected, at_most, test

local function excess()
  local lines = {}
  for kind, count in pairs(core.loop_handles()) do
    local more = count - (before[kind] or 0)
    if more > 0 then lines[#lines + 1] = ("%d %s"):format(more, kind) end
  end
  table.sort(lines)
  return table.concat(lines, ", ")
end

-- What fails in an after_each says nothing about the test.
busted.subscribe({ "test", "start" }, function(element)
  test = element.name
  return nil, true
end)

local function fail(format, ...) error(("after %q: "):format(test) .. format:format(...), 0) end

---The running test logs so many errors in the state of the spec itself.
---@param count integer
---@param most integer|nil up to so many, where it depends on time
function M.expected_errors(count, most) expected, at_most = count, most or count end

function M.before_each()
  before = core.loop_handles()
  M.expected_errors(0)
  errors:take()
end

function M.after_each()
  local deadline = core.hrtime() + M.patience
  collectgarbage() -- what nobody holds closes itself
  while excess() ~= "" and core.hrtime() < deadline do
    core.sleep(0.005)
    collectgarbage()
  end
  local more = excess()
  if more ~= "" then fail("handles left open: %s", more) end
  local count, first = errors:take()
  if count < expected or count > at_most then
    fail("%d errors were logged, %d expected; the first: %s", count, expected, first)
  end
end

return M
