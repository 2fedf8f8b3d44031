---@meta tcp
---What app.tcp is, and what it connects: sockets for drivers written in Lua.

---Whom a connection over TLS trusts, and who we are.
---@class tls_opts
---@field ca string|nil PEM file of the authorities that are trusted; default: those of the system
---@field cert string|nil PEM file of our certificate, if the server wants to see one
---@field key string|nil PEM file of its key
---@field server_name string|nil whose certificate the server must have, and what it is told; default: the host
---@field verify boolean|nil false: whoever the server is; default true

---@class tcp_opts
---@field timeout number|nil seconds for the connection, and then for each call; default 10
---@field tls boolean|tls_opts|nil default: plain
---@field pool string|nil a name, for connections that may not be mixed with others to the same server

---@class app.tcp
local tcp = {}

---Connects to a host by name or address, or takes a connection that socket:keep() has put aside.
---All addresses of a name are tried. Waits; is not available with `--libs safe`.
---@param host string a name, an address, or "unix:PATH", where `port` is left out
---@param port integer
---@param opts tcp_opts|nil
---@return socket|nil socket
---@return err|nil err `timeout`, `refused`, `unreachable`, `unknown_host`, `tls`, `closed`
function tcp.connect(host, port, opts) end

---A connection. One fiber may read while another one writes. A call that fails takes nothing of
---what has come: it can be read again. Errors have the reason alone in `detail`. It can be a
---`<close>` variable.
---@class socket
local socket = {}

---Waits for so many bytes, for a line without its end ("\n" or "\r\n"), for what is there, one
---byte at least and `arg` (65,536) at most, or for what is in front of a delimiter, which is
---taken, too. A line or what is in front of a delimiter may have 1 MiB.
---@param what integer|"line"|"some"|"until"
---@param arg integer|string|nil
---@return string|nil bytes
---@return err|nil err `timeout`, `closed`, `too_large`, `tls`
function socket:read(what, arg) end

---Waits until the system has the bytes, or will have the last 64 KiB soon.
---@param bytes string
---@return true|nil ok
---@return err|nil err `timeout`, `closed`; `written` says how many bytes were accepted
function socket:write(bytes) end

---TLS from here on. Nothing may wait to be read or sent. A connection of the pool may have it:
---the options must be the same then.
---@param opts tls_opts|nil
---@return true|nil ok
---@return err|nil err `tls`, `timeout`, `closed`; the socket is closed then, unless bytes wait
function socket:starttls(opts) end

---Says that nothing will be written any more, behind what has been; reading goes on.
---@return true
function socket:shutdown() end

---What was written is sent. Calls of other fibers end with `closed`.
---@return true
function socket:close() end

---How long each call may take from now on.
---@param seconds number math.huge: for ever
function socket:settimeout(seconds) end

---@return integer bytes that have come and were not read
function socket:buffered() end

---@return integer times that the connection has come from the pool
function socket:reused() end

---Puts the connection aside for the next connect() to the same host, port, `tls` and `pool`. The
---socket is closed either way: a connection that is broken, or on which bytes wait, is of no use.
---@param idle number|nil seconds after which it is closed; 60
---@param pool_size integer|nil connections that are kept of this kind, 30; the oldest goes
---@return true|nil ok
---@return err|nil err `closed`, `busy`
function socket:keep(idle, pool_size) end

return socket
