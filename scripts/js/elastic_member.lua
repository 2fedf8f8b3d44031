---One member of an elastic consumer group, in this process. Each member has a consumer on the
---work queue of the group, which delivers the partitions that are its, and a lease says which
---process that consumer belongs to: only the holder makes, reads and deletes it. The server
---lets no two consumers of a work queue have the same subjects, so that a partition has one
---reader, whatever the members think of who should have it. A consumer is never given other
---subjects, as it would skip messages: it is deleted when the last handler has ended, and made
---anew.
local core = require "lunats.core"
local api = require "lunats.js.api"
local consumer = require "lunats.js.elastic_consumer"
local consumers = require "lunats.js.consumers"
local elastic = require "lunats.js.elastic"
local errors = require "lunats.js.errors"
local leases = require "lunats.js.lease"
local members = require "lunats.js.members"
local publishing = require "lunats.js.publish"
local pull = require "lunats.js.pull"
local streams = require "lunats.js.streams"

local M = {
  format = elastic,
  ---What the bucket of the leases has of it begins with it.
  prefix = "=elastic",
  ---Seconds before a member that could not read stands again: the first, the longest.
  retry_first = 1, retry_last = 30,
}

---Who needs the leases, for errors.
local WHAT = "app.js.consumer_group"

---Seconds between two looks: whether the last handler has ended, whether others have left the
---partitions that are ours now.
local LOOK, ASK = 0.01, 0.25

---Seconds: a consumer that is lost again that soon is not made again at once.
local SOON = 1

-- ---- what the buckets have ----------------------------------------------------------

local function key_of(self, member) return ("%s.lease.%s"):format(self.prefix, member) end

---@return lease_slot
local function slot_of(self, member)
  self.slots[member] = self.slots[member] or { revision = 0 }
  return self.slots[member]
end

