---Reading objects of a store, and looking at which there are.
local core = require "lunats.core"
local check = require "lunats.check"
local api = require "lunats.js.api"
local js_chunks = require "lunats.js.chunks"
local info = require "lunats.js.object_info"
local watching = require "lunats.js.watch"

local M = {}

---A link may lead to a store whose object has become a link itself.
local MAX_LINKS = 8

-- ---- where the bytes go -------------------------------------------------------------

local function fail_io(text) return nil, core.error("io", "cannot write the file: " .. text) end

---A sink: write(chunk) -> ok, err; finish() -> the result of get, nil for the info; abort().
local function memory_sink()
  local chunks = {}
  return {
    write = function(chunk)
      chunks[#chunks + 1] = chunk
      return true
    end,
    finish = function() return table.concat(chunks) end,
    abort = function() end,
  }
end

local function function_sink(fn)
  return {
    write = function(chunk)
      fn(chunk)
      return true
    end,
    finish = function() end,
    abort = function() end,
  }
end

local function file_sink(file)
  return {
    write = function(chunk)
      local ok, text = file:write(chunk)
      if not ok then return fail_io(text) end
      return true
    end,
    finish = function()
      local ok, text = file:flush()
      if not ok then return fail_io(text) end
    end,
    abort = function() end,
  }
end

---What exists under that path is replaced when the whole object is there.
local function path_sink(path)
  local part = path .. ".part"
  local file, text = io.open(part, "wb")
  if not file then return core.fail(core.error("io", "cannot write the file: " .. text)) end
  local sink = file_sink(file)
  function sink.abort()
    if io.type(file) == "file" then file:close() end
    os.remove(part)
  end
  function sink.finish()
    local ok, failed = file:close()
    if ok then ok, failed = os.rename(part, path) end
    if not ok then return fail_io(failed) end
  end
  return sink
end

local function sink_of(opts)
  if opts.write then return function_sink(opts.write) end
  if type(opts.file) == "string" then return path_sink(opts.file) end
  if opts.file then return file_sink(opts.file) end
  return memory_sink()
end

-- ---- get --------------------------------------------------------------------------

local function damaged(store, object, text)
  return nil, api.failure("damaged", "store '%s': the object '%s' is damaged: %s", store.bucket,
    object.name, text)
end

---Reads chunk after chunk, never more than one at a time for the sink.
---@return boolean|nil ok, table|nil err
local function copy_chunks(store, object, digest, sink)
  if not object.nuid then return damaged(store, object, "nobody knows its chunks") end
  local reader <close>, err = js_chunks.open { stream = store.stream, count = object.chunks,
    subject = store.chunk_prefix .. object.nuid, chunk_size = object.chunk_size }
  if not reader then return nil, err end
  if reader.pending ~= object.chunks then
    return damaged(store, object, ("%d chunks instead of %d"):format(reader.pending,
      object.chunks))
  end
  local size = 0
  for _ = 1, object.chunks do
    local chunk
    chunk, err = reader:next()
    if not chunk then return nil, err end
    size = size + #chunk
    digest:update(chunk)
    local ok
    ok, err = sink.write(chunk)
    if not ok then return nil, err end
    core.sleep(0) -- others get their turn
  end
  if size ~= object.size then
    return damaged(store, object, ("%d bytes instead of %d"):format(size, object.size))
  end
  return true
end

local function copy(store, object, sink)
  local digest = core.sha256()
  if object.size > 0 then
    local ok, err = copy_chunks(store, object, digest, sink)
    if not ok then return nil, err end
  end
  -- Clients differ in whether they pad base64.
  local sum, want = info.digest_text(digest):gsub("=+$", ""), object.digest or ""
  if want ~= "" and sum ~= want:gsub("=+$", "") then
    return damaged(store, object, "its digest is another one")
  end
  return true
end

---Follows links to the object itself.
---@return object_store|nil store, object_info|table object or err
local function resolve(store, name)
  for _ = 0, MAX_LINKS do
    local object, err = info.get(store, name)
    if not object then return nil, err end
    local link = object.link
    if not link then return store, object end
    if not link.name then
      return nil, api.failure("jetstream", "store '%s': '%s' is a link to the whole store '%s'",
        store.bucket, name, link.bucket)
    end
    if link.bucket ~= store.bucket then
      store, err = store.open(link.bucket)
      if not store then return nil, err end
    end
    name = link.name
  end
  return nil, api.failure("jetstream", "store '%s': too many links at '%s'", store.bucket, name)
end

local OPTIONS = { write = "function", file = "string|userdata" }

---Reads an object. Without options it is returned as a string; with { write = fn } or
---{ file = path or open file } it goes there piece by piece, and the info is returned.
---@param self object_store
---@param name string
---@param opts table|nil
---@return string|object_info|nil data, table|nil err
function M.get(self, name, opts)
  info.check_name(name, "store:get")
  opts = core.check("store:get", opts, OPTIONS)
  if opts.file and core.unreadable then
    error("store:get: file is not available with --libs safe", 2)
  end
  if type(opts.file) == "userdata" and io.type(opts.file) ~= "file" then
    error("store:get: file must be a path or an open file", 2)
  end
  if opts.file and opts.write then error("store:get: either write or file", 2) end
  local store, object = resolve(self, name)
  if not store then return nil, object end
  local sink, err = sink_of(opts)
  if not sink then return nil, err end
  local _ <close> = setmetatable({}, { __close = function() sink.abort() end })
  local ok, data
  ok, err = copy(store, object, sink)
  if not ok then return nil, err end
  data, err = sink.finish()
  if err then return nil, err end
  return data or object
end

-- ---- all objects ------------------------------------------------------------------

local function all(store, policy)
  return { stream = store.stream, filter = store.meta_prefix .. ">",
    config = { deliver_policy = policy or "last_per_subject" } }
end

local function decode(store, msg)
  local meta = msg.metadata
  return info.decode(store, msg.raw, meta.timestamp, meta.stream_sequence)
end

---The objects of a store, the one changed last at the end.
---@param self object_store
---@param opts { deleted: boolean|nil }|nil  deleted ones, too
---@return object_info[]|nil objects, table|nil err
function M.list(self, opts)
  opts = core.check("store:list", opts, { deleted = "boolean" })
  local by_name, order = {}, {}
  local ok, err = watching.collect(all(self), function(msg)
    local object = decode(self, msg)
    if not object then return end
    if not by_name[object.name] then order[#order + 1] = object.name end
    by_name[object.name] = object
  end)
  if not ok then return nil, err end
  local list = {}
  for _, name in ipairs(order) do
    local object = by_name[name]
    if opts.deleted or not object.deleted then list[#list + 1] = object end
  end
  return list
end

local WATCH_OPTIONS = { updates_only = "boolean", ignore_deletes = "boolean",
  on_initial = "function", on_error = "function" }

---Calls fn with the info of the objects that exist, and then of each that changes.
---@param self object_store
---@param opts table|nil
---@param fn fun(object: object_info)
---@return watch_handle|nil handle, table|nil err
function M.watch(self, opts, fn)
  if fn == nil then opts, fn = nil, opts end
  opts = core.check("store:watch", opts, WATCH_OPTIONS)
  check.fn("store:watch", fn)
  local config = all(self, opts.updates_only and "new")
  config.on_initial, config.on_error = opts.on_initial, opts.on_error
  function config.on_message(msg)
    local object, err = decode(self, msg)
    if not object then return core.report(err.message) end
    if not (object.deleted and opts.ignore_deletes) then fn(object) end
  end
  return watching.open(config)
end

return M
