---Storing an object: cut into chunks, hashed on the way, with a bounded number of chunks that
---the server has not confirmed yet.
local core = require "lunats.core"
local check = require "lunats.check"
local api = require "lunats.js.api"
local bucket = require "lunats.js.bucket"
local info = require "lunats.js.object_info"
local publishing = require "lunats.js.publish"

local M = {}

local CHUNK_SIZE = 128 * 1024
---Chunks on their way at a time, so a put needs about 1 MiB whatever the size of the object.
local WINDOW = 8
---Seconds until a chunk must be confirmed.
local TIMEOUT = 10
local PURGE_ATTEMPTS = 20

---@return string 22 letters and digits that nobody else uses
function M.new_nuid()
  local inbox = core.new_inbox():gsub("[^A-Za-z0-9]", "")
  return inbox:sub(-22)
end

-- ---- where the bytes come from ------------------------------------------------------

---A function that returns the next piece, nil at the end, or nil and an err.
local function reader_of(data, size)
  if type(data) == "function" then return data end
  if type(data) == "string" then
    local at = 1
    return function()
      if at > #data then return nil end
      at = at + size
      return data:sub(at - size, at - 1)
    end
  end
  return function()
    local piece, text = data:read(size)
    if text then return nil, core.error("io", "cannot read the file: " .. text) end
    return piece
  end
end

