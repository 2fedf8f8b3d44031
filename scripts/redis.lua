---lunats.redis: Redis over app.tcp. `require("lunats.redis").pool { url = }`.
local core = require "lunats.core"
local check = require "lunats.check"
local protocol = require "lunats.redis.protocol"
local url = require "lunats.redis.url"

local tcp = app.tcp
local null, encode, read = protocol.null, protocol.encode, protocol.read

local M = { null = null }

---What changes a connection for all that comes after it on it.
local OF_A_SESSION = {
  WATCH = true, UNWATCH = true, MULTI = true, EXEC = true, DISCARD = true, SELECT = true,
  AUTH = true, HELLO = true, RESET = true, READONLY = true, READWRITE = true, ASKING = true,
  QUIT = true,
}
---What makes the server send replies that nobody has asked for, or none.
local NEVER = { SUBSCRIBE = "subscribe", PSUBSCRIBE = "psubscribe", SSUBSCRIBE = false,
  UNSUBSCRIBE = false, PUNSUBSCRIBE = false, SUNSUBSCRIBE = false, MONITOR = false,
  SYNC = false, PSYNC = false }

---@class redis
---@field target redis_target
---@field opts redis_opts
---@field timeout number
---@field shared { used: integer, gate: table }  of a pool and what within() has made of it
---@field held redis_lease|false  of a session; a field that is nil would be a command
local redis = {}

-- ---- connections ---------------------------------------------------------------

---Says who we are, and which database is meant, on a new connection.
local function greet(socket, target)
  local commands, count = {}, 0
  if target.password then
    count = count + 1
    commands[count] = target.user and encode("AUTH", target.user, target.password)
      or encode("AUTH", target.password)
  end
  if target.database and target.database ~= 0 then
    count = count + 1
    commands[count] = encode("SELECT", target.database)
  end
  if count == 0 then return true end
  local ok, err = socket:write(table.concat(commands))
  for _ = 1, ok and count or 0 do
    local reply
    reply, err = read(socket)
    if reply == nil then ok = nil break end
  end
  return ok, err
end

---@param target redis_target
---@param opts redis_opts
---@return socket|nil socket, table|nil err
local function connect(target, opts)
  local own = { timeout = opts.connect_timeout, tls = opts.tls, pool = target.pool }
  local socket, err
  if target.port then
    socket, err = tcp.connect(target.host, target.port, own)
  else
    socket, err = tcp.connect(target.host, own)
  end
  if not socket then return nil, err end
  if socket:reused() == 0 then
    local ok
    ok, err = greet(socket, target)
    if not ok then
      socket:close()
      return nil, err
    end
  end
  return socket
end

---Of a pool so many connections are in use at once; who comes then waits for one.
local waiting = { __close = function(self)
  if not self.taken then self.gate:open(1) end -- the next one, in its place
end }

---The right to use a connection, and that connection: it goes back to the pool if release() is
---called, and is closed if not.
---@class redis_lease
---@field socket socket|nil
---@field spoilt boolean  of no further use
---@field busy boolean|nil  a fiber waits for replies
---@field changed boolean  not as the next one expects it
local lease = {}
lease.__index = lease

function lease:__close()
  if self.socket then self.socket:close() end
  self.shared.used = self.shared.used - 1
  self.shared.gate:open(1)
end

function lease:release()
  if not self.spoilt and not self.changed then
    self.socket:keep(self.opts.idle, self.opts.max)
  end
  self.spoilt = true
end

---@return redis_lease|nil
local function take_turn(self)
  local shared = self.shared
  local turn <close> = setmetatable({ gate = shared.gate, taken = false }, waiting)
  local due = core.clock() + self.timeout
  while shared.used >= self.opts.max do
    local left = due - core.clock()
    if left <= 0 or not shared.gate:wait(left) then return nil end
  end
  turn.taken = true
  shared.used = shared.used + 1
  return setmetatable({ shared = shared, opts = self.opts, spoilt = false, changed = false },
    lease)
