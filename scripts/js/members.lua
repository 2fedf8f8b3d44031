---The members of consumer groups: which of them there are, and which partitions this one reads.
---All is concluded from what the bucket of the leases has; that only balances, and may be wrong
---for a moment, as the leases decide.
local core = require "lunats.core"
local balance = require "lunats.js.balance"
local leases = require "lunats.js.lease"
local partition = require "lunats.js.partition"

local M = {
  ---Seconds for which what a member has left is not taken by others: it may only reload.
  calm = 0.5,
  ---Seconds before a member that could not read stands again: the first, the longest.
  retry_first = 1, retry_last = 30,
}

---Who needs the leases, for errors.
local WHAT = "app.js.consumer_group"

local gauge

-- ---- telling ------------------------------------------------------------------------

---Once for each reason.
function M.warn(self, text, reason)
  if self.warned ~= reason then core.log(2, ("%s: %s"):format(self.label, text)) end
  self.warned = reason
end

---The numbers of the partitions that this process reads.
---@return integer[]
function M.read(self)
  local list = {}
  for number, slot in pairs(self.slots) do
    if slot.handle and slot.held.lease:holds() then list[#list + 1] = number end
  end
  table.sort(list)
  return list
end

---@param count integer  of partitions that are read
function M.show(self, count)
  gauge = gauge or core.meter("gauge", "lunats_js_partitions",
    "Partitions of a consumer group that this instance reads.", { "stream", "group" }, {})
  gauge:set(count, { stream = self.stream, group = self.name })
end

local function show(self) M.show(self, #M.read(self)) end

-- ---- what the bucket has --------------------------------------------------------------

---@param what integer|string  a partition, or "member.<id>"
local function key_of(self, what) return ("%s.%s"):format(self.prefix, what) end

---What this member says of itself in its keys.
function M.value_of(self)
  return { service = app.name, instance = app.instance_id, member = self.member,
    holder = self.id, ttl = self.ttl }
end

local function slot_of(self, number)
  local slot = self.slots[number]
  if not slot then
    slot = { number = number, revision = 0 }
    self.slots[number] = slot
  end
  return slot
end

---A member is there, or gone.
local function note_member(self, key, value)
  local before = self.present[key]
  if value then
    value.ends = core.exact_clock() + value.ttl
    self.present[key] = value
  elseif before then
    self.present[key] = nil
    if before.instance ~= app.instance_id then
      self.calm_until = core.exact_clock() + M.calm
    end
  end
end

---A key has been changed.
---@param entry kv.entry
function M.note(self, entry)
  local what = entry.key:sub(#self.prefix + 2)
  local value = entry.operation == "PUT" and leases.value_of(entry.value) or nil
  local number = math.tointeger(tonumber(what))
  if number then
    leases.note(slot_of(self, number), entry.revision, value)
  else
    note_member(self, what, value)
  end
  self.alarm:ring()
end

---The lease could not be taken. What was seen of it may be old.
---@param slot partition
local function refused(self, slot, err)
  self.calm_until = core.exact_clock() + self.ttl / 12
  if err.code == "no_stream" then
    local _, missing = leases.ensure(WHAT)
    err = missing or err
  end
  if err.code == "wrong_last_sequence" or err.code == "no_stream" then
    leases.look(slot, key_of(self, slot.number))
  else
    M.warn(self, "nobody can read for now: " .. err.message, err.message)
  end
  self.alarm:ring()
end

-- ---- being a member -------------------------------------------------------------------

---A member that could not read leaves its share to the others for a while.
local function ail(self)
  if self.ailing then return end
  local now = core.exact_clock()
  if now - (self.ailed or -math.huge) > 60 then self.delay = M.retry_first end
  self.ailed, self.ailing = now, self.delay
  self.delay = math.min(self.delay * 2, M.retry_last)
  if self.place then self.place.lease:release() end
end

---Whether it may take partitions.
local function stands(self) return self.place ~= nil and self.place.lease:holds() end

---Keeps the key of this member in the bucket.
local function attend(self)
  core.label(self.label)
  while not self.stopped do
    if self.ailing then
      self.rest:sleep(self.ailing)
      self.ailing = nil
    end
    if self.stopped then return end
    local key = key_of(self, "member." .. core.new_inbox():match "[^.]+$")
    local held, err = leases.take(key, M.value_of(self), 0, true)
    if held then
      self.place = held
      self.alarm:ring()
      if not self.stopped then held.lease:wait() end
      held.lease:release()
      self.place = nil
    else
      if err.code == "no_stream" then
        local _, missing = leases.ensure(WHAT)
        err = missing or err
      end
      M.warn(self, "nobody can read for now: " .. err.message, err.message)
      self.rest:sleep(self.ttl / 6)
    end
  end
end

---Those that are there, as far as this one has seen.
---@return integer
function M.count(self)
  local holders, count, now = {}, 0, core.exact_clock()
  for _, one in pairs(self.present) do
    if one.ends > now and not holders[one.holder] then
      holders[one.holder], count = true, count + 1
    end
  end
  return count
end

-- ---- balancing ------------------------------------------------------------------------

---The other members that may read what this one may, each with 0.
---@return table<string, integer> others, number next  when one of them is gone
local function others_of(self, now)
  local others, next_look = {}, math.huge
  for key, one in pairs(self.present) do
    if one.ends <= now then
      self.present[key] = nil
    elseif one.holder ~= self.id then
      next_look = math.min(next_look, one.ends)
      if one.member == self.member then others[tostring(one.holder)] = 0 end
    end
  end
  return others, next_look
end

---Whether this member may read a partition.
local function is_meant(self, number)
  local shape = self.shape
  return shape ~= nil and number < shape.count
    and (self.member == nil or shape.owners[number] == self.member)
end

---What is to be seen of the partitions that this member may read.
local function survey(self, now)
  local seen = { mine = {}, free = {}, coming = 0 }
  seen.others, seen.next_look = others_of(self, now)
  for number = 0, self.shape and self.shape.count - 1 or -1 do
    local slot = slot_of(self, number)
    if slot.leaving then
      seen.coming = seen.coming + 1
    elseif slot.own then
      seen.mine[#seen.mine + 1] = slot
    elseif is_meant(self, number) then
      if not slot.ends or slot.ends <= now then
        seen.free[#seen.free + 1] = slot
      else
        seen.next_look = math.min(seen.next_look, slot.ends)
        local has = seen.others[slot.holder]
        if has then seen.others[slot.holder] = has + 1 end
      end
    end
  end
  return seen
end

---Takes the lease of a partition, if nobody is faster, and reads it while that is held.
local function serve(self, slot)
  core.label(self.label)
  local held, err = leases.take(key_of(self, slot.number), M.value_of(self), slot.revision,
    true)
  if not held then
    slot.own, slot.leaving = nil, nil
    return refused(self, slot, err)
  end
  local lost
  lost, err = partition.read(self, slot, held, function() show(self) end)
  show(self)
  if lost then
    core.log(2, ("%s: partition %d is not read here any more: %s"):format(self.label,
      slot.number, lost))
  end
  if err then
    M.warn(self, ("cannot read partition %d: %s"):format(slot.number, err.message), err.message)
    ail(self)
  end
  self.alarm:ring()
end

---Begins anywhere, as others do so as well.
local function take(self, free, count)
  local first = math.floor(core.hrtime() * 1e6) % #free
  for i = 1, count do
    local slot = free[(first + i) % #free + 1]
    slot.own = true
    core.background(serve, self, slot)
  end
end

---@return number wait  seconds until it is worth another look
local function look(self)
  local now = core.exact_clock()
  for number, slot in pairs(self.slots) do
    if slot.own and not is_meant(self, number) then partition.leave(slot) end
  end
  local seen, counts = survey(self, now), {}
  for _, has in pairs(seen.others) do counts[#counts + 1] = has end
  local give, want = balance.decide(#seen.mine, #seen.free, seen.coming, counts)
  for i = 1, give do partition.leave(seen.mine[#seen.mine + 1 - i]) end
  if want > 0 and stands(self) then
    if now >= self.calm_until then
      take(self, seen.free, want)
    else
      seen.next_look = math.min(seen.next_look, self.calm_until)
    end
  end
  return math.max(math.min(seen.next_look - now, self.ttl), 0.01)
end

---Until the group is stopped. What the bucket has is known.
function M.tend(self)
  show(self)
  core.background(attend, self)
  while not self.stopped do
    self.alarm:sleep(look(self))
  end
  for _, slot in pairs(self.slots) do
    if slot.own then partition.leave(slot) end
  end
  if self.place then self.place.lease:release() end
end

return M
