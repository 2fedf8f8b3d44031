---app.js.dead_letters(): the dead letters in a stream: looked at, and taken back to where their
---messages came from.
local core = require "lunats.core"
local check = require "lunats.check"
local api = require "lunats.js.api"
local letter_of = require "lunats.js.letter"
local redrive = require "lunats.js.redrive"
local streams = require "lunats.js.streams"
local subjects = require "lunats.subject"

local M = {}

---@class js.dead_letters
---@field stream string
---@field subject string|nil only those with this subject
local dead_letters = {}
M.methods = dead_letters

local READ = { data_type = "string", direct = false }

-- ---- filters ------------------------------------------------------------------

local FILTER = { stream = "string", consumer = "string", subject = "string", reason = "string",
  since = "number", before = "number", first = "number", last = "number", limit = "number" }

local function check_filter(what, filter)
  filter = core.check(what, filter, FILTER)
  for _, name in ipairs { "first", "last", "limit" } do
    check.whole(what, name, filter[name], 1)
  end
  if filter.subject then core.check_pattern(filter.subject) end
  return filter
end

local function has(text, part)
  return text ~= nil and text:lower():find(part, 1, true) ~= nil
end

---@param letter js.letter
local function passes(filter, letter)
  local origin, reason = letter.origin, filter.reason and filter.reason:lower()
  return (not filter.stream or filter.stream == origin.stream)
    and (not filter.consumer or filter.consumer == origin.consumer)
    and (not filter.subject or subjects.matches(filter.subject, origin.subject))
    and (not reason or has(letter.reason, reason) or has(letter.error, reason))
    and (not filter.since or letter.time >= filter.since)
    and (not filter.before or letter.time < filter.before)
end

---Calls fn(letter, message, id) for each that passes; what is stored meanwhile is left out, so
---that a letter that comes back at once is not met again. fn returns false to end it.
---@return boolean|nil ok, table|nil err
local function each(self, filter, fn)
  local info, err = api.call("STREAM.INFO." .. self.stream)
  if not info then return nil, err end
  local last = math.min(filter.last or math.maxinteger, info.state.last_seq)
  local seq, left = filter.first or 1, filter.limit or math.maxinteger
  while seq <= last and left > 0 do
    local message
    message, err = streams.get_msg(self.stream,
      { seq = seq, next_by_subject = self.subject or ">" }, READ)
    if not message and err.code ~= "not_found" then return nil, err end
    if not message or message.sequence > last then break end
    seq = message.sequence + 1
    local letter, id = letter_of.read(self.stream, message)
    if letter and passes(filter, letter) then
      left = left - 1
      if fn(letter, message, id) == false then break end
    end
  end
  return true
end

-- ---- looking at them ------------------------------------------------------------

---@param filter js.letter_filter|nil
---@return js.letter[]|nil letters, table|nil err
function dead_letters:list(filter)
  filter = check_filter("dead_letters:list", filter)
  local list = {}
  local ok, err = each(self, filter, function(letter) list[#list + 1] = letter end)
  if not ok then return nil, err end
  return list
end

---@return js.stored_message|nil message, table|nil err, js.letter|nil letter, string|nil id
local function get(self, what, seq, opts)
  check.whole(what, "the sequence", seq or "", 1)
  local message, err = streams.get_msg(self.stream, { seq = seq }, opts)
  if not message then return nil, err end
  local letter, id = letter_of.read(self.stream, message)
  if letter and (not self.subject or subjects.matches(self.subject, message.subject)) then
    return message, nil, letter, id
  end
  return api.not_found("message %d of the stream '%s' is no dead letter%s", seq, self.stream,
    letter and (" on '%s'"):format(self.subject) or "")
end

---One of them, with its `message`.
---@param seq integer
---@param opts { data_type: string|nil }|nil
---@return js.letter|nil letter, table|nil err
function dead_letters:get(seq, opts)
  opts = core.check("dead_letters:get", opts, { data_type = "string|table" })
  local message, err, letter = get(self, "dead_letters:get", seq,
    { data_type = opts.data_type, direct = false })
  if not message then return nil, err end
  letter.message = message
  return letter
end

-- ---- taking them back -------------------------------------------------------------

local REDRIVE = { to = "string", dry_run = "boolean", force = "boolean",
  on_progress = "function" }

---What ends a run: the next letter would have the same error.
local STOPS = { timeout = true, disconnected = true, closed = true, permission = true,
  no_responders = true }

local function new_run(self)
  local info, err = api.call("STREAM.INFO." .. self.stream)
  if not info then return nil, err end
  return { stream = self.stream, config = info.config, streams = {} }
end

local function redrive_all(self, filter, opts)
  local run, err = new_run(self)
  if not run then return nil, err end
  local report, stopped = { redriven = 0, failed = {} }, nil
  local ok
  ok, err = each(self, filter, function(letter, message, id)
    local ack, why = redrive.one(run, message, letter, id, opts)
    if ack then
      report.redriven = report.redriven + 1
    elseif STOPS[why.code] then
      stopped = why
      return false
    elseif why.code ~= "not_found" then -- or another process has been faster
      report.failed[#report.failed + 1] = { seq = letter.seq, err = why }
    end
    if opts.on_progress then opts.on_progress(letter, ack, why) end
  end)
  if ok and not stopped then return report end
  err = stopped or err
  err.report = report
  return nil, err
end

---@param which integer|js.letter_filter
---@param opts js.redrive_opts|nil
---@return table|nil result, table|nil err
function dead_letters:redrive(which, opts)
  local what = "dead_letters:redrive"
  if type(which) ~= "table" then
    check.whole(what, "the sequence", which or "", 1)
  else
    which = check_filter(what, which)
  end
  opts = core.check(what, opts, REDRIVE)
  if opts.to then core.check_subject(opts.to) end
  if type(which) == "table" then return redrive_all(self, which, opts) end
  local message, err, letter, id = get(self, what, which, READ)
  if not message then return nil, err end
  local run
  run, err = new_run(self)
  if not run then return nil, err end
  return redrive.one(run, message, letter, id, opts)
end

-- ---- finding them ---------------------------------------------------------------

---@param name string a stream, or the subject of a psub:consume()
---@return js.dead_letters|nil letters, table|nil err
function M.dead_letters(name, opts)
  local what = "app.js.dead_letters"
  check.no_options(what, opts)
  check.string(what, "the stream or subject", name)
  core.check_pattern(name)
  if core.js_name_ok(name) then
    local info, err = api.call("STREAM.INFO." .. name)
    if info then return setmetatable({ stream = name }, dead_letters) end
    if err.code ~= "not_found" then return nil, err end
  end
  local stream, err = api.find_stream(name)
  if stream then return setmetatable({ stream = stream, subject = name }, dead_letters) end
  if err.code == "no_stream" then
    err.message = ("there is no stream '%s', and none that stores the subject '%s': dead "
      .. "letters are kept where one does, as app.js.add_stream { name = \"DEAD\", subjects = "
      .. "{ %q } } makes it"):format(name, name, name)
  end
  return nil, err
end

check.class("dead_letters", dead_letters)

return M
