---@meta lunats.js.object
---Object stores of JetStream: values of any size, cut into chunks.

---@class js
local js = {}

---@class object_store_config
---@field bucket string letters, digits, `_` and `-`
---@field ttl number|nil seconds until an object goes away; default never
---@field max_bytes integer|nil of the store
---@field storage "file"|"memory"|nil default file
---@field replicas integer|nil default 1
---@field description string|nil
---@field compression boolean|nil
---@field metadata table<string, string>|nil
---@field placement table|nil

---Creates an object store. With the configuration that it has already this succeeds.
---@param config object_store_config
---@return object_store|nil store
---@return js.err|nil err
function js.create_object_store(config) end

---A store that exists.
---@param name string
---@return object_store|nil store
---@return js.err|nil err
function js.object_store(name) end

---@param name string
---@return boolean|nil ok
---@return js.err|nil err
function js.delete_object_store(name) end

---@return string[]|nil names of all stores
---@return js.err|nil err
function js.object_store_names() end

---@class object_info
---@field name string
---@field bucket string
---@field size integer bytes
---@field chunks integer
---@field digest string|nil `SHA-256=` and the sum
---@field nuid string|nil names the chunks
---@field revision integer|nil
---@field modified number|nil Unix time
---@field deleted boolean
---@field description string|nil
---@field headers table<string, string[]>|nil
---@field metadata table<string, string>|nil
---@field chunk_size integer|nil
---@field link { bucket: string, name: string|nil }|nil

---@class object_store.status
---@field bucket string
---@field stream string
---@field size integer bytes
---@field ttl number seconds, 0: none
---@field storage "file"|"memory"
---@field replicas integer
---@field sealed boolean
---@field compression boolean
---@field backing_store "JetStream"
---@field description string|nil
---@field metadata table<string, string>|nil

---@class object_store
---@field bucket string
local store = {}

---@class object_store.put_opts
---@field description string|nil
---@field headers headers|nil
---@field metadata table<string, string>|nil
---@field chunk_size integer|nil bytes, default 131072

---Stores an object, replacing the one of that name. A put that fails leaves nothing behind.
---@param name string
---@param data string|file*|fun(): string|nil, any the bytes, an open file, or a function that returns the next piece
---@param opts object_store.put_opts|nil
---@return object_info|nil info
---@return js.err|nil err
function store:put(name, data, opts) end

---Reads an object and checks its digest: returned as a string, or piece by piece to a function
---or a file; then its info is returned.
---@param name string
---@param opts { write: fun(piece: string)|nil, file: string|file*|nil }|nil a path or an open file
---@return string|object_info|nil data
---@return js.err|nil err codes `not_found`, `damaged`
function store:get(name, opts) end

---@param name string
---@return object_info|nil info
---@return js.err|nil err
function store:info(name) end

---@param name string
---@return boolean|nil ok
---@return js.err|nil err
function store:delete(name) end

---@param opts { deleted: boolean|nil }|nil deleted ones, too
---@return object_info[]|nil objects the one changed last at the end
---@return js.err|nil err
function store:list(opts) end

---@class object_store.watch_opts
---@field updates_only boolean|nil
---@field ignore_deletes boolean|nil
---@field on_initial fun()|nil
---@field on_error fun(err: js.err)|nil

---Calls fn for each object that exists and then for each change.
---@param opts object_store.watch_opts
---@param fn fun(object: object_info)
---@return watch|nil handle
---@return js.err|nil err
---@overload fun(self: object_store, fn: fun(object: object_info)): watch|nil, js.err|nil
function store:watch(opts, fn) end

---Changes what is told about an object; a new name moves it.
---@param name string
---@param opts { name: string|nil, description: string|nil, headers: table|nil, metadata: table|nil }
---@return object_info|nil info
---@return js.err|nil err
function store:update_meta(name, opts) end

---Another name for an object, which may be in another store.
---@param name string
---@param target object_info
---@return object_info|nil info
---@return js.err|nil err
function store:add_link(name, target) end

---A name for a whole store.
---@param name string
---@param target object_store|string
---@return object_info|nil info
---@return js.err|nil err
function store:add_bucket_link(name, target) end

---Nothing can be changed from now on.
---@return boolean|nil ok
---@return js.err|nil err
function store:seal() end

---@return object_store.status|nil status
---@return js.err|nil err
function store:status() end

return js
