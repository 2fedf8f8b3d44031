---Child processes for specs: output in a file, never a call that blocks the loop for long.
local eventually = require "spec.support.eventually"
local lfs = require "lfs"
local testing = require "lunats.testing"

local M = {}

---Slow machines under sanitizers and load: a deadline, not a duration.
local PATIENCE = 40

local process = {}
process.__index = process

local all, folder, files = {}, nil, 0

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

local function read(path)
  local file = io.open(path, "rb")
  if not file then return "" end
  local text = file:read "a"
  file:close()
  return text
end

---A new path in the folder of this run, which M.close_all() removes.
function M.path(name)
  if not folder then
    folder = os.tmpname()
    os.remove(folder)
    assert(lfs.mkdir(folder))
  end
  files = files + 1
  return ("%s/%d.%s"):format(folder, files, name)
end

---Writes a file into a folder of its own, so that a script can be called as it likes.
---@return string path
function M.write(name, text)
  local own = M.path "d"
  assert(lfs.mkdir(own))
  local path = own .. "/" .. name
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

---The program that runs this spec.
function M.lunats() return (assert(lfs.symlinkattributes("/proc/self/exe", "target"))) end

---Starts a command (a list of words) in the background; opts: env (table), cwd.
function M.spawn(command, opts)
  opts = opts or {}
  local words = { "exec env" }
  for name, value in pairs(opts.env or {}) do
    words[#words + 1] = name .. "=" .. quote(value)
  end
  for _, word in ipairs(command) do words[#words + 1] = quote(word) end
  local self = setmetatable({ out = M.path "out", command = command }, process)
  local inner = ("cd %s && %s"):format(quote(opts.cwd or "."), table.concat(words, " "))
  os.execute(("{ sh -c %s >%s 2>&1 & echo $! >%s.pid; wait $!; echo $? >%s.status; } %s")
    :format(quote(inner), self.out, self.out, self.out, ">/dev/null 2>&1 &"))
  self.pid = eventually("a pid", function()
    return read(self.out .. ".pid"):match "^(%d+)\n"
  end)
  all[#all + 1] = self
  return self
end

---`lunats run` with the server of the spec, unless the options name another one; opts: as
---spawn, servers (URLs).
---@param source string  of the script, which is called "svc.lua"
function M.run(source, options, opts)
  local command = { M.lunats(), "run" }
  for _, url in ipairs(opts and opts.servers or { testing.server_url() }) do
    command[#command + 1] = "--server"
    command[#command + 1] = url
  end
  for _, word in ipairs(options or {}) do command[#command + 1] = word end
  command[#command + 1] = M.write("svc.lua", source)
  return M.spawn(command, opts)
end

---Runs `lunats` with arguments to its end; opts: as spawn, timeout.
---@return integer status
---@return string output
function M.lunats_to_end(arguments, opts)
  local self = M.spawn({ M.lunats(), table.unpack(arguments) }, opts)
  return self:wait(opts and opts.timeout), self:output()
end

---A nats-server of its own; opts: port, args.
function M.server(opts)
  opts = opts or {}
  local self = M.spawn { "nats-server", "-a", "127.0.0.1", "-p", tostring(opts.port or -1),
    table.unpack(opts.args or {}) }
  self:expect "Server is ready"
  self.port = tonumber(self:output():match "connections on 127%.0%.0%.1:(%d+)")
  self.url = "nats://127.0.0.1:" .. self.port
  return self
end

function process:output() return read(self.out) end

---Waits until the output matches a Lua pattern; returns the first capture or the match.
function process:expect(pattern, timeout)
  return eventually(function()
    return ("%q in the output of %s:\n%s"):format(pattern, table.concat(self.command, " "),
      self:output())
  end, function() return self:output():match(pattern) end, timeout or PATIENCE)
end

---How often a plain text occurs in the output.
function process:count(text)
  local count, at = 0, 1
  local output = self:output()
  while true do
    local _, last = output:find(text, at, true)
    if not last then return count end
    count, at = count + 1, last + 1
  end
end

function process:signal(name) os.execute(("kill -%s %s 2>/dev/null"):format(name, self.pid)) end

---The exit status if it has ended; 128 + signal as a shell says it.
function process:status() return tonumber(read(self.out .. ".status"):match "^(%d+)\n") end

---What a process and its children are doing, for the message of a wait that was in vain.
local function doing(pid)
  local pipe = assert(io.popen(([==[
    look() {
      echo "process $1: $(tr '\0' ' ' </proc/$1/cmdline | cut -c 1-200)"
      for task in /proc/$1/task/*; do
        echo "  $(cat $task/comm): $(sed -n 's/^State:[[:space:]]*//p' $task/status)" \
          "in $(cat $task/wchan), system call $(cut -d ' ' -f 1 $task/syscall)"
      done
      for child in $(cat /proc/$1/task/*/children); do look $child; done
    }
    look %d 2>/dev/null]==]):format(pid)))
  local text = pipe:read "a"
  pipe:close()
  return text
end

function process:wait(timeout)
  return eventually(function()
    return ("the end of %s:\n%s%s"):format(table.concat(self.command, " "), doing(self.pid),
      self:output())
  end, function() return self:status() end, timeout or PATIENCE)
end

---SIGTERM, then the exit status.
function process:stop(timeout)
  self:signal "TERM"
  return self:wait(timeout)
end

---Ends what still runs, removes the files; reports of sanitizers are an error. For after_each.
function M.close_all()
  local reports = {}
  for _, self in ipairs(all) do
    if not self:status() then
      self:signal "KILL"
      pcall(self.wait, self)
    end
    local output = self:output()
    if output:find("Sanitizer", 1, true) or output:find("runtime error:", 1, true) then
      reports[#reports + 1] = output
    end
  end
  all = {}
  if folder then os.execute("rm -rf " .. quote(folder)) end
  folder = nil
  assert(#reports == 0, table.concat(reports, "\n"))
end

return M
