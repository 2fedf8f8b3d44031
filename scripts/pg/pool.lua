---Connections to a database that fibers share: a query, or a transaction, has one for itself.
local check = require "lunats.check"
local core = require "lunats.core"
local json = require "lunats.json"
local listen = require "lunats.pg.listen"
local pipeline = require "lunats.pg.pipeline"
local server = require "lunats.pg.server"
local transaction = require "lunats.pg.transaction"

local native = core.native "pg"

---@class pg_pool
local pool = {}

local OPTIONS = {
  dsn = "string", max = "number", idle = "number", wait = "number", timeout = "number",
  connect_timeout = "number", numeric = "string", timestamps = "string", null = true,
  prepare = "boolean",
}

---Bits that the module knows.
local NUMBERS, SECONDS, NULL, REST, NOTHING = 1, 2, 4, 8, 16
local RETRY, RETRY_MOST = 0.1, 2

---Whose a connection is.
local owner = setmetatable({}, { __mode = "k" })

-- ---- giving back ---------------------------------------------------------------

---Those that wait for a connection, the first one first; who has gone is false.
local function next_waiter(self)
  while self.first <= self.last do
    local waiter = self.waiters[self.first]
    self.waiters[self.first] = nil
    self.first = self.first + 1
    if waiter then return waiter end
  end
  self.seats:queue(false)
end

local function count_waiters(self)
  local count = 0
  for i = self.first, self.last do
    if self.waiters[i] then count = count + 1 end
  end
  return count
end

---A connection that rests: for who waits longest, or for later.
local function give(self, conn)
  local waiter = next_waiter(self)
  if waiter then
    waiter.conn = conn
    waiter.gate:open()
  else
    self.seats:put(conn)
  end
end

---One less: who waits longest sees to another one. It does not need this fiber, which may be at
---its end.
local function lose(self)
  self.size = self.size - 1
  local waiter = next_waiter(self)
  if waiter then
    waiter.again = true
    waiter.gate:open()
  end
end

---At the end of `local _ <close> = conn`, however it comes, unless it can rest and nobody
---waits: what is not at rest is closed, by which the server ends the transaction.
local function release(conn)
  local self = owner[conn]
  if self.closed then conn:close() end
  if conn:rest(self.idle_time) then give(self, conn) else lose(self) end
end
native.on_close(release)

-- ---- opening -------------------------------------------------------------------

---Told once for each outage, and when it is over.
local function tell(self, err)
  if err and not self.down then
    core.log(2, ("PostgreSQL %s cannot be reached: %s"):format(self.place.shown, err.message))
  elseif not err and self.down then
    core.log(1, ("PostgreSQL %s is there again"):format(self.place.shown))
  end
  self.down = err
end

local function fail_waiters(self, err)
  for waiter in function() return next_waiter(self) end do
    waiter.err = err
    waiter.gate:open()
  end
end

---The fiber that opens one has ended, maybe without having opened it.
local opening = { __close = function(self)
  self.pool.opening = self.pool.opening - 1
  if self.retrying then self.pool.retrying = false end
  if not self.done then lose(self.pool) end
end }

---Whether to try again; while there is an outage one fiber does, for all that wait.
local function pause(self, state, err)
  tell(self, err)
  if err.final then fail_waiters(self, err) end
  if self.closed or self.retrying and not state.retrying then return false end
  self.retrying, state.retrying = true, true
  core.sleep(self.retry * (0.5 + math.random() / 2))
  self.retry = math.min(self.retry * 2, RETRY_MOST)
  return count_waiters(self) > 0
end

local function open(self)
  core.label("connect to PostgreSQL " .. self.place.shown)
  local state <close> = setmetatable({ pool = self }, opening)
  repeat
    local conn, err = server.connect(self.place, self.connect_timeout)
    if conn then
      tell(self)
      self.retry = RETRY
      state.done = true
      owner[conn] = self
      self.seats:add(conn)
      if self.prepare then conn:prepare() end
      release(conn)
      return
    end
  until not pause(self, state, err)
end

---Connections are opened by fibers of their own: who waits may get another one earlier.
local function ensure(self)
  if self.size < self.max and self.opening < count_waiters(self) and not self.retrying then
    self.size, self.opening = self.size + 1, self.opening + 1
    local ok, err = pcall(core.spawn, open, self)
    if not ok then
      self.size, self.opening = self.size - 1, self.opening - 1
      error(err, 0)
    end
  end
end

-- ---- taking --------------------------------------------------------------------

---Who has waited has gone, maybe with a connection in the hand.
local waiting = { __close = function(self)
  local own = self.pool
  if own.waiters[self.place] == self then own.waiters[self.place] = false end
  if self.conn and not self.taken then release(self.conn) end
end }

local function enqueue(self)
  local at = self.last + 1
  local waiter = setmetatable({ pool = self, place = at, gate = core.gate() }, waiting)
  self.last, self.waiters[at] = at, waiter
  self.seats:queue(true)
  return waiter