end

---Gives what take_turn() has returned its connection.
---@return redis_lease|nil lease, table|nil err
local function attach(self, held)
  if not held then
    return nil, core.error("timeout", ("redis: all %d connections of the pool are in use")
      :format(self.opts.max))
  end
  local err
  held.socket, err = connect(self.target, self.opts)
  if not held.socket then return nil, err end
  return held
end

-- ---- commands ------------------------------------------------------------------

---Sends commands and reads so many replies; errors of the server are in the list. Who is cut
---off meanwhile leaves replies behind, which the next one must not take for its own.
local function exchange(self, held, bytes, count)
  local socket, replies = held.socket, {}
  held.spoilt = true
  socket:settimeout(self.timeout)
  local ok, err = socket:write(bytes)
  for i = 1, ok and count or 0 do
    local reply, refused, is_refusal
    reply, refused, is_refusal = read(socket, self.timeout)
    if reply == nil and not is_refusal then
      ok, err = nil, refused
      break
    end
    replies[i] = reply == nil and refused or reply
  end
  if not ok then return nil, err end
  held.spoilt = false
  return replies
end

---While a fiber waits for the replies to what it has asked in a session.
local asking = { __close = function(self) self.held.busy = false end }

local function ask_in_session(self, held, bytes, count)
  if held.busy then
    core.blame "redis: another fiber waits for a reply in this session; it needs one of its own"
  end
  if held.spoilt then
    return nil, core.error("closed", "redis: the connection of the session is closed, as it is "
      .. "over or a command on it has had no reply; begin another one with redis:session(fn)")
  end
  held.busy = true
  local _ <close> = setmetatable({ held = held }, asking)
  return exchange(self, held, bytes, count)
end

local errors = getmetatable(core.error("redis", ""))

local function is_error(value)
  return type(value) == "table" and getmetatable(value) == errors
end

---The one reply there is, as functions return it.
local function single(replies, err)
  if not replies then return nil, err end
  local reply = replies[1]
  if is_error(reply) then return nil, reply end
  if reply == null then return nil end
  return reply
end

---Sends commands over a connection of the pool, or over that of the session.
local function run(self, bytes, count)
  if self.held then return ask_in_session(self, self.held, bytes, count) end
  local held <close> = take_turn(self)
  local ok, err = attach(self, held)
  if not ok then return nil, err end
  local replies
  replies, err = exchange(self, held, bytes, count)
  held:release()
  return replies, err
end

local function check_command(self, name)
  if type(name) ~= "string" or not name:find "^%a[%w_.-]*$" then
    core.blame "redis:command: the name of a command expected, one word: \"GET\""
  end
  name = name:upper()
  if NEVER[name] then
    core.blame(("redis: %s is redis:%s(names, fn)"):format(name, NEVER[name]))
  elseif NEVER[name] == false then
    core.blame(("redis: %s is not available"):format(name))
  elseif OF_A_SESSION[name] and not self.held then
    core.blame(("redis: %s is about one connection; call it in redis:session(fn)"):format(name))
  end
  if self.held and OF_A_SESSION[name] then self.held.changed = true end
  return name
end

---@param name string  one word; what belongs to it are arguments
---@return any reply
---@return table|nil err
function redis:command(name, ...)
  name = check_command(self, name)
  return single(run(self, encode(name, ...), 1))
end

-- ---- several at once -----------------------------------------------------------

---Keeps commands in the place of sending them.
---@class redis_batch
local batch = {}

local function new_batch(owner) return setmetatable({ owner = owner }, batch) end

