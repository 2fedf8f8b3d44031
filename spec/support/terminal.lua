---`lunats` in a terminal of its own, which the spec types into.
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local read = require "spec.support.read"

local M = {}

local terminal = {}
terminal.__index = terminal

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

---@param arguments string[]  of lunats
---@param size string|nil  for stty: "cols 80 rows 24"
---@param env table<string, string>|nil
function M.open(arguments, size, env)
  local all = { TERM = "xterm" } -- whichever the suite runs in
  for name, value in pairs(env or {}) do all[name] = value end
  local self = setmetatable({ keys = process.path "keys", tty = process.path "tty",
    pid_file = process.path "pid", after = process.path "after" }, terminal)
  os.execute("mkfifo " .. self.keys)
  local words = { process.lunats() }
  for _, word in ipairs(arguments) do words[#words + 1] = quote(word) end
  -- Shells let what they start in the background ignore SIGQUIT.
  local inner = ("tty >%s; stty %s; sh -c %s; echo $? >%s; stty -a >>%s"):format(self.tty,
    size or "cols 80 rows 24", quote(("echo $$ >%s; exec env --default-signal=QUIT %s"):format(
    self.pid_file, table.concat(words, " "))), self.after, self.after)
  self.child = process.spawn({ "sh", "-c", ("exec script -qfec %s /dev/null <>%s"):format(
    quote(inner), self.keys) }, { env = all })
  return self
end

function terminal:output() return self.child:output() end

function terminal:expect(pattern) return self.child:expect(pattern) end

local function wait(self, pattern)
  local from = (self.seen or 0) + 1
  return eventually(function()
    return ("%q in:\n%s"):format(pattern, self:output():sub(from):sub(-2000))
  end, function()
    local first, last, found = self:output():find(pattern, from)
    return first and { last = last, text = found or self:output():sub(first, last) }
  end)
end

---Waits for a pattern behind what the last call has found; its first capture, or the match.
function terminal:next(pattern)
  local found = wait(self, pattern)
  self.seen = found.last
  return found.text
end

---The same in a screen that is drawn again and again: behind what was shown at the last call.
function terminal:latest(pattern)
  local found = wait(self, pattern)
  self.seen = #self:output()
  return found.text
end

function terminal:type(keys)
  local file = assert(io.open(self.keys, "wb"))
  file:write(keys)
  file:close()
end

---Waits until what runs has the terminal as a shell gives it, not key by key.
function terminal:wait_for_lines()
  eventually("a terminal that reads lines", function()
    local now = io.popen("stty -a -F " .. read(self.tty):match "%S+")
    local text = now:read "a"
    now:close()
    return text:find "[^-]icanon"
  end)
end

function terminal:resize(size)
  assert(os.execute(("stty -F %s %s"):format(read(self.tty):match "%S+", size)))
end

function terminal:signal(name)
  local pid = eventually("the pid", function() return read(self.pid_file):match "%d+" end)
  os.execute(("kill -%s %s"):format(name, pid))
end

---Waits for its end; the exit status, and whether the terminal is as it was.
---@return integer status, boolean restored
function terminal:wait()
  self.child:wait()
  local after = read(self.after)
  return tonumber(after:match "^%d+"), after:find("[^-]icanon") ~= nil
    and after:find("[^-]echo ") ~= nil and after:find("[^-]isig") ~= nil
end

return M
