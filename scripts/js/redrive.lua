---Takes a dead letter back to where its message came from, once: however often this is called,
---by how many processes, and wherever one of them dies.
---
---Before it publishes, it marks the letter in a bucket; when the stream has acknowledged, it
---deletes the letter and then the mark. A mark that is found tells of a redrive that has not
---come to its end: then the stream is looked through for the message, which bears an id of its
---own. Where a message that was never there cannot be told from one that is gone already, the
---letter stays.
local core = require "lunats.core"
local api = require "lunats.js.api"
local bucket = require "lunats.js.bucket"
local kv = require "lunats.js.kv"
local letters = require "lunats.js.letter"
local publishing = require "lunats.js.publish"
local streams = require "lunats.js.streams"
local subjects = require "lunats.subject"

local M = {
  BUCKET = "LUNATS_REDRIVE",
  ---How much of the duplicate window of a stream is relied on: the clocks of two servers may
  ---differ.
  window_share = 0.5,
  ---Seconds between a mark and what is published under it: whoever is later than that may have
  ---been overtaken.
  haste = 10,
}

---How often a letter is looked at that others take back as well.
local CLAIMS = 20

local READ = { data_type = "string", direct = false }

-- ---- where it goes ----------------------------------------------------------

---@class js.redrive.target
---@field stream string
---@field subject string
---@field created string|nil of the stream
---@field after integer no message of this run has a smaller sequence
---@field window number seconds

---Whether a message that is published to the subject is stored under it.
local function takes(config, subject)
  local transform = config.subject_transform
  if transform and subjects.matches(transform.src == "" and ">" or transform.src, subject) then
    return false
  end
  for _, pattern in ipairs(config.subjects or {}) do
    if subjects.matches(pattern, subject) then return true end
  end
  return false
end

local function no_way(code, text, ...)
  return nil, api.failure(code, text .. ": name a subject with `to`", ...)
end

---What is known of a stream, asked for once in a run.
---@param run table streams
local function info_of(run, name)
  local known = run.streams[name]
  if not known then
    local info, err = api.call("STREAM.INFO." .. name)
    if not info then return nil, err end
    known = { config = info.config, created = info.created, after = info.state.last_seq,
      window = info.config.duplicate_window or 0 }
    run.streams[name] = known
  end
  return known
end

---@return js.redrive.target|nil target, table|nil err
local function target_of(run, letter, to)
  local name, subject, err = letter.origin.stream, letter.origin.subject, nil
  if to then
    subject = to
    run.found = run.found or {}
    if not run.found[to] then run.found[to], err = api.find_stream(to) end
    name = run.found[to]
    if not name then return nil, err end
  end
  local known
  known, err = info_of(run, name)
  if not known and err.code == "not_found" then
    return no_way("no_stream", "the stream '%s', where the message was, is gone", name)
  elseif not known then
    return nil, err
  elseif known.config.mirror and not to then
    return no_way("no_stream", "'%s' is a mirror, into which nobody can publish", name)
  elseif not to and not takes(known.config, subject) then
    return no_way("no_stream", "the stream '%s' does not store what is published to '%s' under "
      .. "that subject (its messages come from other streams, or by a transform)", name,
      subject)
  end
  return { stream = name, subject = subject, known = known, created = known.created }
end

-- ---- marks ------------------------------------------------------------------

local function open_marks(run)
  if run.marks then return run.marks end
  local marks, err = kv.key_value(M.BUCKET)
  if not marks and err.code == "not_found" then
    marks, err = kv.create_key_value { bucket = M.BUCKET, direct = false,
      replicas = run.config.num_replicas, storage = run.config.storage,
      description = "redrives of dead letters that have not come to their end" }
    if not marks and err.differences then marks, err = kv.key_value(M.BUCKET) end
  end
  run.marks = marks
  return marks, err
end

---@return table|nil entry
---@return table|nil err nil: there is none
local function get_mark(marks, key)
  local entry, err = marks:get(key)
  if entry or err.code ~= "not_found" then return entry, err end
end

local function mark_of(id, target, stream, letter)
  return { id = id, stream = target.stream, subject = target.subject,
    created = target.created, after = target.known.after,
    letter = { stream = stream, seq = letter.seq } }
