---@meta lunats.pg
---PostgreSQL, by libpq: `local pg = require "lunats.pg"`.

---@class pg
local pg = {}

---@class pg_pool_opts
---@field dsn string|nil "postgresql://user@host:port/database" or "host=... dbname=..."; what it does not say comes from PGHOST, PGUSER and so on
---@field max integer|nil connections at most, default 8
---@field idle number|nil seconds after which a connection that nobody uses ends, default 60
---@field wait number|nil seconds to wait for a connection, default 5
---@field timeout number|nil seconds that a query may take, default 30
---@field connect_timeout number|nil seconds that an address may take to answer, default 5
---@field numeric "string"|"number"|nil what numeric becomes, default "string"
---@field timestamps "string"|"seconds"|nil what timestamp and timestamptz become, default "string"
---@field prepare boolean|nil false: the server keeps no statements that come again; default true
---@field null any app.json.null: what NULL becomes; default nil

---@class pg_query_opts
---@field timeout number|nil seconds that it may take; default: that of the pool

---@class pg_transaction_opts
---@field isolation "read committed"|"repeatable read"|"serializable"|nil default: that of the database
---@field read_only boolean|nil
---@field retries integer|nil how often it begins again after a conflict (40001, 40P01), default 0

---@class pg_listen_opts
---@field on_listen function|nil called when the server has begun to notify, after each connecting again

---@class pg_info
---@field command string "SELECT", "INSERT", ...
---@field affected integer|nil rows
---@field columns string[]|nil their names, in order

---@class pg_note
---@field channel string
---@field payload string "" if there is none
---@field pid integer of the session that has notified

---@class pg_stats
---@field size integer connections
---@field idle integer those that nobody uses
---@field waiting integer fibers that wait for one
---@field max integer

---An error of the database. Its `code` is the SQLSTATE, or `disconnected`, `tls`, `timeout`, `closed`.
---@class pg_err: err
---@field sqlstate string|nil
---@field detail string|nil
---@field hint string|nil
---@field context string|nil
---@field schema string|nil
---@field table string|nil
---@field column string|nil
---@field datatype string|nil
---@field constraint string|nil
---@field position integer|nil in the statement, in characters
---@field query integer|nil in a pipeline: which statement
---@field in_doubt true|nil a commit has no answer: it may have been done

---Connections to a database, opened when they are needed.
---@param opts pg_pool_opts|nil
---@return pg_pool
function pg.pool(opts) end

---A parameter that is json or jsonb.
---@param value any
function pg.json(value) end

---A parameter that is an array, with lists in it for dimensions; app.json.null is NULL in it.
---@param list table without holes, of numbers, strings, booleans, what pg.json() and so on return, and lists of these
function pg.array(list) end

---A parameter that is bytea.
---@param bytes string
function pg.bytea(bytes) end

---A parameter that is a timestamptz.
---@param seconds number Unix time, rounded to microseconds, from 4714 BC to 294276
function pg.timestamp(seconds) end

---@class pg_pool
local db = {}

---One statement; $1, $2 ... are the parameters. A plain table behind them is options.
---@param sql string
---@param ... any
---@return table[]|nil rows
---@return pg_info|pg_err info
function db:query(sql, ...) end

---Several statements without parameters, in one transaction.
---@param script string
---@param opts pg_query_opts|nil
---@return true|nil ok
---@return pg_err|nil err
function db:execute(script, opts) end

---Calls fn(p), then sends what it has given to p:query at once: all or none. Also pipeline(fn).
---@param opts pg_query_opts|nil
---@param fn fun(p: pg_pipeline)
---@return table[][]|nil results the rows of each statement
---@return pg_info[]|pg_err infos
function db:pipeline(opts, fn) end

---Commits when fn(tx) returns, and returns what it has returned; rolls back when it returns nil
---and an error, raises, or is cancelled. Also transaction(fn).
---@param opts pg_transaction_opts|nil
---@param fn fun(tx: pg_tx): ...
---@return any ...
function db:transaction(opts, fn) end

---fn is called for each notification, one after the other. Also listen(channel, fn).
---@param channel string
---@param opts pg_listen_opts|nil
---@param fn fun(note: pg_note)
---@return pg_listener
function db:listen(channel, opts, fn) end

---@return pg_stats
function db:stats() end

---Ends the connections; those in use when they are given back. A query is told `closed` then.
function db:close() end

---@class pg_tx
local tx = {}

---As db:query.
---@param sql string
---@param ... any
---@return table[]|nil rows
---@return pg_info|pg_err info
function tx:query(sql, ...) end

---As db:execute.
---@param script string
---@param opts pg_query_opts|nil
---@return true|nil ok
---@return pg_err|nil err
function tx:execute(script, opts) end

---As db:pipeline.
---@param opts pg_query_opts|nil
---@param fn fun(p: pg_pipeline)
---@return table[][]|nil results
---@return pg_info[]|pg_err infos
function tx:pipeline(opts, fn) end

---A part that may fail alone: a savepoint.
---@param fn fun(tx: pg_tx): ...
---@return any ...
function tx:transaction(fn) end

---@class pg_pipeline
local p = {}

---@param sql string
---@param ... any
---@return integer index of its result
function p:query(sql, ...) end

---@class pg_listener
---@field channel string
local listening = {}

---No further call; one that runs goes on to its end.
function listening:stop() end

return pg
