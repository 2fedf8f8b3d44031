---Parents and workers for specs.
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"

local M = {}

---A service of one listener.
M.WHO = [[
  app.config { name = "spec_workers", version = "1.0.0" }
  app.listen("spec.workers.who", function() return { id = app.instance_id, version = 1 } end)
]]

---Starts a parent; waits until all its workers are ready.
function M.run(source, count, ...)
  local child = process.run(source, { "--workers", tostring(count), ... })
  child:expect(("all %d workers are ready"):format(count))
  return child
end

---By the number of the worker, the process that runs now.
function M.pids(child)
  local found = {}
  for number, pid in child:output():gmatch "worker (%d+) of %d+ is process (%d+)" do
    found[tonumber(number)] = tonumber(pid)
  end
  return found
end

function M.signal(pid, name) os.execute(("kill -%s %d 2>/dev/null"):format(name, pid)) end

local function alive(pid)
  local file = io.open(("/proc/%d/stat"):format(pid))
  local stat = file and file:read "a" or "(x) Z"
  if file then file:close() end
  return not stat:find "%) Z"
end

---Waits for the end of all its workers.
function M.expect_gone(child)
  for _, pid in pairs(M.pids(child)) do
    eventually("the end of " .. pid, function() return not alive(pid) end)
  end
end

return M
