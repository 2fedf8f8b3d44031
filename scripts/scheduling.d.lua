---@meta scheduling
-- luacheck: globals app
---What runs once in the fleet: `app.leader` and `app.cron`. See docs/scheduling.md.

---What app.leader returns.
---@class leader
---@field name string
local leader = {}

---Gives the lease back, or stands for it no more. The function is cancelled.
function leader:stop() end

---The fencing token while this instance leads, else nil.
---@return integer|nil token
function leader:leads() end

---@class leader_opts
---@field ttl number|nil seconds for which others wait for a silent holder, 1 to 3600, default 15

---Runs fn in one instance of the service at a time, the one that holds the lease of that name. fn
---and what it has spawned are cancelled when it may not lead any more.
---@param name string letters, digits, `_`, `-`, `=`, `/` and single dots
---@param opts leader_opts
---@param fn fun(token: integer) the token grows with each new holder: what must not happen twice carries it
---@return leader handle
---@overload fun(name: string, fn: fun(token: integer)): leader
function app.leader(name, opts, fn) end

---@class cron.tick
---@field time integer when it was due, Unix time
---@field name string of the job
---@field attempt integer 1, 2, ...
---@field id string the same for all attempts

---What app.cron returns.
---@class cron_job
---@field name string
---@field runs integer that have ended well in this instance
---@field errors integer attempts that have failed here
---@field missed integer ticks that were left out here, as it was too late for them
local cron_job = {}

---No further run in this instance; one that is under way goes on to its end.
function cron_job:stop() end

---When it is due next.
---@return integer|nil time Unix time
function cron_job:next() end

---@class cron_opts
---@field zone string|nil of tzdata: "Europe/Berlin"; default UTC
---@field name string|nil letters, digits, `_` and `-`; default: made of the expression
---@field catch_up number|nil seconds within which a missed tick still runs, default 0
---@field max_deliver integer|nil attempts, default 5
---@field backoff number[]|nil seconds after the first, second, ... failed attempt
---@field dead_letter string|nil subject for ticks that are given up

---Calls fn when the expression is due, each time in one of all instances. An error, or nil, err,
---is a failed attempt, after which the tick comes again.
---@param expression string five fields, six with the second first, or "@daily" and the like
---@param opts cron_opts
---@param fn fun(tick: cron.tick): any, any
---@return cron_job handle
---@overload fun(expression: string, fn: fun(tick: cron.tick): any, any): cron_job
function app.cron(expression, opts, fn) end
