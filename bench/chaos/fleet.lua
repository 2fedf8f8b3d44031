---The processes that bench/chaos.lua torments: two lunats, one of them behind a link that can
---be cut, and who starts them again as a supervisor does.
local admin = require "spec.support.admin"
local core = require "lunats.core"
local lfs = require "lfs"
local process = require "spec.support.process"

local M = {}

---Seconds that a member has to come up, on a machine that does much else.
local PATIENCE = 60

local FAKETIME = {
  "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
  "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
}

---Runs a command to its end beside all else.
---@return boolean ok, string output
function M.sh(...)
  local status, output = assert(core.process({ ... }, true)):wait()
  return status == 0, output
end

function M.signal(pid, name) os.execute(("kill -%s %d 2>/dev/null"):format(name, pid)) end

---@return string|nil library, string|nil why there is none
local function faketime()
  for _, path in ipairs(FAKETIME) do
    local file = io.open(path)
    if file then
      file:close()
      -- A program that is built with a sanitizer refuses other libraries in front of it.
      local ok, output = M.sh("sh", "-c", 'LD_PRELOAD=$0 "$1" version 2>&1', path,
        process.lunats())
      if not ok or output:find "ERROR" or output:find "ASan" then
        return nil, "this lunats cannot be started with libfaketime"
      end
      return path
    end
  end
  return nil, "libfaketime is missing (Debian: apt-get install faketime)"
end

-- ---- a link ------------------------------------------------------------------

local link = {}
link.__index = link

---@param to integer  port
function M.link(to)
  local self = setmetatable({ port = core.free_port(), to = to, lock = app.mutex() }, link)
  self:open()
  self.url = "127.0.0.1:" .. self.port
  return self
end

function link:open()
  self.child = process.spawn { "perl", "bench/chaos/proxy.pl", tostring(self.port),
    tostring(self.to) }
  self.child:expect("ready", PATIENCE)
end

function link:cut(seconds)
  self.child:signal "KILL"
  self.child:wait(PATIENCE)
  app.sleep(seconds)
  self:open()
end

function link:mute(seconds)
  self.child:signal "STOP"
  app.sleep(seconds)
  self.child:signal "CONT"
end

---Lets bytes through for a tenth of the time.
function link:slow_down(seconds)
  local til = core.hrtime() + seconds
  while core.hrtime() < til do
    self:mute(0.18)
    app.sleep(0.02)
  end
end

-- ---- lunats -------------------------------------------------------------------

local member = {}
member.__index = member

---@param name string
---@param opts table  url, scripts (a list), on_fault(text), clock (whether it can be set)
function M.member(name, opts)
  local self = setmetatable({ name = name, lock = app.mutex(), starts = 0, kept = {},
    url = opts.url, scripts = opts.scripts, on_fault = opts.on_fault,
    handled = process.path("handled." .. name) }, member)
  self.env = { CHAOS_WHO = name, CHAOS_HANDLED = self.handled, NO_COLOR = "1",
    -- Memory that is kept as it was freed hides what is not given back.
    ASAN_OPTIONS = (os.getenv "ASAN_OPTIONS" or "") .. ":quarantine_size_mb=16" }
  if opts.clock then self:prepare_clock() end
  self:start()
  return self
end

function member:prepare_clock()
  local library, why = faketime()
  self.no_clock = why
  if not library then return end
  self.clock = process.path "clock"
  self:set_clock "+0"
  for key, value in pairs { LD_PRELOAD = library, FAKETIME_TIMESTAMP_FILE = self.clock,
    FAKETIME_CACHE_DURATION = "1", FAKETIME_DONT_FAKE_MONOTONIC = "1",
    DONT_FAKE_MONOTONIC = "1" } do
    self.env[key] = value
  end
end

---@param offset string  "+3600", say
function member:set_clock(offset)
  local file = assert(io.open(self.clock .. ".new", "w"))
  file:write(offset, "\n")
  file:close()
  assert(os.rename(self.clock .. ".new", self.clock))
end

