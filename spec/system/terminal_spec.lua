-- What becomes of a process whose terminal is closed.
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"

---Runs `lunats` in a terminal of its own; returns that terminal and the pid of lunats, which
---the script writes.
local function in_terminal(command, script)
  local sign = process.path "pid"
  local path = process.write("svc.lua", ([[
    local function tell()
      local file = assert(io.open("/proc/self/stat"))
      local pid = file:read "n"
      file:close()
      file = assert(io.open(%q, "w"))
      file:write(pid, "\n")
      file:close()
    end
    %s]]):format(sign, script))
  local words = ("%s %s %s"):format(process.lunats(), command, path)
  local terminal = process.spawn { "script", "-qfc", "exec " .. words,
    process.path "typescript" }
  return terminal, eventually("the pid", function()
    local file = io.open(sign)
    local pid = file and file:read "n"
    if file then file:close() end
    return pid
  end)
end

---Also one that nobody waits for has ended: its parent is gone.
local function ends(pid)
  eventually("the end of " .. pid, function()
    local file = io.open(("/proc/%d/stat"):format(pid))
    local state = file and file:read "a":match "%) (%a)"
    if file then file:close() end
    return not state or state == "Z"
  end)
end

describe("when its terminal is closed", function()
  after_each(process.close_all)

  for command, script in pairs {
    dev = 'app.task(tell) app.listen("terminal.x", function() return 1 end)',
    lua = "tell() app.sleep(1000)",
  } do
    it("lunats " .. command .. " ends", function()
      local terminal, pid = in_terminal(command, script)
      terminal:signal "KILL"
      ends(pid)
    end)
  end
end)
