---app.js.consumer_group: a stream is read by several processes, in order per key. Its subjects
---say which partition a message is in. Each partition has a consumer, and a lease says which
---process reads it. Who reads how many is found out by the bucket of the leases: it has a key
---of each member, too, and all of them watch it (lunats.js.members).
local core = require "lunats.core"
local check = require "lunats.check"
local api = require "lunats.js.api"
local consume = require "lunats.js.consume"
local elastic_member = require "lunats.js.elastic_member"
local entries = require "lunats.js.kv_entry"
local leases = require "lunats.js.lease"
local members = require "lunats.js.members"
local partition = require "lunats.js.partition"
local partitions = require "lunats.js.partitions"
local streams = require "lunats.js.streams"
local watching = require "lunats.js.watch"

local M = {
  ---Seconds between two attempts to begin.
  retry = 1,
}

local WHAT = "app.js.consumer_group"

---A request of a reader that is gone must be over before another one reads: that is two thirds
---of the lease's time later, and the server lets none expire in less than a second.
local LEAST_TTL = 2

---Seconds, at most: as long the messages of a reader that has died keep the others waiting.
local ACK_WAIT = 5

---@class consumer_group
---@field stream string
---@field name string
---@field shape partitions|nil  nil: there is none for now
local group = {}

-- ---- beginning ------------------------------------------------------------------------

---Somebody has changed the group in the bucket.
---@param entry kv.entry
local function reshape(self, entry)
  local shape, fault
  if entry.operation == "PUT" then
    shape, fault = partitions.parse(entry.value or "")
    if shape then shape.subjects = shape.subjects or self.all end
  else
    fault = "it was deleted"
  end
  local before = self.shape
  if not shape then
    members.warn(self, "nobody reads until it is described again: " .. fault, fault)
  elseif before and (before.count ~= shape.count
    or table.concat(before.subjects, " ") ~= table.concat(shape.subjects, " ")) then
    core.log(2, self.label .. ": its partitions were changed, so the order of messages from "
      .. "before is not that of their keys")
  end
  self.shape = shape
  self.alarm:ring()
end

