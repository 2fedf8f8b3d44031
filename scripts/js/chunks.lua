---Reading the chunks of an object in order. The server sends a few at a time and only when they
---are asked for, so a slow reader does not fill the memory.
local core = require "lunats.core"
local api = require "lunats.js.api"
local consumers = require "lunats.js.consumers"

local M = {
  ---Seconds without a chunk after which reading fails.
  patience = 20,
}

---Bytes to ask for at a time, and chunks at most, however small they are.
local WINDOW, MOST = 1024 * 1024, 256
local DEFAULT_CHUNK = 128 * 1024
local RETRY_DELAY = 0.25
---Seconds for one request; a silence of two heartbeats means that nobody serves it.
local FETCH_TIMEOUT, HEARTBEAT = 2, 0.5
local INACTIVE_THRESHOLD = 300

---Errors that do not pass.
local GONE = { not_found = true, closed = true, damaged = true }

---@class js_chunks
---@field pending integer chunks that the server has
local reader = {}
reader.__index = reader

---The next one begins behind the last chunk that was read.
local function forget(self)
  if self.pull then
    self.pull:close()
    consumers.forget(self.stream, self.consumer)
  end
  self.pull, self.list, self.at = nil, {}, 1
end

---@return table|nil info, table|nil err
local function create(self)
  local fields = { filter_subject = self.subject, ack_policy = "none", mem_storage = true,
    num_replicas = 1, inactive_threshold = INACTIVE_THRESHOLD }
  if self.sequence > 0 then consumers.start_after(fields, self.sequence) end
  local info, err = consumers.create(self.stream, fields)
  if not info then return nil, err end
  if info.num_pending < self.left then
    consumers.forget(self.stream, info.name)
    return nil, api.failure("damaged", "%d chunks are missing: the object was replaced or "
      .. "deleted, or it is damaged", self.left - info.num_pending)
  end
  self.consumer, self.expected = info.name, 1
  self.pull = core.js_pull(self.stream, self.consumer, api.prefix)
  return info
end

---@return boolean|nil ok, table|nil err
local function fetch(self, timeout)
  if not self.pull then
    local info, err = create(self)
    if not info then return nil, err end
  end
  local list, err = self.pull:fetch(math.min(self.batch, self.left), timeout, false, nil,
    math.min(HEARTBEAT, timeout / 3), nil, "string")
  if not list then return nil, err end
  if #list == 0 then return nil, core.error("timeout", "a chunk did not come in time") end
  self.list, self.at = list, 1
  return true
end

---What has come already, if it is the next one.
local function read(self)
  local msg = self.list[self.at]
  if not msg then return nil end
  self.list[self.at], self.at = false, self.at + 1
  local meta = msg.metadata
  if meta.consumer_sequence ~= self.expected then -- one was lost on the way
    forget(self)
    return nil
  end
  self.expected, self.sequence = self.expected + 1, meta.stream_sequence
  self.left = self.left - 1
  return msg.raw
end

---@return string|nil chunk, table|nil err
function reader:next()
  local due = core.clock() + M.patience
  while true do
    local chunk = read(self)
    if chunk then return chunk end
    local timeout = math.min(due - core.clock(), FETCH_TIMEOUT)
    local ok, err = fetch(self, math.max(timeout, 0.5))
    if not ok then
      forget(self)
      local gone = GONE[err.code]
      if gone or core.clock() + RETRY_DELAY >= due then return nil, err end
      core.sleep(RETRY_DELAY)
    end
  end
end

reader.close = forget
reader.__close = forget

---@param opts table { stream =, subject =, count =, chunk_size = }
---@return js_chunks|nil reader, table|nil err
function M.open(opts)
  local size = opts.chunk_size or DEFAULT_CHUNK
  local self = setmetatable({ stream = opts.stream, subject = opts.subject, sequence = 0,
    left = opts.count, batch = math.max(1, math.min(WINDOW // size, MOST)), list = {}, at = 1 },
    reader)
  local info, err = create(self)
  if not info then return nil, err end
  self.pending = info.num_pending
  return self
end

return M
