---@meta lunats.js.kv
---Key-value buckets of JetStream. All times are seconds.

---@class js
local js = {}

---@class kv_config
---@field bucket string letters, digits, `_` and `-`
---@field history integer|nil values kept of each key, 1 (default) to 64
---@field ttl number|nil seconds until a value goes away; default never
---@field max_bytes integer|nil of the bucket
---@field max_value_size integer|nil bytes
---@field storage "file"|"memory"|nil default file
---@field replicas integer|nil default 1
---@field description string|nil
---@field compression boolean|nil
---@field metadata table<string, string>|nil
---@field limit_marker_ttl number|nil seconds; allows keys with a `ttl` of their own (newer servers)
---@field direct boolean|nil default true: any server that has the bucket answers reads; false: always the leader, so that a read sees every write before it
---@field placement table|nil
---@field republish table|nil
---@field mirror string|table|nil name of the bucket to copy
---@field sources (string|table)[]|nil names of buckets to copy keys from

---Creates a bucket. With the configuration that it has already this succeeds.
---@param config kv_config
---@return kv|nil bucket
---@return js.err|nil err
function js.create_key_value(config) end

---A bucket that exists.
---@param name string
---@return kv|nil bucket
---@return js.err|nil err
function js.key_value(name) end

---@param name string
---@return boolean|nil ok
---@return js.err|nil err
function js.delete_key_value(name) end

---@return string[]|nil names of all buckets
---@return js.err|nil err
function js.key_value_names() end

---@class kv.entry
---@field bucket string
---@field key string
---@field value string|nil the bytes; nil for a deletion
---@field data any the value decoded from JSON when first read; raises if it is not JSON
---@field revision integer
---@field created number Unix time
---@field delta integer entries still to come in a watch
---@field operation "PUT"|"DEL"|"PURGE"

---@class kv.status
---@field bucket string
---@field stream string
---@field values integer entries, with older ones and deletions
---@field history integer
---@field ttl number seconds, 0: none
---@field bytes integer
---@field storage "file"|"memory"
---@field replicas integer
---@field compression boolean
---@field backing_store "JetStream"
---@field description string|nil
---@field metadata table<string, string>|nil
---@field limit_marker_ttl number|nil

---@class kv
---@field bucket string
local kv = {}

---The entry of a key, or of a revision of it.
---@param key string
---@param opts { revision: integer|nil }|nil
---@return kv.entry|nil entry
---@return js.err|nil err code `not_found`: no such key, or deleted (then with `revision` and `operation`)
function kv:get(key, opts) end

---Stores a value: a string as it is, anything else as JSON.
---@param key string
---@param value string|table|number|boolean
---@return integer|nil revision
---@return js.err|nil err
function kv:put(key, value) end

---Stores a value unless the key has one.
---@param key string
---@param value string|table|number|boolean
---@param opts { ttl: number|nil }|nil seconds; needs limit_marker_ttl
---@return integer|nil revision
---@return js.err|nil err code `wrong_last_sequence`: the key exists
function kv:create(key, value, opts) end

---Stores a value if `revision` is the last one of the key.
---@param key string
---@param value string|table|number|boolean
---@param revision integer
---@return integer|nil revision
---@return js.err|nil err code `wrong_last_sequence`: somebody was faster
function kv:update(key, value, revision) end

---Marks a key as deleted; its history stays.
---@param key string
---@param opts { revision: integer|nil }|nil only if that is the last one
---@return true|nil ok
---@return js.err|nil err
function kv:delete(key, opts) end

---Marks a key as deleted and removes its history.
---@param key string
---@param opts { revision: integer|nil, ttl: number|nil }|nil
---@return true|nil ok
---@return js.err|nil err
function kv:purge(key, opts) end

---Removes the markers of keys deleted earlier.
---@param opts { older_than: number|nil }|nil seconds, default 1800; younger markers stay
---@return integer|nil count of keys
---@return js.err|nil err
function kv:purge_deletes(opts) end

---The keys that have a value.
---@param filter string|string[]|nil `*` stands for a token, `>` at the end for the rest; several that do not overlap: servers from 2.10 on, else `unsupported`
---@return string[]|nil keys
---@return js.err|nil err
function kv:keys(filter) end

---What the bucket keeps of a key, the oldest first, deletions included.
---@param key string
---@return kv.entry[]|nil entries
---@return js.err|nil err
function kv:history(key) end

---@class kv.watch_opts
---@field include_history boolean|nil also the older values of each key
---@field updates_only boolean|nil nothing of what is there already
---@field meta_only boolean|nil entries without values
---@field ignore_deletes boolean|nil
---@field resume_from integer|nil a revision
---@field on_initial fun()|nil what was there already has been reported
---@field on_error fun(err: js.err)|nil

---Calls fn for each entry that exists and then for each change, one after the other.
---@param filter string|string[] a key, or a pattern, or several of them as for kv:keys()
---@param opts kv.watch_opts
---@param fn fun(entry: kv.entry)
---@return watch|nil handle
---@return js.err|nil err
---@overload fun(self: kv, fn: fun(entry: kv.entry)): watch|nil, js.err|nil
---@overload fun(self: kv, filter: string|string[], fn: fun(entry: kv.entry)): watch|nil, js.err|nil
---@overload fun(self: kv, opts: kv.watch_opts, fn: fun(entry: kv.entry)): watch|nil, js.err|nil
function kv:watch(filter, opts, fn) end

---@return kv.status|nil status
---@return js.err|nil err
function kv:status() end

---@class watch
---@field initial boolean what was there already has been reported
local watch = {}

---Waits until what was there already has been reported.
---@param timeout number|nil seconds, default 10
---@return true|nil ok
---@return err|nil err
function watch:ready(timeout) end

---No further call, except one that runs now.
function watch:stop() end

return js
