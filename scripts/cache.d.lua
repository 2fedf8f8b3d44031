---@meta cache
---What app.cache() returns.

---Values outside of Lua's memory: strings, numbers and booleans by key. All services of the
---process share it, it survives reloads, and the collector never sees it. When it is full, what
---was not used for longest goes.
---@class cache
local cache = {}

---@class cache_opts
---@field max_bytes number|nil bytes that it may have, 1,024 or more; the largest that a service asks for counts; default 64e6
---@field ttl number|nil seconds for which what this script puts in is kept, unless told otherwise; default: for ever

---@class cache_set_opts
---@field ttl number|nil seconds for which it is kept; math.huge: for ever

---@class cache_incr_opts: cache_set_opts
---@field init number|nil where counting begins, 0

---@class cache_stats
---@field entries integer
---@field bytes integer of the entries, with 56 to 72 bytes that each needs besides its own
---@field max_bytes integer
---@field hits integer of get()
---@field misses integer of get()
---@field evictions integer entries that had to go for others
---@field expirations integer entries that were removed as they were too old

---@param key string|integer 65,535 bytes at most; 7 is "7"
---@return string|number|boolean|nil value
function cache:get(key) end

---Puts it in, or in the place of what is there. An entry may have an eighth of max_bytes.
---A table raises: put in app.json.encode(value).
---@param key string|integer
---@param value string|number|boolean
---@param opts cache_set_opts|nil
---@return true|nil ok
---@return err|nil err `too_large`, `no_memory`
function cache:set(key, value, opts) end

---Puts it in if nothing is there.
---@param key string|integer
---@param value string|number|boolean
---@param opts cache_set_opts|nil
---@return boolean|nil added false: there is something
---@return err|nil err `too_large`, `no_memory`
function cache:add(key, value, opts) end

---Adds to the number that is there, which keeps its age; where there is none, to `init`. Raises
---when what is there is no number. Also incr(key, opts).
---@param key string|integer
---@param n number|nil default 1
---@param opts cache_incr_opts|nil
---@return number|nil value the new one
---@return err|nil err `no_memory`
function cache:incr(key, n, opts) end

---@param key string|integer
---@return boolean was_there
function cache:delete(key) end

---The keys, those first that were used last.
---@param most integer|nil so many at most, default 1,000; up to 10,000
---@return string[]
function cache:keys(most) end

---@return cache_stats
function cache:stats() end

return cache