end

---It is over: nothing of the mark is left. What another process has written meanwhile stays.
local function remove_mark(marks, key, revision)
  return bucket.purge(marks.stream, marks.prefix .. key, revision)
end

-- ---- what has become of one before ----------------------------------------------

---Looks through the stream for the message of a mark.
---@return table|nil ack
---@return table|false|nil err false: it is not there
local function find(mark)
  local seq = mark.after + 1
  while true do
    local message, err = streams.get_msg(mark.stream, { seq = seq, next_by_subject = ">" },
      READ)
    if not message and err.code == "not_found" then return nil, false end
    if not message then return nil, err end
    if message:header "Nats-Msg-Id" == mark.id then
      return { stream = mark.stream, seq = message.sequence, duplicate = true }
    end
    seq = message.sequence + 1
  end
end

---Whether a message that came after `after` may have been in the stream and is gone.
local function may_be_gone(info, after)
  if info.state.last_seq <= after then return false end
  if info.state.first_seq > after + 1 then return true end
  local deleted = info.state.deleted
  for _, seq in ipairs(type(deleted) == "table" and deleted or {}) do
    if seq > after then return true end
  end
  return false
end

---@return table|nil ack it was stored
---@return string|nil word "not": it was not; "unknown"
---@return table|nil err
local function look(mark)
  local info, err = api.call("STREAM.INFO." .. mark.stream)
  -- A stream that is made again is another one.
  if not info and err.code == "not_found" then return nil, "not" end
  if info and info.created ~= mark.created then return nil, "not" end
  if not info then return nil, nil, err end
  local ack
  ack, err = find(mark)
  if ack then return ack end
  if err then return nil, nil, err end
  info, err = api.call("STREAM.INFO." .. mark.stream, { deleted_details = true })
  if not info then return nil, nil, err end
  return nil, may_be_gone(info, mark.after) and "unknown" or "not"
end

---Whether the stream remembers the id still: then publishing again does no harm.
---@param since number when the mark was set
---@param now number by the same clock
local function remembered(target, mark, since, now)
  return target.stream == mark.stream and target.subject == mark.subject
    and now - since < target.known.window * M.window_share
end

-- ---- one letter -----------------------------------------------------------------

---The payload and headers that the message had.
---@return string|nil payload, table|nil headers_or_err
local function whole(message, letter)
  if not letter.cut then return message.raw, message.headers end
  local origin = letter.origin
  local there = streams.get_msg(origin.stream, { seq = origin.sequence }, READ)
  local same = there and origin.time and there.created
    and math.abs(there.created - origin.time) < 1e-5
  if same then return there.raw, there.headers end
  return nil, api.failure("damaged", "dead letter %d was cut, and the whole message is no more "
    .. "in '%s'", letter.seq, origin.stream)
end

---Publishes what is marked.
---@return table|nil ack, table|nil err
local function send(run, letter, target, id, payload, headers)
  local ok, ack, err = pcall(publishing.publish, target.subject, payload, {
    headers = letters.headers_back(headers, run.stream, letter), msg_id = id,
    expected_stream = target.stream })
  if ok and ack then
    if not ack.duplicate then target.known.after = math.max(target.known.after, ack.seq) end
    return ack
  end
  if ok then return nil, err end
  if core.cancelled() then error(ack, 0) end
  return nil, core.error("invalid", tostring(ack))
end

---Settles what an earlier redrive has left.
---@param entry table of the bucket
---@return table|nil ack it was stored
---@return integer|nil revision of the mark under which to publish
---@return table|nil err
local function resume(marks, key, entry, target, mark, force)
  local ok, old = pcall(function() return entry.data end)
  if not ok or type(old) ~= "table" or old.id ~= mark.id
    or math.type(old.after) ~= "integer" or type(old.stream) ~= "string" then
    return nil, nil, api.failure("damaged", "the entry '%s' of the bucket %s is no mark of a "
      .. "redrive", key, M.BUCKET)
  end
  if old.done then return old.done end
  local ack, word, err = look(old)
  if ack or err then return ack, nil, err end
  -- Written again as it was: a process that has stopped in between is told from this one, and
  -- the server says what time it is.
  local revision
  if word == "unknown" and not force then
    old.since = old.since or entry.created
    revision, err = marks:update(key, old, entry.revision)
    if not revision then return nil, nil, err end
    local now = marks:get(key, { revision = revision })
    if now and remembered(target, old, old.since, now.created) then return nil, revision end
    return nil, nil, api.failure("unknown", "an earlier redrive of dead letter %d has not come "
      .. "to its end, and whether the message got into '%s' cannot be found out any more: look "
      .. "for it, then delete the letter, or redrive it with `force`", old.letter.seq,
      old.stream)
  end
  revision, err = marks:update(key, mark, entry.revision)
  return nil, revision, err
