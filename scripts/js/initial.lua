---What was there when a reader began: when has it seen all of that, while others write?
---
---No count of the server tells. A consumer's num_pending also counts what comes later, and what
---is replaced before it is read goes out of it (servers from 2.9 to 2.15 say 0 too early). So
---the subjects that exist are listed at the beginning, and everything has been seen when each
---of them has come, or is gone. A value that is replaced all the time comes as well: whatever
---is the newest one at a moment lies before the reader, or has been read.
local api = require "lunats.js.api"

---What servers write for bytes that are not UTF-8: such a subject cannot be recognized.
local REPLACEMENT = "\xEF\xBF\xBD"

---@class initial
---@field over boolean it has seen all
---@field created string|nil when the stream was made
---@field missing table<string, true> subjects that have not come yet
---@field passed boolean no message of the beginning lies before the reader
local initial = {}
initial.__index = initial

---@param seen table<string, true> of the pages before, of this filter
---@return integer|nil count 0: it was the last one
---@return table|nil err
local function add_page(self, filter, offset, subjects, seen)
  local reply, err = api.raw("STREAM.INFO." .. self.stream,
    { subjects_filter = filter, offset = offset > 0 and offset or nil })
  if not reply then return nil, err end
  self.last, self.created = self.last or reply.state.last_seq, reply.created
  local page, count, new = reply.state.subjects or {}, 0, false
  for subject, messages in pairs(page) do
    count = count + 1
    new, seen[subject] = new or not seen[subject], true
    if not subject:find(REPLACEMENT, 1, true) then subjects[subject] = messages end
  end
  if count == 0 or offset + count >= (reply.total or 0) then return 0 end
  if not new then return nil, api.repeats("STREAM.INFO." .. self.stream) end
  return count
end

---@return table<string, integer>|nil subjects with the number of their messages, table|nil err
local function list(self)
  local subjects = {}
  for _, filter in ipairs(self.filters) do
    local offset, seen = 0, {}
    repeat
      local count, err = add_page(self, filter, offset, subjects, seen)
      if not count then return nil, err end
      offset = offset + count
    until count == 0
  end
  return subjects
end

---Whether a message of the beginning comes after that sequence.
local function is_ahead(self, sequence)
  for _, filter in ipairs(self.filters) do
    local reply = api.raw("STREAM.MSG.GET." .. self.stream,
      { seq = sequence + 1, next_by_subj = filter })
    if reply and reply.message.seq <= self.last then return true end
  end
  return false
end

local function look(self)
  self.over = self.passed and next(self.missing) == nil
  return self.over
end

---@return boolean over
function initial:see(msg)
  if self.over then return true end
  local meta = msg.metadata
  local sequence = meta.stream_sequence
  self.missing[msg.subject] = nil
  self.position = sequence
  if not self.passed then
    if sequence <= self.last then self.left = self.left - 1 end
    self.passed = sequence >= self.last or self.left <= 0
      or meta.num_pending == 0 and not is_ahead(self, sequence)
  end
  return look(self)
end

---Whether the reader has left a subject behind: servers of 2.10 deliver another message for one
---that looks like a pattern.
local function is_behind(self, subject)
  local reply = api.raw("STREAM.MSG.GET." .. self.stream, { last_by_subj = subject })
  return reply ~= nil and reply.message.seq <= self.position
end

---Nothing has come for a while: what is missing may be gone.
---@return boolean over
function initial:look_again()
  local subjects = list(self)
  if not subjects then return false end
  for subject in pairs(self.missing) do
    if not subjects[subject] then self.missing[subject] = nil end
  end
  for subject in pairs(self.missing) do
    if not is_behind(self, subject) then break end
    self.missing[subject] = nil
  end
  self.passed = self.passed or not is_ahead(self, self.position)
  return look(self)
end

---To be called before the consumer is made.
---@param stream string
---@param filter string|string[]
---@param config table of the consumer
---@return initial|nil initial, table|nil err
local function new(stream, filter, config)
  local self = setmetatable({ stream = stream, position = 0, left = 0, missing = {},
    filters = type(filter) == "table" and filter or { filter } }, initial)
  local policy = config.deliver_policy
  if policy == "new" then
    self.passed = true
    look(self)
    return self
  end
  local subjects, err = list(self)
  if not subjects then return nil, err end
  if policy == "by_start_sequence" then
    -- Which subjects have messages from there on is not in the list.
    self.position, self.left = config.opt_start_seq - 1, math.huge
    self.passed = not is_ahead(self, self.position)
  else
    for subject, messages in pairs(subjects) do
      self.missing[subject], self.left = true, self.left + messages
    end
    self.passed = policy == "last_per_subject" or self.left == 0
  end
  look(self)
  return self
end

return new
