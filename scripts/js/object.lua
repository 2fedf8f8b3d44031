---Object stores: app.js.create_object_store() and what it returns.
local core = require "lunats.core"
local check = require "lunats.check"
local api = require "lunats.js.api"
local bucket = require "lunats.js.bucket"
local info = require "lunats.js.object_info"
local reading = require "lunats.js.object_get"
local writing = require "lunats.js.object_put"

local M = {}

local PREFIX = "OBJ_"

-- ---- stores -----------------------------------------------------------------------

---@class object_store
---@field bucket string
local store = {}

local function open(name, config)
  return setmetatable({ bucket = name, stream = PREFIX .. name, config = config,
    chunk_prefix = ("$O.%s.C."):format(name), meta_prefix = ("$O.%s.M."):format(name),
    open = M.object_store }, store)
end

local CREATE = { bucket = "string", ttl = "number", max_bytes = "number", storage = "string",
  replicas = "number", description = "string", placement = "table", metadata = "table",
  compression = "boolean" }

---Creates an object store. With the configuration that it has already this succeeds.
---@param opts table
---@return object_store|nil store, table|nil err
function M.create_object_store(opts)
  local what = "app.js.create_object_store"
  check.table(what, opts)
  opts = core.check(what, opts, CREATE)
  local name = bucket.check_name(opts.bucket, what .. ": bucket")
  local stream, err = bucket.create(what, name, {
    name = PREFIX .. name,
    subjects = { ("$O.%s.C.>"):format(name), ("$O.%s.M.>"):format(name) },
    description = opts.description, max_age = opts.ttl, max_bytes = opts.max_bytes,
    storage = opts.storage or "file", num_replicas = opts.replicas or 1,
    placement = opts.placement, metadata = opts.metadata, discard = "new",
    allow_rollup_hdrs = true, allow_direct = true,
    compression = opts.compression and "s2" or nil,
  }, "app.js.object_store")
  if not stream then return nil, err end
  return open(name, stream.config)
end

---@param name string
---@return object_store|nil store, table|nil err
function M.object_store(name, opts)
  check.no_options("app.js.object_store", opts)
  bucket.check_name(name, "app.js.object_store")
  local stream, err = bucket.info(PREFIX .. name, name)
  if not stream then return nil, err end
  return open(name, stream.config)
end

---@param name string
---@return boolean|nil ok, table|nil err
function M.delete_object_store(name, opts)
  check.no_options("app.js.delete_object_store", opts)
  bucket.check_name(name, "app.js.delete_object_store")
  return bucket.delete(PREFIX .. name, name)
end

---@return string[]|nil names, table|nil err
function M.object_store_names() return bucket.names(PREFIX) end

-- ---- objects ----------------------------------------------------------------------

store.put = writing.put
store.get = reading.get
store.list = reading.list
store.watch = reading.watch

---@param name string
---@return object_info|nil info, table|nil err  code "not_found": no such object, or deleted
function store:info(name)
  info.check_name(name, "store:info")
  return info.get(self, name)
end

local function mark_deleted(self, name)
  local object, err = info.get(self, name)
  if not object then return nil, err end
  local ok
  ok, err = info.put(self, { name = name, nuid = object.nuid, deleted = true, size = 0,
    chunks = 0, description = object.description }, object)
  if not ok then return nil, err end
  return object
end

---@param name string
---@return boolean|nil ok, table|nil err
function store:delete(name)
  info.check_name(name, "store:delete")
  local object, err = info.retry(mark_deleted, self, name)
  if not object then return nil, err end
  if not object.nuid or object.link then return true end
  return bucket.purge(self.stream, self.chunk_prefix .. object.nuid)
end

local UPDATE = { name = "string", description = "string", headers = "table",
  metadata = "table" }

