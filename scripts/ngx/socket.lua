---ngx.socket.tcp: cosockets on app.tcp, for drivers that were written for them. Times are
---milliseconds, errors are strings, and a call that fails gives what has come so far.
local connect = app.tcp.connect

local M = {
  ---PEM file of the authorities that sslhandshake() trusts; default: those of the system. As
  ---the directive lua_ssl_trusted_certificate.
  trusted_certificate = nil,
}

local TIMEOUT = 60 -- seconds, for each of them

---@class ngx_socket
---@field socket socket|nil  as long as it is connected
---@field times { connect: number, send: number, read: number }
local socket = {}
socket.__index = socket

---The words that drivers compare with.
local function word(err)
  if err.code == "timeout" or err.code == "closed" then return err.code end
  return err.detail or err.message
end

local function seconds(ms, default)
  if not ms then return default end
  if type(ms) ~= "number" then error("bad timeout argument", 3) end
  return ms > 0 and ms / 1000 or TIMEOUT
end

function M.tcp()
  return setmetatable({ times = { connect = TIMEOUT, send = TIMEOUT, read = TIMEOUT } }, socket)
end

---@return ngx_socket|nil socket
---@return string|nil err
function M.connect(...)
  local self = M.tcp()
  local ok, err = self:connect(...)
  if not ok then return nil, err end
  return self
end

function socket:settimeout(ms)
  local time = seconds(ms, TIMEOUT)
  self.times = { connect = time, send = time, read = time }
end

function socket:settimeouts(connect_ms, send_ms, read_ms)
  local times = self.times
  times.connect = seconds(connect_ms, times.connect)
  times.send = seconds(send_ms, times.send)
  times.read = seconds(read_ms, times.read)
end

---@param host string  or "unix:PATH", without a port
function socket:connect(host, port, opts)
  if type(port) == "table" then port, opts = nil, port end
  if self.socket then self.socket:close() end
  local own = { timeout = self.times.connect, pool = opts and opts.pool }
  local s, err
  if tostring(host):find "^unix:" then
    s, err = connect(host, own)
  else
    s, err = connect(host, math.tointeger(tonumber(port)), own)
  end
  self.pool_size = opts and opts.pool_size
  self.socket = s
  if not s then return nil, word(err) end
  return 1
end

---Checks the certificate unless `verify` is false; cosockets do so only if it is true.
function socket:sslhandshake(_, server_name, verify)
  local s = self.socket
  if not s then return nil, "closed" end
  s:settimeout(self.times.connect)
  local ok, err = s:starttls { server_name = server_name, verify = verify ~= false,
    ca = verify ~= false and M.trusted_certificate or nil }
  if ok then return true end
  self:close()
  return nil, word(err)
end

---The text of a number, string or list of these, which may be nested.
local function flat(data, parts)
  if type(data) == "table" then
    for _, part in ipairs(data) do flat(part, parts) end
  elseif type(data) == "string" or type(data) == "number" then
    parts[#parts + 1] = data
  else
    if #parts == 0 then error(("bad data type %s to send"):format(type(data)), 0) end
    parts[#parts + 1] = tostring(data)
  end
  return parts
end

---@param data string|number|table
---@return integer|nil bytes
---@return string|nil err
function socket:send(data)
  local s = self.socket
  if type(data) ~= "string" then data = table.concat(flat(data, {})) end
  if not s then return nil, "closed" end
  s:settimeout(self.times.send)
  local ok, err = s:write(data)
  if ok then return #data end
  if err.code ~= "timeout" then self:close() end
  return nil, word(err)
end

---A call that has failed, with what has come until then; it is taken.
local function failed(self, err)
  local s = self.socket
  local partial = s and s:buffered() > 0 and s:read("some", s:buffered()) or ""
  if err.code ~= "timeout" then self:close() end
  return nil, word(err), partial
end

---@param what string|integer|nil  "*l" (default), "*a", or a number of bytes
---@return string|nil data
---@return string|nil err
---@return string|nil partial
function socket:receive(what)
  local s = self.socket
  if not s then return nil, "closed" end
  s:settimeout(self.times.read)
  if what == "*a" or what == "a" then return self:receive_all(s) end
  local count = what ~= nil and tonumber(what)
  if not count and what ~= nil and what ~= "*l" and what ~= "l" then
    error(("bad pattern argument: %s"):format(tostring(what)), 2)
  end
  local data, err = s:read(count and math.tointeger(count) or count or "line")
  if data then return data end
  return failed(self, err)
end

function socket:receive_all(s)
  local parts = {}
  while true do
    local data, err = s:read "some"
    if not data then
      if err.code ~= "timeout" then self:close() end
      local all = table.concat(parts)
      if err.code == "closed" then return all end
      return nil, word(err), all
    end
    parts[#parts + 1] = data
  end
end

---@param most integer
function socket:receiveany(most)
  local s = self.socket
  if not s then return nil, "closed" end
  s:settimeout(self.times.read)
  local data, err = s:read("some", most)
  if data then return data end
  return failed(self, err)
end

---@param delimiter string
---@param opts { inclusive: boolean|nil }|nil
---@return fun(): string|nil, string|nil, string|nil
function socket:receiveuntil(delimiter, opts)
  local tail = opts and opts.inclusive and delimiter or ""
  return function(size)
    if size then error("receiveuntil: pieces of a size are not available in lunats", 2) end
    local s = self.socket
    if not s then return nil, "closed" end
    s:settimeout(self.times.read)
    local data, err = s:read("until", delimiter)
    if data then return data .. tail end
    return failed(self, err)
  end
end

---@param idle_ms integer|nil  0: for ever
---@param size integer|nil
function socket:setkeepalive(idle_ms, size)
  local s = self.socket
  if not s then return nil, "closed" end
  self.socket = nil
  local ok, err = s:keep(idle_ms == 0 and math.huge or seconds(idle_ms, TIMEOUT),
    size or self.pool_size)
  if ok then return 1 end
  return nil, err.code == "busy" and "unread data in buffer" or word(err)
end

---@return integer|nil times
function socket:getreusedtimes()
  if not self.socket then return nil, "closed" end
  return self.socket:reused()
end

local ALWAYS = { ["tcp-nodelay"] = true, keepalive = true }

---What can be asked for is what every socket has.
function socket.setoption(_, name, value)
  if ALWAYS[name] and value then return 1 end
  return nil, "unsupported option " .. tostring(name)
end

function socket:close()
  local s = self.socket
  self.socket = nil
  if not s then return nil, "closed" end
  s:close()
  return 1
end

return M
