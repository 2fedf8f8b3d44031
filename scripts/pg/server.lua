---Where a database is, and how to get there: what the dsn says, names resolved, one server
---after the other.
local core = require "lunats.core"

local native = core.native "pg"

local M = {}

---What libpq would do differently, or would take from elsewhere: set unless the dsn says it.
local DEFAULTS = {
  client_encoding = "UTF8", -- as Lua's strings are here
  gssencmode = "disable", -- asking for tickets may block
  keepalives_idle = "30", keepalives_interval = "10", keepalives_count = "3",
}

local function fail(text) core.blame("pg.pool: " .. text) end

local function split(text)
  local list = {}
  for part in ((text or "") .. ","):gmatch "([^,]*)," do list[#list + 1] = part end
  return list
end

---The hosts with their ports; those of the environment where the dsn names none, as in libpq.
local function servers_of(settings)
  local hosts = settings.host or not settings.hostaddr and os.getenv "PGHOST" or nil
  local addresses = settings.hostaddr or not settings.host and os.getenv "PGHOSTADDR" or nil
  local ports = split(settings.port or os.getenv "PGPORT")
  local hosts_list, addresses_list = split(hosts), split(addresses)
  local servers = {}
  for i = 1, math.max(#hosts_list, #addresses_list) do
    servers[i] = { host = hosts_list[i] ~= "" and hosts_list[i] or nil,
      address = addresses_list[i] ~= "" and addresses_list[i] or nil,
      port = ports[#ports == 1 and 1 or i] }
  end
  return servers
end

---@param dsn string
---@param name string what the server shows of us, unless the dsn says it
function M.read(dsn, name)
  local settings = native.parse(dsn)
  if not settings then
    fail "the dsn is neither postgresql://user:password@host:port/database nor key = value ..."
  end
  if settings.service or os.getenv "PGSERVICE" then
    fail "a service file is not read: name host, port and database in the dsn"
  end
  settings.fallback_application_name = settings.fallback_application_name or name
  for key, value in pairs(DEFAULTS) do settings[key] = settings[key] or value end
  local place = { settings = settings, servers = servers_of(settings) }
  local first = place.servers[1]
  place.shown = ("%s/%s"):format(first.host or first.address or "local",
    settings.dbname or os.getenv "PGDATABASE" or settings.user or "")
  settings.host, settings.hostaddr, settings.port = nil, nil, nil
  return place
end

-- ---- connecting ----------------------------------------------------------------

---What cannot get better by waiting: user, password, database, a setting.
local function is_final(state)
  local class = state and state:sub(1, 2)
  return class == "28" or class == "3D" or class == "22" or class == "42"
end

---What libpq says where TLS is not what the dsn wants it to be. A connection that breaks off in
---the handshake is none of these.
local NOT_TRUSTED = { "certificate verify failed", "does not match host name",
  "root certificate", "certificate file", "private key", "does not support SSL",
  "could not get server's host name" }

local function is_not_trusted(text)
  for _, part in ipairs(NOT_TRUSTED) do
    if text:find(part, 1, true) then return true end
  end
  return false
end

---The SQLSTATE that libpq only tells as a part of its text.
local function explain(err)
  local text = err.message
  local state = text:match "%u+:  (%w%w%w%w%w): "
    or text:find("no password supplied", 1, true) and "28P01" -- which libpq says by itself
  text = text:gsub("(%u+:  )%w%w%w%w%w: ", "%1"):gsub("\nLOCATION:[^\n]*", "")
  err.message = text:gsub("%s*\n%s*", "; "):gsub("[;%s]+$", "")
  err.sqlstate = state
  if is_final(state) then
    err.code = state
    err.final = true
  elseif not state and is_not_trusted(text) then
    err.code = "tls"
    err.final = true
  end
  return err
end

local function try(place, server, address, session, timeout)
  local settings = { host = server.host, hostaddr = address, port = server.port,
    target_session_attrs = session }
  for key, value in pairs(place.settings) do settings[key] = settings[key] or value end
  local conn, err = native.connect(settings, timeout)
  if conn then return conn end
  err = explain(err)
  if err.code == "timeout" then
    err.message = ("%s does not answer in time"):format(server.host or address or "PostgreSQL")
  end
  return nil, err
end

local function addresses_of(server, timeout)
  local host = server.host
  if server.address then return { server.address } end
  if not host or host:find "^[/@]" then return { false } end -- a socket of this machine
  local list, err = native.resolve(host, timeout)
  if list then return list end
  err.message = ("the name %s cannot be resolved: %s"):format(host, err.message)
  return nil, err
end

local function try_all(place, session, timeout)
  local last
  for _, server in ipairs(place.servers) do
    local addresses, err = addresses_of(server, timeout)
    last = err or last
    for _, address in ipairs(addresses or {}) do
      local conn
      conn, err = try(place, server, address or nil, session, timeout)
      if conn then return conn end
      last = err
    end
  end
  return nil, last
end

---Values are read as they are written with this style only.
local function set_up(conn, timeout)
  if (conn:parameter "DateStyle" or "ISO"):find "^ISO" then return conn end
  local ok, err = conn:query(timeout, 0, "set datestyle to iso")
  if ok then return conn end
  conn:close()
  return nil, err
end

---Waits.
---@param timeout number seconds for each address
---@return table|nil conn, table|nil err with `final` where it cannot get better
function M.connect(place, timeout)
  local session = place.settings.target_session_attrs
  local first = session == "prefer-standby" and "standby" or session
  local conn, err = try_all(place, first, timeout)
  if not conn and first ~= session then conn, err = try_all(place, "any", timeout) end
  if not conn then return nil, err end
  return set_up(conn, timeout)
end

return M