local function update_meta(self, name, opts)
  local new_name = opts.name or name
  local object, err = info.get(self, name)
  if not object then return nil, err end
  local last = { revision = object.revision }
  if new_name ~= name then
    last, err = info.get(self, new_name, true)
    if last and not last.deleted then return nil, info.exists(self, new_name) end
    if not last and err.code ~= "not_found" then return nil, err end
  end
  local before = object.revision
  object.name = new_name
  for _, field in ipairs { "description", "headers", "metadata" } do
    local value = opts[field]
    if field == "headers" then value = writing.header_lists(value) end
    if value ~= nil then object[field] = value end
  end
  local ok
  ok, err = info.put(self, object, last)
  if not ok then return nil, err end
  if new_name ~= name then
    ok, err = bucket.purge(self.stream, info.subject(self, name), before)
    if not ok then return nil, err end
  end
  return object
end

---Changes what is told about an object; a new name moves it.
---@param name string
---@param opts table { name =, description =, headers =, metadata = }
---@return object_info|nil info, table|nil err
function store:update_meta(name, opts)
  info.check_name(name, "store:update_meta")
  opts = core.check("store:update_meta", opts, UPDATE)
  if opts.name then info.check_name(opts.name, "store:update_meta: name") end
  return info.retry(update_meta, self, name, opts)
end

-- ---- links ------------------------------------------------------------------------

---A link replaces a link, not an object.
local function put_link(self, name, link)
  local existing, err = info.get(self, name, true)
  if existing and not existing.link and not existing.deleted then
    return nil, info.exists(self, name)
  end
  if not existing and err.code ~= "not_found" then return nil, err end
  local object = { name = name, nuid = writing.new_nuid(), size = 0, chunks = 0, link = link }
  local ok
  ok, err = info.put(self, object, existing)
  if not ok then return nil, err end
  return object
end

---Another name for an object, which may be in another store.
---@param name string
---@param target object_info what info(), list() or put() gave
---@return object_info|nil info, table|nil err
function store:add_link(name, target)
  info.check_name(name, "store:add_link")
  if type(target) ~= "table" or type(target.name) ~= "string" or not target.bucket then
    error("store:add_link: the info of an object expected", 2)
  end
  if target.deleted then
    return core.fail(api.failure("not_found", "the object '%s' is deleted", target.name))
  end
  if target.link then
    return core.fail(api.failure("jetstream", "'%s' is a link itself", target.name))
  end
  return info.retry(put_link, self, name, { bucket = target.bucket, name = target.name })
end

---A name for a whole store.
---@param name string
---@param target object_store|string
---@return object_info|nil info, table|nil err
function store:add_bucket_link(name, target)
  info.check_name(name, "store:add_bucket_link")
  if type(target) == "table" then target = target.bucket end
  bucket.check_name(target, "store:add_bucket_link: bucket")
  return info.retry(put_link, self, name, { bucket = target })
end

-- ---- the store itself ---------------------------------------------------------------

---Nothing can be changed from now on.
---@return boolean|nil ok, table|nil err
function store:seal()
  local reply, err = api.raw("STREAM.INFO." .. self.stream)
  if not reply then return nil, err end
  -- An update replaces everything: what the server has said goes back as it is.
  local config = reply.config
  config.sealed = true
  local updated
  updated, err = api.raw("STREAM.UPDATE." .. self.stream, config)
  if not updated then return nil, err end
  return updated.config.sealed == true
end

---@return object_store.status|nil status, table|nil err
function store:status()
  local stream, err = bucket.info(self.stream, self.bucket)
  if not stream then return nil, err end
  local config = stream.config
  return {
    bucket = self.bucket, stream = self.stream, description = config.description,
    ttl = config.max_age or 0, storage = config.storage, replicas = config.num_replicas,
    sealed = config.sealed == true, size = stream.state.bytes, metadata = config.metadata,
    compression = config.compression ~= nil and config.compression ~= "none",
    backing_store = "JetStream",
  }
end

check.class("store", store)

return M