---A key has been changed: the lease of a member, or one has begun to read.
---@param entry kv.entry
function M.note(self, entry)
  local member = entry.key:sub(#self.prefix + 2):match "^lease%.(.+)$"
  if member then
    leases.note(slot_of(self, member), entry.revision,
      entry.operation == "PUT" and leases.value_of(entry.value) or nil)
  end
  self.alarm:ring()
end

---Somebody has changed the group in the bucket.
---@param entry kv.entry
function M.reshape(self, entry)
  local shape, fault
  if entry.operation == "PUT" then
    shape, fault = elastic.parse(entry.value or "")
  else
    fault = "it was deleted"
  end
  if not shape then
    members.warn(self, "nobody reads until it is described again: " .. fault, fault)
  end
  self.shape = shape
  self.alarm:ring()
  self.rest:ring()
end

---Those that read or would.
---@return integer
function M.count(self)
  local count, now = 0, core.exact_clock()
  for _, slot in pairs(self.slots) do
    if slot.holder and slot.ends > now then count = count + 1 end
  end
  return count
end

---@return integer[]
function M.read(self)
  local reading = self.reading
  if not reading or not reading.held.lease:holds() then return {} end
  return table.move(reading.numbers, 1, #reading.numbers, 1, {})
end

---Seconds until a lease is free; 0: it is.
local function wait_for(slot)
  return slot.holder and math.max(slot.ends - core.exact_clock(), 0) or 0
end

---@return table|nil held, number|nil pause  seconds until another attempt
local function take(self, member)
  local slot = slot_of(self, member)
  local held, err = leases.take(key_of(self, member), members.value_of(self), slot.revision,
    true)
  if held then return held end
  if err.code == "no_stream" then
    local _, missing = leases.ensure(WHAT)
    err = missing or err
  end
  if err.code == "wrong_last_sequence" or err.code == "no_stream" then
    leases.look(slot, key_of(self, member))
    return nil, self.ttl / 12
  end
  members.warn(self, "cannot read for now: " .. err.message, err.message)
  return nil, self.ttl / 6
end

---What this member reads, as far as it has heard.
---@return integer[]
local function wanted(self)
  return self.shape and elastic.numbers_of(self.shape, self.member) or {}
end

-- ---- its consumer -------------------------------------------------------------------

---@return boolean|nil ok, table|nil err
local function check_work(self)
  local info, err = streams.stream_info(self.work)
  if not info and err.code == "not_found" then
    return api.not_found("the stream '%s' of the group is gone: app.js.create_elastic_group "
      .. "makes it again", self.work)
  end
  if not info then return nil, err end
  local fault = elastic.work_fault(self.stream, self.shape, info.config)
  if not fault then return true end
  return nil, api.failure("jetstream", "the stream '%s' cannot be that of the group: %s",
    self.work, fault)
end

---A process that has died has left its consumer behind, which keeps partitions that are ours
---now. One that lives will leave them itself; of programs other than this one nothing is known.
local function free_partitions(self, numbers)
  for _, info in ipairs(consumers.list(self.work) or {}) do
    local member = info.name
    if member ~= self.member and consumer.is_ours(info) and consumer.overlaps(info, numbers)
      and wait_for(slot_of(self, member)) == 0 then
      local held = take(self, member)
      local now = held and consumers.info(self.work, member)
      if now and consumer.overlaps(now, numbers) and consumer.drop(self.work, member) then
        core.log(1, ("%s: nobody reads for '%s': its consumer had partitions of '%s', and is "
          .. "deleted"):format(self.label, member, self.member))
      end
      if held then held.lease:release() end
    end
  end
end

---The consumer of this member, with the partitions that are its now.
---@return boolean|nil ok, table|nil err
local function claim(self, numbers)
  local ok, err = check_work(self)
  if ok then ok, err = consumer.claim(self, numbers) end
  if ok then return true end
  if err.err_code == errors.NOT_UNIQUE then free_partitions(self, numbers) end
  return nil, err
end

-- ---- reading ------------------------------------------------------------------------

---A number that grows with each new reader of a partition: the one before has ended when the
---consumer could be made.
---@return integer|nil token, table|nil err
local function new_token(self)
  local subject = leases.put_subject(self.prefix .. ".token")
  local ack, err = publishing.publish(subject, { member = self.member, holder = self.id },
    { timeout = self.ttl / 6 })
  return ack and ack.seq, err
end

---A handler runs under the lease, and with it ends what it has started.
local function fenced(self, held, token)
  local fn, partitions = self.fn, {}
  return function(msg)
    held.lease:enter()
    if core.cancelled() then core.sleep(0) end -- which raises
    local number = math.tointeger(tonumber(core.js_stripped(msg)))
    if not number then return nil, "its subject does not begin with a partition" end
    partitions[number] = partitions[number] or { number = number, token = token }
    return fn(msg, partitions[number])
  end
end

---The server counts tokens with the number before them, which handlers do not see.
---@param key function|string|nil
local function key_with_number(key)
  local token = type(key) == "string" and key:match "^subject:(%d+)$"
  if token then return ("subject:%d"):format(tonumber(token) + 1) end
  return key or "subject:1"
end

---@return consume|nil handle, table|nil err, psub psub
local function open(self, held, numbers, token, on_error)
  local opts = { on_error = on_error }
  for name, value in pairs(self.opts) do opts[name] = value end
  opts.key = key_with_number(self.key)
  if not self.key then -- each partition by itself, as those of other groups are
    opts.concurrency = opts.concurrency or #numbers
  end
  local psub = pull.subscribe(nil, { stream = self.work, durable = self.member,
    group = elastic.PRIORITY_GROUP })
  psub.unwatched, psub.sole, psub.strip = true, true, true
  psub.lease = held.lease
  local handle, err = psub:consume(opts, fenced(self, held, token))
  if handle then -- with its subjects it can only be made by claim()
    function handle.create_again(why) return nil, consumers.lost_error(psub, why) end
  end
  return handle, err, psub
end

local function finish(handle)
  handle:stop()
  while not handle:closed() do core.sleep(LOOK) end
end

local function is_same(list, other)
  return table.concat(list, " ") == table.concat(other, " ")
end

---Reads as long as nothing changes.
---@return table|nil err
local function read(self, held, numbers)
  local token, err = new_token(self)
  if not token then return err end
  local failure
  local shape = self.shape
  local handle, why, psub = open(self, held, numbers, token, function(lost)
    failure = lost
    self.alarm:ring()
  end)
  if handle then
    self.reading = { held = held, numbers = numbers }
    members.show(self, #numbers)
    self.warned = nil
    while not (failure or held.over or self.stopped) and is_same(wanted(self), numbers)
      and elastic.same(self.shape, shape) do
      self.alarm:sleep(self.ttl)
    end
    finish(handle)
    self.reading = nil
    members.show(self, 0)
  end
  psub:stop()
  return why or failure
end

-- ---- being a member -------------------------------------------------------------------

local function await_end(self, held)
  core.label(self.label)
  held.lost = held.lease:wait()
  held.over = true
  self.alarm:ring()
end

---What has gone wrong, and whether it may be tried again at once.
---@return number|nil pause  seconds; nil: the lease is given back first
local function pause_after(self, err, began)
  if err.err_code == errors.NOT_UNIQUE then return ASK end
  if err.code == "consumer_lost" then
    core.log(2, ("%s: %s"):format(self.label, err.message))
    return core.exact_clock() - began < SOON and SOON or 0
  end
  members.warn(self, "cannot read: " .. err.message, err.message)
end

---Reads under the lease of the member.
---@return boolean|nil failed
local function serve(self, held)
  core.background(await_end, self, held)
  local failed = false
  while not (self.stopped or held.over or failed) do
    local numbers, began = wanted(self), core.exact_clock()
    if #numbers == 0 then
      if self.shape then consumer.drop(self.work, self.member) end
      break
    end
    local ok, err = claim(self, numbers)
    if ok then err = read(self, held, numbers) end
    if err and not (self.stopped or held.over) and self.shape then
      local pause = pause_after(self, err, began)
      failed = pause == nil
      if pause and pause > 0 then self.alarm:sleep(pause) end
    end
  end
  if held.lost then
    core.log(2, ("%s: '%s' is not read here any more: %s"):format(self.label, self.member,
      held.lost))
  end
  held.lease:release()
  return failed
end

---@param text string  once, until it is something else
local function tell(self, text)
  if self.told ~= text then core.log(1, ("%s: %s"):format(self.label, text)) end
  self.told = text
end

---@return number seconds until it is worth another look
local function step(self)
  if self.shape and #wanted(self) == 0 then
    tell(self, ("'%s' is no member that reads anything, and waits until it is"):format(
      self.member))
  end
  if #wanted(self) == 0 then return self.ttl end
  local slot = slot_of(self, self.member)
  local wait = wait_for(slot)
  if wait > 0 then
    if slot.holder ~= self.id then
      tell(self, ("another process reads for '%s'"):format(self.member))
    end
    return wait
  end
  local held, pause = take(self, self.member)
  if not held then return pause end
  self.told = nil
  if not serve(self, held) then
    self.delay = M.retry_first
    return LOOK
  end
  self.rest:sleep(self.delay)
  self.delay = math.min(self.delay * 2, M.retry_last)
  return LOOK
end

---Until the group is stopped. What the buckets have is known.
function M.tend(self)
  members.show(self, 0)
  while not self.stopped do
    local pause = step(self)
    if not self.stopped then self.alarm:sleep(pause) end
  end
end

---Finds out whether it can begin.
---@return boolean|nil ok, table|nil err
function M.prepare(self)
  local ok, err = api.need_level(api.LEVEL_2_11, "elastic consumer groups")
  if not ok then return nil, err end
  self.work = elastic.work_of(self.stream, self.name)
  self.shape, err = elastic.read(self.stream, self.name)
  if not self.shape then return nil, err end
  return check_work(self)
end

return M
