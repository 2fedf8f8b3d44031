---What an object store tells about its objects: one message of JSON for each.
local core = require "lunats.core"
local json = require "lunats.json"
local api = require "lunats.js.api"
local bucket = require "lunats.js.bucket"
local publishing = require "lunats.js.publish"
local stored = require "lunats.js.stored"

local M = {}

---@class object_info
---@field name string
---@field bucket string
---@field size integer bytes
---@field chunks integer
---@field digest string|nil
---@field nuid string|nil of the chunks
---@field modified number|nil Unix time
---@field revision integer|nil
---@field deleted boolean
---@field description string|nil
---@field headers table<string, string[]>|nil
---@field metadata table<string, string>|nil
---@field chunk_size integer|nil
---@field link { bucket: string, name: string|nil }|nil

---Raises unless `name` can name an object.
function M.check_name(name, what, level)
  if type(name) ~= "string" or name == "" then
    error(("%s: the name of an object expected, got %s"):format(what,
      name == "" and "''" or type(name)), (level or 1) + 2)
  end
  return name
end

function M.subject(store, name) return store.meta_prefix .. core.base64url(name) end

---@param digest userdata that has seen all bytes
---@return string
function M.digest_text(digest) return "SHA-256=" .. core.base64url(digest:final()) end

function M.exists(store, name)
  return api.failure("exists", "store '%s': there is an object '%s' already", store.bucket,
    name)
end

local function not_found(store, name, text)
  return api.not_found("store '%s': the object '%s' %s", store.bucket, name, text)
end

-- ---- what others have written ----------------------------------------------------

local function of_type(expected, value) if type(value) == expected then return value end end

local function whole(value, least)
  if math.type(value) == "integer" and value >= least then return value end
end

---It becomes a token of a subject that is read and purged: a pattern would concern the chunks
---of other objects.
local function chunks_name(nuid)
  if type(nuid) == "string" and core.js_name_ok(nuid) then return nuid end
end

local function link_of(link)
  if type(link) ~= "table" or not pcall(bucket.check_name, link.bucket, "") then return nil end
  if link.name == nil or link.name == json.null then return { bucket = link.bucket } end
  return type(link.name) == "string" and { bucket = link.bucket, name = link.name } or nil
end

---@param store object_store
---@param text string JSON
---@param created number|nil of the message
---@return object_info|nil info, table|nil err
function M.decode(store, text, created, revision)
  local wire = json.decode(text)
  if type(wire) ~= "table" or type(wire.name) ~= "string" then
    return nil, api.failure("jetstream", "store '%s': the info of an object is not understood",
      store.bucket)
  end
  local options = type(wire.options) == "table" and wire.options or {}
  return {
    name = wire.name, bucket = store.bucket, size = whole(wire.size, 0) or 0,
    chunks = whole(wire.chunks, 0) or 0, digest = of_type("string", wire.digest),
    nuid = chunks_name(wire.nuid), deleted = wire.deleted == true, modified = created,
    revision = revision, description = of_type("string", wire.description),
    headers = of_type("table", wire.headers), metadata = of_type("table", wire.metadata),
    chunk_size = whole(options.max_chunk_size, 1), link = link_of(options.link),
  }
end

---@return object_info|nil info, table|nil err
function M.get(store, name, with_deleted)
  local message, err = stored.get(store.config, { last_by_subj = M.subject(store, name) })
  if not message then
    if err.code ~= "not_found" then return nil, err end
    return not_found(store, name, "does not exist")
  end
  local object
  object, err = M.decode(store, message.data, message.created, message.sequence)
  if not object then return nil, err end
  if object.deleted and not with_deleted then return not_found(store, name, "is deleted") end
  return object
end

---Others may change the same object between our look and our write.
local ATTEMPTS, DELAY = 20, 0.01

---Calls fn until nobody else was faster.
function M.retry(fn, ...)
  for attempt = 1, ATTEMPTS do
    local result, err = fn(...)
    if result or err.code ~= "wrong_last_sequence" or attempt == ATTEMPTS then
      return result, err
    end
    core.sleep(DELAY * attempt)
  end
end

local function encode(store, object)
  local options
  if object.chunk_size or object.link then
    options = { max_chunk_size = object.chunk_size, link = object.link }
  end
  return json.encode {
    name = object.name, bucket = store.bucket, size = object.size, chunks = object.chunks,
    nuid = object.nuid or "", digest = object.digest or "", deleted = object.deleted or nil,
    description = object.description, headers = object.headers, metadata = object.metadata,
    options = options, mtime = "0001-01-01T00:00:00Z",
  }
end

---Stores the info of an object and fills in what only the server knows. Of `last` it must be
---the successor (nil: it is the first one of that name): who replaces an info takes care of its
---chunks.
---@param last object_info|nil
---@return object_info|nil info, table|nil err
function M.put(store, object, last)
  local ack, err = publishing.publish(M.subject(store, object.name),
    encode(store, object), { headers = { ["Nats-Rollup"] = "sub" },
    expected_last_subject_seq = last and last.revision or 0 })
  if not ack then return nil, err end
  object.bucket, object.revision, object.modified = store.bucket, ack.seq, core.now()
  object.deleted = object.deleted or false
  return object
end

return M