function batch:command(name, ...)
  self[#self + 1] = encode(check_command(self.owner, name), ...)
  return self
end

local function method(class)
  return function(_, name)
    if type(name) ~= "string" then return nil end
    local function fn(self, ...) return class.command(self, name, ...) end
    class[name] = fn
    return fn
  end
end

batch.__index = setmetatable(batch, { __index = method(batch) })

---Sends all commands that fn gives the batch, then reads the replies.
---@param fn fun(batch: redis_batch)
---@return any[]|nil replies  an error of the server stands in the place of the reply
---@return table|nil err
function redis:pipeline(fn)
  check.fn("redis:pipeline", fn)
  local commands = new_batch(self)
  fn(commands)
  if #commands == 0 then return {} end
  return run(self, table.concat(commands), #commands)
end

---The same in MULTI and EXEC: all of them, or none.
---@param fn fun(batch: redis_batch)
---@return any[]|nil replies  nil without err: what the session watches has changed
---@return table|nil err
function redis:transaction(fn)
  check.fn("redis:transaction", fn)
  local commands = new_batch(self)
  fn(commands)
  if #commands == 0 then return {} end
  local replies, err = run(self,
    encode "MULTI" .. table.concat(commands) .. encode "EXEC", #commands + 2)
  if not replies then return nil, err end
  local last = replies[#replies]
  if last == null then return nil end
  if not is_error(last) then return last end
  for _, reply in ipairs(replies) do -- the reason, rather than "discarded because of errors"
    if is_error(reply) then return nil, reply end
  end
end

-- ---- others --------------------------------------------------------------------

---A view with another timeout for each command, for those that wait in the server.
---@param seconds number
function redis:within(seconds)
  check.timeout("redis:within", "the timeout", seconds or 0 / 0)
  return setmetatable({ target = self.target, opts = self.opts, shared = self.shared,
    held = self.held, timeout = seconds }, redis)
end

---Calls fn with a redis that has one connection for all its commands.
---@return any ...  the results of fn
function redis:session(fn)
  check.fn("redis:session", fn)
  if self.held then return fn(self) end
  local held <close> = take_turn(self)
  local ok, err = attach(self, held)
  if not ok then return nil, err end
  local results = table.pack(fn(setmetatable({ target = self.target, opts = self.opts,
    shared = self.shared, timeout = self.timeout, held = held }, redis)))
  held:release() -- whoever keeps the session has nothing any more
  return table.unpack(results, 1, results.n)
end

---@param names string|string[]
---@param fn fun(message: string, channel: string)
---@return redis_subscription|nil subscription, table|nil err
function redis:subscribe(names, fn)
  return require("lunats.redis.subscription").open(self, connect, "SUBSCRIBE", names, fn)
end

---@param patterns string|string[]
---@param fn fun(message: string, channel: string, pattern: string)
---@return redis_subscription|nil subscription, table|nil err
function redis:psubscribe(patterns, fn)
  return require("lunats.redis.subscription").open(self, connect, "PSUBSCRIBE", patterns, fn)
end

check.class("redis", redis)
redis.__index = setmetatable(redis, { __index = method(redis) })

-- ---- opening -------------------------------------------------------------------

local OPTIONS = { url = "string", max = "number", timeout = "number",
  connect_timeout = "number", idle = "number", tls = "boolean|table" }

---@param opts redis_opts
---@return redis
function M.pool(opts)
  core.check("redis.pool", opts, OPTIONS)
  opts = opts or {}
  check.whole("redis.pool", "max", opts.max, 1)
  for _, name in ipairs { "timeout", "connect_timeout", "idle" } do
    check.timeout("redis.pool", name, opts[name])
  end
  local target = url.parse(opts.url or "redis://127.0.0.1")
  -- Connections to the same server are not the same for another user or database.
  target.pool = ("redis %s %s %d"):format(target.user or "",
    target.password and core.base64(core.sha256(target.password)) or "", target.database or 0)
  local timeout = opts.timeout or 10
  return setmetatable({ target = target, timeout = timeout,
    opts = { max = opts.max or 16, idle = opts.idle or 60, tls = opts.tls or target.tls,
      connect_timeout = opts.connect_timeout or timeout },
    shared = { used = 0, gate = core.gate() }, held = false }, redis)
end

return M
