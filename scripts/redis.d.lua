---@meta lunats.redis
---What `require "lunats.redis"` returns: Redis over app.tcp.

---@class redis_opts
---@field url string|nil redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE], rediss:// with TLS, or unix:PATH; default redis://127.0.0.1
---@field max integer|nil connections in use at once; default 16; who comes then waits
---@field timeout number|nil seconds for each command; default 10
---@field connect_timeout number|nil seconds for a connection; default: as `timeout`
---@field idle number|nil seconds after which a connection that nobody uses is closed; default 60
---@field tls boolean|tls_opts|nil as of app.tcp.connect

---@class redis_module
---@field null any a value that is not there, in lists
local redis_module = {}

---Connects when the first command needs it.
---@param opts redis_opts|nil
---@return redis
function redis_module.pool(opts) end

---A pool of connections. Every command of Redis is a method: redis:get(key), redis:hset(key,
---{ name = value }), ... Arguments are strings, numbers, lists of them, and tables whose keys and
---values are sent. Strings, integers and lists come back; nil for what is not there, which is
---redis.null in lists.
---@class redis
local redis = {}

---A command by its name, in one word; what belongs to it are arguments: ("CONFIG", "GET", "save").
---@param name string
---@param ... string|number|table
---@return any reply
---@return err|nil err `redis` with what the server says, and its first word in `kind`; or those of sockets
function redis:command(name, ...) end

---Calls fn with an object that keeps commands, sends them all, and reads the replies.
---@param fn fun(p: redis_batch)
---@return any[]|nil replies an error of the server stands in the place of the reply
---@return err|nil err
function redis:pipeline(fn) end

---The same in MULTI and EXEC: all of them are done, or none.
---@param fn fun(p: redis_batch)
---@return any[]|nil replies nil without err: what the session watches has changed
---@return err|nil err
function redis:transaction(fn) end

---Calls fn with a pool of one connection, for commands that are about one: WATCH, SELECT, ...
---One fiber at a time may ask in it; a second one raises. After a command without reply it is `closed`.
---@param fn fun(session: redis): any
---@return any ... the results of fn
function redis:session(fn) end

---The same pool with another timeout, for commands that wait in the server: BLPOP, XREAD, ...
---@param seconds number
---@return redis
function redis:within(seconds) end

---Calls fn for each message, one after the other. Returns when the server has confirmed it. A lost
---connection is made again; what is published meanwhile is lost.
---@param names string|string[]
---@param fn fun(message: string, channel: string)
---@return redis_subscription|nil subscription
---@return err|nil err
function redis:subscribe(names, fn) end

---The same for patterns.
---@param patterns string|string[]
---@param fn fun(message: string, channel: string, pattern: string)
---@return redis_subscription|nil subscription
---@return err|nil err
function redis:psubscribe(patterns, fn) end

---Keeps commands, which are its methods, in the place of sending them.
---@class redis_batch
local redis_batch = {}

---@param name string
---@param ... string|number|table
---@return redis_batch
function redis_batch:command(name, ...) end

---@class redis_subscription
local redis_subscription = {}

---No further call, except one that runs now.
function redis_subscription:stop() end

return redis_module
