---Key-value buckets: app.js.create_key_value() and what it returns. Times are seconds.
local core = require "lunats.core"
local check = require "lunats.check"
local api = require "lunats.js.api"
local bucket = require "lunats.js.bucket"
local entries = require "lunats.js.kv_entry"
local watching = require "lunats.js.kv_watch"
local publishing = require "lunats.js.publish"
local stored = require "lunats.js.stored"

local M = {}

local PREFIX = "KV_"
local MAX_HISTORY = 64

-- ---- buckets --------------------------------------------------------------------

---@class kv
---@field bucket string
local kv = {}

---Writes go to the stream that a mirror copies, and carry the keys of that bucket.
local function open(name, config)
  local self = setmetatable({ bucket = name, stream = PREFIX .. name, config = config }, kv)
  local origin, via = name, api.prefix ~= "$JS.API" and api.prefix .. "." or ""
  local mirror = config.mirror
  if mirror then
    origin = mirror.name:match("^" .. PREFIX .. "(.+)$") or mirror.name
    if mirror.external then via = mirror.external.api .. "." end
  end
  self.prefix = ("$KV.%s."):format(origin)
  self.put_prefix = via .. self.prefix
  return self
end

local CREATE = {
  bucket = "string", history = "number", ttl = "number", max_bytes = "number",
  max_value_size = "number", storage = "string", replicas = "number", description = "string",
  placement = "table", republish = "table", mirror = "string|table", sources = "table",
  compression = "boolean", metadata = "table", limit_marker_ttl = "number",
  direct = "boolean",
}