end

local function is_there(run, letter)
  local message, err = streams.get_msg(run.stream, { seq = letter.seq }, READ)
  if message or err.code == "not_found" then return message ~= nil end
  return nil, err
end

---@return table|nil ack, integer|nil revision, table|nil err
local function try_to_claim(run, marks, key, target, mark, letter, force)
  local entry, err = get_mark(marks, key)
  if err then return nil, nil, err end
  local revision
  if not entry then
    revision, err = marks:create(key, mark)
    if not revision and err.code ~= "wrong_last_sequence" then return nil, nil, err end
  end
  if revision then
    local there -- or another process has been faster, and has removed its mark
    there, err = is_there(run, letter)
    if there then return nil, revision end
    remove_mark(marks, key, revision)
    return nil, nil, err or api.failure("not_found", "dead letter %d is gone", letter.seq)
  end
  if not entry then entry, err = get_mark(marks, key) end -- of another process, just now
  if entry then return resume(marks, key, entry, target, mark, force) end
  return nil, nil, err or api.failure("not_found", "dead letter %d is gone", letter.seq)
end

---The mark under which to publish, or what has been published. Where another process writes or
---removes the mark at the same time, what it does is looked at again.
---@return table|nil ack, integer|nil revision, table|nil err
local function claim(...)
  local ack, revision, err
  for _ = 1, CLAIMS do
    ack, revision, err = try_to_claim(...)
    if not err or err.code ~= "wrong_last_sequence" then break end
    core.sleep(0.05)
  end
  return ack, revision, err
end

---Deletes the letter, or, where the stream forbids that, says in the mark that it is done.
local function finish(run, letter, marks, key, mark, ack)
  if run.config.deny_delete then
    mark.done = { stream = ack.stream, seq = ack.seq, duplicate = true }
    return marks:put(key, mark)
  end
  local ok, err = streams.delete_msg(run.stream, letter.seq)
  if not ok and is_there(run, letter) ~= false then return nil, err end
  return remove_mark(marks, key)
end

local function key_of(id)
  return (core.sha256(id):gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

---@param run table stream, config (of the stream of dead letters), streams = {}
---@param message js.stored_message the dead letter
---@param letter js.letter
---@param id string of the letter
---@param opts { to: string|nil, dry_run: boolean|nil, force: boolean|nil }
---@return table|nil ack of the stream; `duplicate`: it was there already
---@return table|nil err
function M.one(run, message, letter, id, opts)
  local target, err = target_of(run, letter, opts.to)
  if not target then return nil, err end
  local payload, headers = whole(message, letter)
  if not payload then return nil, headers end
  if opts.dry_run then return { stream = target.stream, subject = target.subject } end
  local marks
  marks, err = open_marks(run)
  if not marks then return nil, err end
  id = "redrive:" .. id
  local mark, key, began = mark_of(id, target, run.stream, letter), key_of(id), core.hrtime()
  local ack, revision
  ack, revision, err = claim(run, marks, key, target, mark, letter, opts.force)
  if revision and core.hrtime() - began > M.haste then
    err = api.failure("timeout", "marking dead letter %d has taken too long", letter.seq)
  elseif revision then
    ack, err = send(run, letter, target, id, payload, headers)
  end
  if not ack then return nil, err end
  local ok
  ok, err = finish(run, letter, marks, key, mark, ack)
  if not ok then return nil, err end
  ack.subject = target.subject
  return ack
end

return M