end

local function too_late(self)
  if self.down then
    return core.error("disconnected", ("PostgreSQL %s cannot be reached: %s")
      :format(self.place.shown, self.down.message))
  end
  return core.error("timeout", ("no connection to PostgreSQL was free within %g s (max = %d)")
    :format(self.wait, self.max))
end

local function wait_for_one(self)
  local due = core.clock() + self.wait
  repeat
    local waiter <close> = enqueue(self)
    ensure(self)
    waiter.gate:wait(math.max(0, due - core.clock()))
    if waiter.conn then
      waiter.taken = true
      return waiter.conn
    end
    if waiter.err then return nil, waiter.err end
  until not waiter.again or self.closed
  return nil, too_late(self)
end

---A connection for the running fiber, which gives it back: `local _ <close> = conn`.
---@return table|nil conn, table|nil err
local function take(self)
  if self.closed then return core.fail(core.error("closed", "the pool is closed")) end
  local conn, ended = self.seats:take() -- the one used last: the others may end
  self.size = self.size - ended
  if conn then return conn end
  if not core.can_wait() then
    core.blame "a query cannot wait here; call it in app.on_start, a task, a timer or a handler"
  end
  return wait_for_one(self)
end

-- ---- queries -------------------------------------------------------------------

function pool:query(sql, ...)
  check.string("db:query", "the statement", sql)
  local conn, err = take(self)
  if not conn then return nil, err end
  local _ <close> = conn
  return conn:query(self.timeout, self.wants | REST, sql, ...)
end

---Several statements, with nothing but text in them.
function pool:execute(script, opts)
  check.string("db:execute", "the script", script)
  opts = core.check("db:execute", opts, { timeout = "number" })
  local conn, err = take(self)
  if not conn then return nil, err end
  local _ <close> = conn
  local ok, info = conn:query(self.timeout, NOTHING | REST, script, opts)
  if not ok then return nil, info end
  return true
end

---Several statements, all or none, on one way there and back.
function pool:pipeline(opts, fn)
  if fn == nil then opts, fn = nil, opts end
  local list, timeout = pipeline.collect("db:pipeline", self.timeout, opts, fn)
  local conn, err = take(self)
  if not conn then return nil, err end
  local _ <close> = conn
  return conn:pipeline(timeout, self.wants | REST, list)
end

function pool:transaction(opts, fn)
  if fn == nil then opts, fn = nil, opts end
  return transaction.run(take, self, opts, fn)
end

function pool:listen(channel, opts, fn)
  if fn == nil then opts, fn = nil, opts end
  return listen.start(self, channel, opts, fn)
end

-- ---- its life ------------------------------------------------------------------

---@return table
function pool:stats()
  local idle, ended = self.seats:count()
  return { size = self.size - ended - self.opening, idle = idle, waiting = count_waiters(self),
    max = self.max }
end

---Those in use end when they are given back.
function pool:close()
  self.closed = true
  self.size = self.size - self.seats:close()
  fail_waiters(self, core.error("closed", "the pool is closed"))
  listen.close(self)
end

function pool.__tostring(self) return "pool " .. self.place.shown end

check.class("db", pool)
pool.query = native.query(pool, pool.query) -- that above where no connection rests

local function one_of(name, value, ...)
  for _, known in ipairs { ... } do
    if value == nil or value == known then return value end
  end
  core.blame(('pg.pool: %s must be "%s" or "%s"'):format(name, ...))
end

local function wants_of(opts)
  local numeric = one_of("numeric", opts.numeric, "string", "number")
  local stamps = one_of("timestamps", opts.timestamps, "string", "seconds")
  if opts.null ~= nil and opts.null ~= json.null then
    core.blame "pg.pool: null can only be app.json.null"
  end
  return (numeric == "number" and NUMBERS or 0) | (stamps == "seconds" and SECONDS or 0)
    | (opts.null and NULL or 0)
end

---@param opts table|nil
---@return pg_pool
return function(opts)
  opts = core.check("pg.pool", opts, OPTIONS)
  check.whole("pg.pool", "max", opts.max, 1)
  for _, name in ipairs { "idle", "wait", "timeout", "connect_timeout" } do
    check.seconds("pg.pool", name, opts[name])
  end
  local wants, idle, timeout = wants_of(opts), opts.idle or 60, opts.timeout or 30
  local seats = native.seats(timeout, idle, wants | REST)
  return setmetatable({
    seats, -- where native.query() finds it
    place = server.read(opts.dsn or "", app.name), wants = wants, max = opts.max or 8,
    idle_time = idle, wait = opts.wait or 5, timeout = timeout,
    connect_timeout = opts.connect_timeout or 5, prepare = opts.prepare ~= false, retry = RETRY,
    seats = seats, size = 0, opening = 0, -- the latter are part of the former
    waiters = {}, first = 1, last = 0,
  }, pool)
end