function member:start()
  self.starts = self.starts + 1
  self.child = process.spawn({ process.lunats(), "run", "--retry", "--watch", "--control",
    "--admin", "127.0.0.1:0", "--ping-interval", "1", "--slice", "0.2", "--drain-timeout", "5",
    "--server", self.url, table.unpack(self.scripts) }, { env = self.env })
  self.kept[#self.kept + 1] = self.child
  self.pid, self.admin = self.child.pid, nil
  self.wanted = true
end

---Waits until it answers, and says that nothing is wrong with it.
---@return boolean ready, string why not
function member:ready(timeout)
  local til, why = core.hrtime() + (timeout or PATIENCE), "it has not started"
  while core.hrtime() < til do
    local url = self.child:output():match "admin port at ([^\n]+)/"
    if url then
      local status, body = admin.get(url, "/readyz")
      if status == 200 then
        self.admin = url
        return true, ""
      end
      why = ("/readyz: %d %s"):format(status, body)
    end
    app.sleep(0.1)
  end
  return false, why
end

---@return string|nil url, of the port that it has had so far
function member:admin_url() return self.child:output():match "admin port at ([^\n]+)/" end

---SIGHUP and SIGTERM end a process that has not learnt yet what they mean.
local EARLY = { [128 + 1] = true, [128 + 15] = true }

---Whether a member may have ended with this status: only one that has not come up yet, as
---an on_start hook of one of its services could not do its work.
local function excused(self, status)
  return self.child:count ": started" < #self.scripts and (status < 128 or EARLY[status])
end

---A member that ends by itself is started again.
function member:supervise()
  local status = self.wanted and self.child:status()
  if not status or self.ended == self.child then return end
  self.ended = self.child
  if not excused(self, status) then
    self.on_fault(("process %s ended by itself with status %d:\n%s"):format(self.name, status,
      self.child:output():sub(-3000)))
  end
  self:start()
end

function member:kill(seconds)
  self.wanted = false
  self.child:signal "KILL"
  self.child:wait(PATIENCE)
  app.sleep(seconds)
  self:start()
end

---In order: status 0, whatever is wrong with its server. One that has not come up yet may end
---as it likes, even by the signal, but may not crash.
function member:restart(seconds)
  self.wanted = false
  self.child:signal "TERM"
  local status = self.child:wait(PATIENCE)
  if status ~= 0 and not excused(self, status) then
    self.on_fault(("process %s was told to stop, and ended with status %d:\n%s"):format(
      self.name, status, self.child:output():sub(-3000)))
  end
  app.sleep(seconds)
  self:start()
end

function member:pause(seconds)
  self.child:signal "STOP"
  app.sleep(seconds)
  self.child:signal "CONT"
end

---All that its processes have written.
function member:output()
  local texts = {}
  for i, child in ipairs(self.kept) do texts[i] = child:output() end
  return table.concat(texts)
end

---Keeps what members and servers have written; nothing without a folder.
---@param folder string|nil
function M.save_logs(folder, members, nodes)
  if not folder then return end
  M.sh("mkdir", "-p", folder)
  for _, one in ipairs(members) do
    local file = assert(io.open(("%s/%s.log"):format(folder, one.name), "wb"))
    file:write(one:output())
    file:close()
  end
  for i, node in ipairs(nodes) do
    M.sh("cp", node.dir .. "/nats-server.log", ("%s/server.%d.log"):format(folder, i))
  end
end

---Stops them in order, each of which must end with 0.
---@param fault fun(text: string)
function M.stop(members, fault)
  for _, one in ipairs(members) do
    one.wanted = false
    local status = one.child:stop(60)
    if status ~= 0 then fault(("process %s: status %d"):format(one.name, status)) end
  end
end

-- ---- descriptors ----------------------------------------------------------------

---@return integer|nil
function M.descriptors(pid)
  local count = 0
  local ok = pcall(function()
    for _ in lfs.dir(("/proc/%d/fd"):format(pid)) do count = count + 1 end
  end)
  return ok and count - 2 or nil
end

---For so many seconds a process can open nothing, or next to nothing.
---@return string|nil why it could not be done
function M.exhaust(pid, seconds, spare)
  local _, before = M.sh("prlimit", "--pid", tostring(pid), "--nofile", "--output", "SOFT",
    "--noheadings", "--raw")
  local open = M.descriptors(pid)
  local soft = before:match "%d+"
  if not soft or not open then return "prlimit is missing, or the process is gone" end
  local function limit(number)
    return M.sh("prlimit", "--pid", tostring(pid), ("--nofile=%s:"):format(number))
  end
  if not limit(open + spare) then return "prlimit cannot change the limit" end
  app.sleep(seconds)
  limit(soft)
end

---Starts members again that have ended, until the run is over.
---@param run { members: table[], over: boolean|nil }
function M.supervise(run)
  app.spawn(function()
    while not run.over do
      for _, one in ipairs(run.members) do one:supervise() end
      app.sleep(0.2)
    end
  end)
end

return M
