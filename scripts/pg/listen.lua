---db:listen: what other clients of the database NOTIFY, over one connection for all channels of
---a pool, which comes back by itself.
local check = require "lunats.check"
local core = require "lunats.core"
local periodic = require "lunats.periodic"
local server = require "lunats.pg.server"

local LOOK = 30 -- seconds of silence, after which the connection has to show that it works
local PATIENCE = 10
local QUEUE = 1000
local RETRY, RETRY_MOST = 0.1, 30

---@class pg_listener
---@field channel string
local listener = {}

local M = { methods = listener }

-- ---- what was notified -----------------------------------------------------------

local function call(self, fn, ...)
  local ok, caught = core.protect(fn, ...)
  if ok then return end
  if core.cancelled() then error(caught, 0) end
  local trace, err = core.caught(caught)
  core.report(("%s: %s"):format(self.label, trace),
    { kind = "pg listener", subject = self.channel }, err)
end

---One after the other, as long as there are some.
local function work(self)
  core.label(self.label)
  local _ <close> = setmetatable({}, { __close = function() self.working = false end })
  while self.first <= self.last and not self.stopped do
    local note = self.queue[self.first]
    self.queue[self.first] = nil
    self.first = self.first + 1
    self.room:open()
    call(self, note.fn, note.value)
  end
end

---Who is slow is waited for, and the server keeps the rest.
local function add(self, fn, value)
  while self.last - self.first >= QUEUE and not self.stopped do self.room:wait() end
  self.last = self.last + 1
  self.queue[self.last] = { fn = fn, value = value }
  if not self.working then
    self.working = true
    core.handler(work, self)
  end
end

-- ---- the connection ----------------------------------------------------------------

local function quoted(name) return '"' .. name:gsub('"', '""') .. '"' end

---The listeners of each channel.
local function wanted(hub)
  local channels = {}
  for _, one in ipairs(hub.listeners) do
    channels[one.channel] = channels[one.channel] or {}
    table.insert(channels[one.channel], one)
  end
  return channels
end

---Tells the server what has changed of what we want; a listener hears when it has begun.
local function subscribe(hub, conn)
  local channels = wanted(hub)
  for channel in pairs(hub.heard) do
    if not channels[channel] then
      assert(conn:query(PATIENCE, nil, "unlisten " .. quoted(channel)))
      hub.heard[channel] = nil
    end
  end
  for channel, list in pairs(channels) do
    if not hub.heard[channel] then
      assert(conn:query(PATIENCE, nil, "listen " .. quoted(channel)))
      hub.heard[channel] = true
    end
    for _, one in ipairs(list) do
      if one.heard_by ~= conn then
        one.heard_by = conn
        if one.on_listen then add(one, one.on_listen) end
      end
    end
  end
end

local function deliver(hub, note)
  for _, one in ipairs(hub.listeners) do
    if one.channel == note.channel then add(one, one.fn, note) end
  end
end

---Until the connection is lost, which raises; or until nobody listens.
local function serve(hub, conn)
  hub.heard, hub.conn, hub.changed = {}, conn, true
  while #hub.listeners > 0 do
    if hub.changed then
      hub.changed = false
      subscribe(hub, conn)
    end
    local note, err = conn:notification(hub.changed and 0 or LOOK)
    if note then
      deliver(hub, note)
    elseif err and err.code == "timeout" and not hub.changed then
      assert(conn:query(PATIENCE, nil, "select 1"))
    elseif err and err.code ~= "timeout" then
      error(err, 0)
    end
  end
end

local function run(hub)
  local delay, down = RETRY, false
  local place = hub.pool.place
  while #hub.listeners > 0 do
    local conn, err = server.connect(place, hub.pool.connect_timeout)
    if conn then
      if down then core.log(1, ("PostgreSQL %s: listening again"):format(place.shown)) end
      delay, down = RETRY, false
      local _ <close> = setmetatable({}, { __close = function()
        hub.conn = nil
        conn:close()
      end })
      local ok, why = pcall(serve, hub, conn)
      if core.cancelled() or not ok and type(why) ~= "table" then error(why, 0) end
      err = not ok and why or nil
    end
    if err then
      if not down then
        core.log(2, ("PostgreSQL %s: not listening: %s"):format(place.shown, tostring(err)))
      end
      down = true
      core.sleep(delay * (0.5 + math.random() / 2))
      delay = math.min(delay * 2, RETRY_MOST)
    end
  end
end

---A task while anybody listens: it begins when the service runs, and a stop ends it.
local function start(hub)
  if hub.running then return end
  hub.running = true
  periodic.task({ name = "PostgreSQL " .. hub.pool.place.shown, restart = "on_error" },
    function()
      run(hub)
      hub.running = false
    end)
end

local function changed(hub)
  hub.changed = true
  if hub.conn then hub.conn:ring() end
end

-- ---- listeners -----------------------------------------------------------------

---What waits is forgotten; a call that runs goes on to its end.
function listener:stop()
  if self.stopped then return end
  self.stopped = true
  self.room:open()
  for i, one in ipairs(self.hub.listeners) do
    if one == self then table.remove(self.hub.listeners, i) break end
  end
  changed(self.hub)
end

check.class("listening", listener)

---@param channel string
---@param opts table|nil
---@param fn function
---@return pg_listener
function M.start(pool, channel, opts, fn)
  check.string("db:listen", "the channel", channel)
  check.fn("db:listen", fn)
  opts = core.check("db:listen", opts, { on_listen = "function" })
  if channel == "" or #channel > 63 or channel:find "%z" then
    core.blame "db:listen: the channel must be a name of 1 to 63 bytes"
  end
  if pool.closed then core.blame "db:listen: the pool is closed" end
  local hub = pool.hub or { pool = pool, listeners = {} }
  pool.hub = hub
  local self = setmetatable({ channel = channel, fn = fn, on_listen = opts.on_listen, hub = hub,
    label = "PostgreSQL channel " .. channel, queue = {}, first = 1, last = 0,
    room = core.gate() }, listener)
  hub.listeners[#hub.listeners + 1] = self
  changed(hub)
  start(hub)
  return self
end

---With the pool.
function M.close(pool)
  for _, one in ipairs { table.unpack(pool.hub and pool.hub.listeners or {}) } do one:stop() end
end

return M