---@return watch_handle|nil handle, table|nil err
local function watch(self, stream, filter, bucket, fn)
  local handle, err = watching.open { stream = stream, filter = filter,
    config = { deliver_policy = "last_per_subject" },
    on_message = function(msg) fn(self, entries.from_msg(bucket, msg)) end }
  if not handle then return nil, err end
  self.watches[#self.watches + 1] = handle
  if self.stopped then handle:stop() end
  return handle:ready()
end

local function watch_all(self)
  local kind, format = self.kind, self.kind.format
  local ok, err = watch(self, leases.STREAM, leases.subject(self.prefix .. ".>"), leases.kv,
    kind.note)
  if ok and self.described then
    ok, err = watch(self, format.STREAM, format.subject_of(self.stream, self.name),
      { bucket = format.BUCKET, prefix = "" }, kind.reshape)
  end
  return ok, err
end

local function begin(self)
  core.label(self.label)
  while not self.stopped do
    local ok, err = watch_all(self)
    if ok then break end
    members.warn(self, "nobody can read for now: " .. err.message, err.message)
    for _, handle in ipairs(self.watches) do handle:stop() end
    self.watches = {}
    self.rest:sleep(M.retry)
  end
  self.kind.tend(self)
end

---The numbers that the server makes must be those that are read.
local function check_stream(self)
  local info, err = streams.stream_info(self.stream)
  if not info then return nil, err end
  self.all = partitions.all_of(info.config)
  self.shape.subjects = self.shape.subjects or self.all
  local dest = (info.config.subject_transform or {}).dest or ""
  local made = tonumber(dest:match "[Pp]artition%(%s*(%d+)")
  if made and made ~= self.shape.count then
    return nil, api.failure("jetstream", "the subject_transform of the stream '%s' makes %d "
      .. "partitions, and the group has %d", self.stream, made, self.shape.count)
  end
  return true
end

local function has_member(self)
  local known = {}
  for number = 0, self.shape.count - 1 do
    local owner = self.shape.owners[number]
    if owner == self.member then return true end
    if owner and not known[owner] then
      known[owner], known[#known + 1] = true, owner
    end
  end
  return nil, api.failure("not_found", "there is no member '%s' that reads anything, only: %s",
    self.member, #known > 0 and table.concat(known, ", ") or "none")
end

---@return boolean|nil ok, table|nil err
local function prepare_static(self)
  local ok, err = true, nil
  if self.described then
    self.shape, err = partitions.read(self.stream, self.name)
    ok = self.shape
  end
  if ok and self.member then ok, err = has_member(self) end
  if ok then ok, err = check_stream(self) end
  if ok then ok, err = partition.consumer(self, 0) end
  return ok, err
end

---What is different of elastic groups.
local STATIC = { format = partitions, prefix = "=group", prepare = prepare_static,
  reshape = reshape, note = members.note, tend = members.tend, read = members.read,
  count = members.count }

---Finds out whether it can begin.
---@return boolean|nil ok, table|nil err
local function prepare(self)
  self.id = core.new_inbox():match "[^.]+$"
  local ok, err = leases.ensure(WHAT)
  if ok then ok, err = self.kind.prepare(self) end
  if ok then return true end
  err.message = ("%s: %s"):format(self.label, err.message)
  return nil, err
end

-- ---- the call -------------------------------------------------------------------------

local OWN = { partitions = "number", subject = "string|table", member = "string",
  elastic = "boolean", ttl = "number", config = "table" }

---Options of psub:consume that make sense here.
local PASSED = { key = "function|string", concurrency = "number", max_messages = "number",
  pending = "number", pending_bytes = "number", manual_ack = "boolean", backoff = "table",
  max_deliver = "number", dead_letter = "string", data_type = "string|table" }

local OPTIONS = {}
for _, from in ipairs { OWN, PASSED } do
  for name, kind in pairs(from) do OPTIONS[name] = kind end
end

---Fields of a consumer that are not the script's to say.
local TAKEN = { "name", "durable_name", "filter_subject", "filter_subjects", "deliver_subject",
  "ack_policy", "max_deliver", "priority_groups", "inactive_threshold" }
---The same, of elastic groups.
local TAKEN_ELASTIC = { "priority_policy", "priority_timeout", "deliver_policy",
  "opt_start_seq", "opt_start_time" }

local function check_taken(opts, taken)
  for _, name in ipairs(taken) do
    if (opts.config or {})[name] ~= nil then
      core.blame(("%s: config: '%s' is not for you to say"):format(WHAT, name))
    end
  end
end

local function check_elastic(opts)
  for _, name in ipairs { "partitions", "subject" } do
    if opts[name] then
      core.blame(("%s: elastic: no `%s` with it, that is what app.js.create_elastic_group has "
        .. "said"):format(WHAT, name))
    end
  end
  if not opts.member then core.blame(WHAT .. ": elastic: which `member` reads here?") end
  api.check_name(opts.member, WHAT .. ": member", 3)
  check_taken(opts, TAKEN_ELASTIC)
end

local function check_own(opts)
  if opts.elastic then check_elastic(opts) end
  check.whole(WHAT, "partitions", opts.partitions, 1, partitions.MOST)
  if not opts.partitions and opts.subject then
    core.blame(WHAT .. ": subject: only with `partitions`; else the bucket has the filters")
  end
  if opts.partitions and opts.member then
    core.blame(WHAT .. ": member: members are those that the bucket names, so no `partitions`")
  end
  if opts.ttl and not (opts.ttl >= LEAST_TTL and opts.ttl <= leases.MOST_TTL) then
    core.blame(("%s: ttl must be a number of seconds from %d to %d"):format(WHAT, LEAST_TTL,
      leases.MOST_TTL))
  end
  check_taken(opts, TAKEN)
end

local function ack_wait_of(ttl) return math.max(1, math.min(ACK_WAIT, ttl / 3)) end

---What each of its psub:consume() is given.
local function passed_on(opts, ttl)
  local passed = {}
  for name in pairs(PASSED) do passed[name] = opts[name] end
  if not opts.key and not opts.elastic then
    -- One after the other: what is behind it need not be here.
    passed.concurrency, passed.pending = passed.concurrency or 1, passed.pending or 1
  end
  passed.expires = math.max(1, math.min(30, ttl / 2))
  if opts.elastic then -- before the pin of the consumer runs out
    passed.expires = math.max(1, ack_wait_of(ttl) / 2)
  end
  passed.heartbeat = math.min(5, passed.expires / 2)
  return passed
end

local function new(stream, name, opts, fn)
  local ttl, kind = opts.ttl or leases.TTL, opts.elastic and elastic_member or STATIC
  local self = setmetatable({ stream = stream, name = name, member = opts.member, ttl = ttl,
    kind = kind, fn = fn, key = opts.key, config = opts.config,
    described = not opts.partitions, label = ("group %s of stream %s"):format(name, stream),
    prefix = ("%s.%s.%s"):format(kind.prefix, stream, name), opts = passed_on(opts, ttl),
    ack_wait = ack_wait_of(ttl),
    slots = {}, present = {}, watches = {}, calm_until = 0, delay = members.retry_first,
    alarm = core.alarm(), rest = core.alarm() }, group)
  if opts.partitions then
    self.shape = { count = opts.partitions,
      subjects = opts.subject and partitions.subjects(WHAT, opts.subject) }
  end
  return self
end

---Reads a stream together with all other members of the group, each partition in one of them.
---@param stream string
---@param name string
---@param opts table|nil
---@param fn fun(msg: msg, partition: table): any, any
---@return consumer_group|nil group, table|nil err
function M.consumer_group(stream, name, opts, fn)
  if fn == nil then opts, fn = nil, opts end
  check.fn(WHAT, fn)
  if rawget(core, "handle") then
    core.blame(WHAT .. ": works with the connection of the service, not of app.connect")
  end
  api.check_name(stream, WHAT .. ": the stream")
  if type(name) ~= "string" or not name:find "^[%w_=-]+$" or #name > 100 then
    core.blame(("%s: the name '%s' of a group may have letters, digits, '_', '-' and '='")
      :format(WHAT, check.shown(name)))
  end
  opts = core.check(WHAT, opts, OPTIONS)
  check_own(opts)
  local self = new(stream, name, opts, fn)
  local passed = { key = self.opts.key or "subject" }
  for option, value in pairs(self.opts) do passed[option] = value end
  consume.check(passed, fn, WHAT)
  core.declare()
  local function start() core.background(begin, self) end
  if core.loading() then
    core.defer_start(function()
      local ok, err = prepare(self)
      if not ok then error(err.message, 0) end
    end)
    core.at_run(start)
    return self
  end
  local ok, err = prepare(self)
  if not ok then return nil, err end
  core.at_run(start)
  return self
end

---The numbers of those that this process reads just now.
---@return integer[]
function group:partitions() return self.kind.read(self) end

---How many members there are, as far as this one has seen.
---@return integer
function group:members() return self.kind.count(self) end

---Reads no more: what is under way is finished, and the leases are given back.
function group:stop()
  self.stopped = true
  for _, handle in ipairs(self.watches) do handle:stop() end
  self.alarm:ring()
  self.rest:ring()
end

check.class("group", group)
M.methods = group

return M
