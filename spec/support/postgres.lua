---A PostgreSQL of its own: a new database in a folder of its own, on a free port.
local busted = require "busted"
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local own = require "spec.support.own"
local process = require "spec.support.process"

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

---The module; nil where there is no server that it could ask.
M.pg = bin and require "lunats.pg"

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

---Writes a file of its data folder, which nobody else may read.
function server:write(name, text)
  local path = ("%s/data/%s"):format(self.dir, name)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  run("chmod", "600", path)
  if user then run("chown", user, path) end
end

---Ends it and removes what it has.
function server:stop()
  if self.child then self:kill() end
  run("rm", "-rf", self.dir)
end

---@param settings string[]|nil further words for the server
---@param prepare fun(server: table)|nil called before it starts for the first time
---@return table server with dsn, socket_dsn, port, dir
function M.start(settings, prepare)
  local dir = output "mktemp -d /tmp/lunats-pg-XXXXXX"
  local self = setmetatable({ dir = dir, port = core.free_port(), settings = settings or {} },
    server)
  if user then run("chown", user, dir) end
  run(table.unpack(words(bin .. "/initdb", "--no-sync", "--no-locale", "-E", "UTF8", "-A",
    "trust", "-U", "lunats", "-D", dir .. "/data")))
  self.dsn = ("postgresql://lunats@127.0.0.1:%d/postgres"):format(self.port)
  self.socket_dsn = ("host=%s port=%d user=lunats dbname=postgres"):format(dir, self.port)
  if prepare then prepare(self) end
  self:start()
  return self
end

---Each test where this is called has a pool of its own at the PostgreSQL that all of them
---share; after it what it has kept and started is gone. Where there is none that is pending.
---@param set fun(server: table, db: table) called before each test
---@param start fun(): table|nil instead of M.start()
---@return boolean there whether there is one: tests may follow
function M.each(set, start)
  if M.missing then
    busted.describe("lunats.pg", function() busted.pending(M.missing) end)
    return false
  end
  local shared, db
  busted.setup(function()
    shared = (start or M.start)()
    set(shared)
  end)
  busted.teardown(function() shared:stop() end)
  busted.before_each(function()
    db = M.pg.pool { dsn = shared.dsn }
    set(shared, db)
  end)
  busted.after_each(function()
    own.close()
    process.close_all()
    db:close()
  end)
  return true
end

return M