---A function that returns pieces of exactly `size` bytes, but for the last one.
local function chunks_of(read, size)
  local piece, at, ended = "", 1, false
  return function()
    local parts, missing = {}, size
    while missing > 0 and not ended do
      if at > #piece then
        local err
        piece, err = read()
        if err then return nil, err end
        if piece ~= nil and type(piece) ~= "string" then
          error("store:put: the function must return strings, not a " .. type(piece), 0)
        end
        ended, piece, at = piece == nil, piece or "", 1
      else
        local part = piece:sub(at, at + missing - 1)
        at, missing = at + #part, missing - #part
        parts[#parts + 1] = part
      end
    end
    if parts[2] then return table.concat(parts) end
    return parts[1]
  end
end

-- ---- the way to the server ------------------------------------------------------------

---@class object_put.window
local window = {}
window.__index = window

---@return table|nil err
local function failure_of(subject, msg, err)
  if not msg then
    if err.code ~= "no_responders" then return err end
    return api.failure("no_stream", "no stream takes the subject '%s'", subject)
  end
  return select(2, publishing.pub_ack(subject, msg))
end

---A chunk is never sent a second time: it would come after those that follow it.
local function send(self, chunk)
  local msg, err = core.request(self.subject, chunk, { timeout = TIMEOUT })
  self.outstanding = self.outstanding - 1
  self.err = self.err or failure_of(self.subject, msg, err)
  self.alarm:ring()
end

---Waits until at most `count` chunks are on their way.
---@return boolean|nil ok, table|nil err
local function wait(self, count)
  local due = core.clock() + TIMEOUT + 1
  while self.outstanding > count and not self.err do
    local left = due - core.clock()
    if left <= 0 then return nil, core.error("timeout", "a chunk was not confirmed") end
    self.alarm:sleep(left)
  end
  if self.err then return nil, self.err end
  return true
end

local function transfer(self, next_chunk)
  local digest, size, count = core.sha256(), 0, 0
  while true do
    local chunk, err = next_chunk()
    if err then return nil, err end
    if not chunk then break end
    digest:update(chunk)
    size, count = size + #chunk, count + 1
    local ok
    ok, err = wait(self, WINDOW - 1)
    if not ok then return nil, err end
    self.outstanding = self.outstanding + 1
    core.spawn(send, self, chunk)
    core.sleep(0) -- it is sent, and others get their turn
  end
  local ok, err = wait(self, 0)
  if not ok then return nil, err end
  return { size = size, chunks = count, digest = info.digest_text(digest) }
end

---The server is not there, or chunks are still on their way: they go later.
local function purge_later(stream, subject)
  for attempt = 1, PURGE_ATTEMPTS do
    core.sleep(math.min(2 ^ (attempt - 1), 30))
    local ok, err = bucket.purge(stream, subject)
    if ok or err.code == "not_found" then return end
  end
end

---Whatever ends a put early, the chunks do not stay: also when its fiber is cancelled. Servers
---from 2.10 on may do what is asked for here before they store the chunks that came first.
local cleanup = {
  __close = function(self)
    if self.kept then return end
    api.tell("STREAM.PURGE." .. self.store.stream, { filter = self.subject })
    core.background(purge_later, self.store.stream, self.subject)
  end,
}

---Chunks that are still on their way would come after the purge.
local function discard(self)
  repeat
    self.err = nil
    wait(self, 0)
  until not self.err -- each of them may fail like the first
  self.guard.kept = true
  if not bucket.purge(self.store.stream, self.subject) then
    core.background(purge_later, self.store.stream, self.subject)
  end
end

---@return table|nil sums { size =, chunks =, digest = }, table|nil err
local function put_chunks(store, nuid, next_chunk, finish)
  local subject = store.chunk_prefix .. nuid
  local guard <close> = setmetatable({ subject = subject, store = store }, cleanup)
  local self = setmetatable({ subject = subject, store = store, outstanding = 0, guard = guard,
    alarm = core.alarm() }, window)
  local ok, sums, err = xpcall(transfer, function(raised)
    return core.cancelled() and raised or debug.traceback(raised, 2)
  end, self, next_chunk)
  local object
  if ok and sums then object, err = finish(sums) end
  if object then
    guard.kept = true
    return object
  end
  if not ok and core.cancelled() then error(sums, 0) end
  discard(self)
  if not ok then error(sums, 0) end
  return nil, err
end

-- ---- put --------------------------------------------------------------------------

local OPTIONS = { description = "string", headers = "table", metadata = "table",
  chunk_size = "number" }

---On the wire each header is a list.
local function header_lists(headers)
  if not headers or next(headers) == nil then return nil end
  local lists = {}
  for name, value in next, headers do
    lists[name] = type(value) == "table" and value or { tostring(value) }
  end
  return lists
end
M.header_lists = header_lists

local function check_put(name, data, opts)
  info.check_name(name, "store:put", 2)
  if type(data) ~= "string" and type(data) ~= "function" and io.type(data) ~= "file" then
    error(("store:put: a string, a function or an open file expected, got %s"):format(
      io.type(data) or type(data)), 3)
  end
  opts = core.check("store:put", opts, OPTIONS)
  local size = opts.chunk_size
  check.whole("store:put", "chunk_size", size, 1)
  return opts, size or math.min(CHUNK_SIZE, core.nats_info().max_payload or CHUNK_SIZE)
end

---Stores an object, replacing the one of that name.
---@param self object_store
---@param name string
---@param data string|file*|fun(): string|nil, table|nil  a function returns the next piece
---@param opts table|nil
---@return object_info|nil info, table|nil err
function M.put(self, name, data, opts)
  local size, old
  opts, size = check_put(name, data, opts)
  local nuid = M.new_nuid()
  local function replace(object)
    local err
    old, err = info.get(self, name, true)
    if not old and err.code ~= "not_found" then return nil, err end
    return info.put(self, object, old)
  end
  local function finish(sums)
    local metadata = opts.metadata
    return info.retry(replace, { name = name, nuid = nuid, size = sums.size,
      chunks = sums.chunks, digest = sums.digest, chunk_size = size,
      description = opts.description, headers = header_lists(opts.headers),
      metadata = metadata and next(metadata) ~= nil and metadata or nil })
  end
  local object, err = put_chunks(self, nuid, chunks_of(reader_of(data, size), size), finish)
  if not object then return nil, err end
  if old and old.nuid and not old.deleted and not old.link then
    local ok, failed = bucket.purge(self.stream, self.chunk_prefix .. old.nuid)
    if not ok then
      core.log(2, ("store '%s': chunks of the old '%s' remain: %s"):format(self.bucket, name,
        failed.message))
    end
  end
  return object
end

return M
