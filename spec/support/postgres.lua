---A PostgreSQL of its own: a new database in a folder of its own, on a free port.
local core = require "lunats.core"
local eventually = require "spec.support.eventually"

local M = {}

local function output(command)
  local pipe = assert(io.popen(command .. " 2>/dev/null"))
  local line = pipe:read "l"
  pipe:close()
  return line ~= "" and line or nil
end

---The newest that Debian has installed, or that of the path.
local bin = output "ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1"
  or output "dirname \"$(command -v postgres)\" | grep /"

---It refuses to be root.
local user = output "id -u" == "0"
  and (output "id -un postgres" or output "id -un nobody") or nil

---Why there is none, for `pending`; or nil.
M.missing = not bin and "there is no PostgreSQL: Debian's package postgresql" or nil

local function quoted(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

---As that user, and ended with this process.
local function words(...)
  local list = { "setpriv", "--pdeathsig", "QUIT" }
  if user then
    local as_user = { "--reuid", user, "--regid", output("id -gn " .. user), "--clear-groups" }
    table.move(as_user, 1, #as_user, #list + 1, list)
  end
  table.move({ ... }, 1, select("#", ...), #list + 1, list)
  return list
end

local function run(...)
  local status, text = assert(core.process({ ... }, true)):wait()
  assert(status == 0, text)
end

local server = {}
server.__index = server

local function answers(self)
  return os.execute(("%s/pg_isready -q -h 127.0.0.1 -p %d"):format(bin, self.port)) == true
end

---Starts it, again after kill() or stop().
function server:start()
  local list = words(bin .. "/postgres", "-D", self.dir .. "/data", "-p", tostring(self.port),
    "-k", self.dir, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off",
    "-c", "max_connections=40", "-c", "log_min_messages=fatal",
    table.unpack(self.settings))
  local command = { "sh", "-c", ('exec "$@" >>%s 2>&1 </dev/null'):format(
    quoted(self.dir .. "/log")), "sh" }
  table.move(list, 1, #list, #command + 1, command)
  self.child = assert(core.process(command))
  eventually("PostgreSQL in " .. self.dir, function() return answers(self) end, 60)
end

---Ends it at once, as a crash does.
function server:kill()
  self.child:kill(3) -- SIGQUIT
  self.child:wait()
  self.child = nil
end

---Ends it and removes what it has.
function server:stop()
  if self.child then self:kill() end
  run("rm", "-rf", self.dir)
end

---@param settings string[]|nil further words for the server
---@return table server with dsn, socket_dsn, port, dir
function M.start(settings)
  local dir = output "mktemp -d /tmp/lunats-pg-XXXXXX"
  local self = setmetatable({ dir = dir, port = core.free_port(), settings = settings or {} },
    server)
  if user then run("chown", user, dir) end
  run(table.unpack(words(bin .. "/initdb", "--no-sync", "--no-locale", "-E", "UTF8", "-A",
    "trust", "-U", "lunats", "-D", dir .. "/data")))
  self.dsn = ("postgresql://lunats@127.0.0.1:%d/postgres"):format(self.port)
  self.socket_dsn = ("host=%s port=%d user=lunats dbname=postgres"):format(dir, self.port)
  self:start()
  return self
end

return M