local function stream_of(source)
  return source:sub(1, #PREFIX) == PREFIX and source or PREFIX .. source
end

---A mirror or a source: the name of a bucket, or a table as the server wants it.
local function origin_of(source)
  local fields = {}
  if type(source) == "string" then
    fields.name = stream_of(source)
  else
    for name, value in next, source do fields[name] = value end
    fields.name = stream_of(fields.name)
  end
  return fields
end

local function sources_of(sources, name)
  local list = {}
  for i, source in ipairs(sources) do
    local fields = origin_of(source)
    fields.subject_transforms = fields.subject_transforms or {
      { src = ("$KV.%s.>"):format(fields.name:sub(#PREFIX + 1)),
        dest = ("$KV.%s.>"):format(name) },
    }
    list[i] = fields
  end
  return list
end

local function stream_config(opts)
  local name = opts.bucket
  local config = {
    name = PREFIX .. name, subjects = { ("$KV.%s.>"):format(name) },
    description = opts.description, max_msgs_per_subject = opts.history or 1,
    max_age = opts.ttl, max_bytes = opts.max_bytes, max_msg_size = opts.max_value_size,
    storage = opts.storage or "file", num_replicas = opts.replicas or 1,
    placement = opts.placement, republish = opts.republish, metadata = opts.metadata,
    discard = "new", allow_rollup_hdrs = true, deny_delete = true,
    allow_direct = opts.direct ~= false,
    compression = opts.compression and "s2" or nil,
  }
  if opts.limit_marker_ttl then
    config.allow_msg_ttl, config.subject_delete_marker_ttl = true, opts.limit_marker_ttl
  end
  if opts.mirror then
    config.subjects, config.mirror, config.mirror_direct = nil, origin_of(opts.mirror), true
  elseif opts.sources then
    config.sources = sources_of(opts.sources, name)
  end
  return config
end

---Creates a bucket. With the configuration that it has already this succeeds.
---@param opts table
---@return kv|nil bucket, table|nil err
function M.create_key_value(opts)
  local what = "app.js.create_key_value"
  check.table(what, opts)
  opts = core.check(what, opts, CREATE)
  bucket.check_name(opts.bucket, what .. ": bucket")
  check.whole(what, "history", math.tointeger(opts.history) or opts.history, 1, MAX_HISTORY)
  local info, err = bucket.create(what, opts.bucket, stream_config(opts),
    "app.js.key_value")
  if not info then return nil, err end
  return open(opts.bucket, info.config)
end

---@param name string
---@return kv|nil bucket, table|nil err
function M.key_value(name, opts)
  check.no_options("app.js.key_value", opts)
  bucket.check_name(name, "app.js.key_value")
  local info, err = bucket.info(PREFIX .. name, name)
  if not info then return nil, err end
  if (info.config.max_msgs_per_subject or -1) < 1 then
    return nil, api.failure("jetstream", "the stream %s%s is not a bucket", PREFIX, name)
  end
  return open(name, info.config)
end

---@param name string
---@return boolean|nil ok, table|nil err
function M.delete_key_value(name, opts)
  check.no_options("app.js.delete_key_value", opts)
  bucket.check_name(name, "app.js.delete_key_value")
  return bucket.delete(PREFIX .. name, name)
end

---@return string[]|nil names, table|nil err
function M.key_value_names() return bucket.names(PREFIX) end

-- ---- reading --------------------------------------------------------------------

local function check_revision(what, revision)
  check.whole(what, "the revision", revision, 0)
  return revision
end

local function not_found(self, key, text)
  return api.not_found("bucket '%s': the key '%s' %s", self.bucket, key, text)
end

---The last entry of a key that a server takes for a pattern when it is asked for it.
local function find_literal(self, what, key)
  local found
  local ok, err = watching.collect(self, what, key, {}, function(entry)
    if entry.key == key then found = entry end
  end)
  if not ok then return nil, err end
  if found then return found end
  return not_found(self, key, "does not exist")
end

---The entry, deleted or not.
local function last_entry(self, key, revision)
  if not revision and entries.is_pattern(key) then return find_literal(self, "kv:get", key) end
  local subject = self.prefix .. key
  local message, err = stored.get(self.config,
    revision and { seq = revision } or { last_by_subj = subject })
  if not message then
    if err.code ~= "not_found" then return nil, err end
    return not_found(self, key, revision and "has no such revision" or "does not exist")
  end
  if message.subject ~= subject then return not_found(self, key, "has no such revision") end
  return entries.from_stored(self, message)
end

---@param key string
---@param opts { revision: integer|nil }|nil
---@return kv.entry|nil entry, table|nil err  code "not_found": no such key, or deleted
function kv:get(key, opts)
  entries.check_stored(key, "kv:get")
  opts = core.check("kv:get", opts, { revision = "number" })
  local entry, err = last_entry(self, key, check_revision("kv:get", opts.revision))
  if not entry then return nil, err end
  if entry.operation == "PUT" then return entry end
  local _
  _, err = not_found(self, key, "is deleted")
  err.revision, err.operation = entry.revision, entry.operation
  return nil, err
end

-- ---- writing --------------------------------------------------------------------

local function check_value(what, value)
  if value == nil then error(what .. ": a value expected; kv:delete removes a key", 3) end
end

---@return integer|nil revision, table|nil err
local function write(self, key, value, opts)
  local ack, err = publishing.publish(self.put_prefix .. key, value, opts)
  if not ack then
    if err.code == "wrong_last_sequence" then
      err.message = ("bucket '%s': the key '%s' has another revision"):format(self.bucket, key)
    end
    return nil, err
  end
  return ack.seq
end

---Stores a value: a string as it is, anything else as JSON.
---@param key string
---@param value any
---@return integer|nil revision, table|nil err
function kv:put(key, value, opts)
  check.no_options("kv:put", opts, "a ttl is one of kv:create")
  entries.check_key(key, "kv:put")
  check_value("kv:put", value)
  return write(self, key, value)
end

local function time_to_live(self, what, ttl)
  if ttl == nil then return nil end
  local text, config = publishing.ttl_text(what, ttl), self.config
  if not config.allow_msg_ttl then
    return core.fail(api.failure("unsupported", "the bucket '%s' was made without "
      .. "limit_marker_ttl, so its keys have no ttl", self.bucket))
  end
  local least = config.subject_delete_marker_ttl or 0
  if ttl < least and config.max_msgs_per_subject ~= 1 then -- the server would say nothing
    return core.fail(api.failure("unsupported", "the bucket '%s' has a history: no ttl can be "
      .. "shorter than its limit_marker_ttl, %g s", self.bucket, least))
  end
  return text
end

---Others may write between our look and our write.
local CREATE_ATTEMPTS = 5

---Stores a value unless the key has one.
---@param key string
---@param value any
---@param opts { ttl: number|nil }|nil
---@return integer|nil revision, table|nil err  code "wrong_last_sequence": the key exists
function kv:create(key, value, opts)
  entries.check_key(key, "kv:create")
  check_value("kv:create", value)
  opts = core.check("kv:create", opts, { ttl = "number" })
  local ttl, err = time_to_live(self, "kv:create", opts.ttl)
  if err then return nil, err end
  local expected, headers = 0, { ["Nats-TTL"] = ttl }
  for _ = 1, CREATE_ATTEMPTS do
    local revision
    revision, err = write(self, key, value,
      { expected_last_subject_seq = expected, headers = headers })
    if revision or err.code ~= "wrong_last_sequence" then return revision, err end
    -- The marker of a deleted key is a message like others.
    local last, failed = last_entry(self, key)
    if last and last.operation == "PUT" then
      err.message = ("bucket '%s': the key '%s' exists"):format(self.bucket, key)
      err.revision = last.revision
      return nil, err
    end
    if not last and failed.code ~= "not_found" then return nil, failed end
    expected = last and last.revision or 0
  end
  return nil, err
end

---Stores a value if `revision` is the last one of the key.
---@param key string
---@param value any
---@param revision integer
---@return integer|nil revision, table|nil err  code "wrong_last_sequence"
function kv:update(key, value, revision, opts)
  check.no_options("kv:update", opts, "a ttl is one of kv:create")
  entries.check_key(key, "kv:update")
  check_value("kv:update", value)
  if revision == nil then error("kv:update: a revision expected", 2) end
  check_revision("kv:update", revision)
  return write(self, key, value, { expected_last_subject_seq = revision })
end

---Servers store a key with a token "*" or ">" as it is, but take it for a pattern where they
---compare or remove.
local function remove_literal(self, what, key, opts, headers)
  if opts.revision or headers["Nats-Rollup"] then
    return core.fail(api.failure("unsupported", "bucket '%s': the key '%s' looks like a "
      .. "pattern, %s would concern other keys as well: use kv:delete(key)", self.bucket, key,
      what))
  end
  return publishing.publish_literal(self.put_prefix .. key, headers)
end

local function remove(self, what, key, opts, headers)
  entries.check_stored(key, what, 2)
  check_revision(what, opts.revision)
  local ok, err
  if entries.is_pattern(key) then
    ok, err = remove_literal(self, what, key, opts, headers)
  else
    ok, err = write(self, key, nil,
      { headers = headers, expected_last_subject_seq = opts.revision })
  end
  if not ok then return nil, err end
  return true
end

---Marks a key as deleted; its history stays.
---@param key string
---@param opts { revision: integer|nil }|nil  only if that is the last one
---@return boolean|nil ok, table|nil err
function kv:delete(key, opts)
  opts = core.check("kv:delete", opts, { revision = "number" })
  return remove(self, "kv:delete", key, opts, { ["KV-Operation"] = "DEL" })
end

---Marks a key as deleted and removes its history.
---@param key string
---@param opts { revision: integer|nil, ttl: number|nil }|nil  ttl: of the marker
---@return boolean|nil ok, table|nil err
function kv:purge(key, opts)
  opts = core.check("kv:purge", opts, { revision = "number", ttl = "number" })
  local ttl, err = time_to_live(self, "kv:purge", opts.ttl)
  if err then return nil, err end
  return remove(self, "kv:purge", key, opts, { ["KV-Operation"] = "PURGE",
    ["Nats-Rollup"] = "sub", ["Nats-TTL"] = ttl })
end

-- ---- many entries ---------------------------------------------------------------

kv.watch = watching.watch

---The keys that have a value, in the order in which they were written, whatever tool has
---written them. Those that exist all the time are among them, although others write.
---@param filter string|nil a key with "*" for a token, or ">" at the end
---@return string[]|nil keys, table|nil err
function kv:keys(filter, opts)
  check.no_options("kv:keys", opts)
  local list, known = {}, {}
  local function add(entry)
    -- After a lost connection a key may come twice.
    if entry.operation == "PUT" and not known[entry.key] then list[#list + 1] = entry.key end
    known[entry.key] = entry.operation
  end
  local ok, err = watching.collect(self, "kv:keys", filter, { meta_only = true }, add)
  if not ok then return nil, err end
  local keys = {}
  for _, key in ipairs(list) do
    if known[key] == "PUT" then keys[#keys + 1] = key end
  end
  return keys
end

---All entries of a key that the bucket keeps, the oldest first, with those of deletions.
---@param key string
---@return kv.entry[]|nil entries, table|nil err
function kv:history(key, opts)
  check.no_options("kv:history", opts)
  entries.check_stored(key, "kv:history")
  local list = {}
  local ok, err = watching.collect(self, "kv:history", key, { include_history = true },
    function(entry) if entry.key == key then list[#list + 1] = entry end end)
  if not ok then return nil, err end
  return list
end

local OLD_MARKER = 30 * 60

---Removes the markers of deleted keys, with all that came before them. Of keys deleted within
---the last `older_than` seconds (default 30 minutes) the marker stays, for watchers that are
---not connected just now.
---@param opts { older_than: number|nil }|nil
---@return integer|nil count of keys, table|nil err
function kv:purge_deletes(opts)
  opts = core.check("kv:purge_deletes", opts, { older_than = "number" })
  local markers = {}
  local ok, err = watching.collect(self, "kv:purge_deletes", nil, { meta_only = true },
    function(entry) markers[entry.key] = entry.operation ~= "PUT" and entry or nil end)
  if not ok then return nil, err end
  local limit, count = core.now() - (opts.older_than or OLD_MARKER), 0
  for key, entry in pairs(markers) do
    -- What was written after the marker stays.
    local last = entry.created > limit and entry.revision - 1 or entry.revision
    if not entries.is_pattern(key) then
      ok, err = bucket.purge(self.stream, self.prefix .. key, last)
      if not ok then return nil, err end
      count = count + 1
    end
  end
  return count
end

---@return kv.status|nil status, table|nil err
function kv:status()
  local info, err = bucket.info(self.stream, self.bucket)
  if not info then return nil, err end
  local config = info.config
  self.config = config
  return {
    bucket = self.bucket, stream = self.stream, values = info.state.messages,
    history = config.max_msgs_per_subject, ttl = config.max_age or 0,
    bytes = info.state.bytes, storage = config.storage, replicas = config.num_replicas,
    compression = config.compression ~= nil and config.compression ~= "none",
    description = config.description, metadata = config.metadata,
    limit_marker_ttl = config.subject_delete_marker_ttl, backing_store = "JetStream",
  }
end

check.class("kv", kv)

return M
