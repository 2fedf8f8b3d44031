---Streams: create, change, list, read and delete; their messages one by one.
local core = require "lunats.core"
local check = require "lunats.check"
local api = require "lunats.js.api"
local config = require "lunats.js.config"
local differences = require "lunats.js.differences"
local errors = require "lunats.js.errors"
local stored = require "lunats.js.stored"

local M = {}

---Several instances may create a stream at the same moment. The server tells some of them that
---the subjects overlap: with those of this very stream.
local OVERLAP_DELAY, OVERLAP_RETRIES = 0.1, 5

local function check_config(what, fields)
  check.table(what, fields)
  api.check_name(fields.name, what .. ": name", 2)
  return fields.name, api.to_wire(what, "stream", fields, 2)
end

---The server says that there is such a stream with another configuration: which one?
---@return table|nil info of a stream that is the same for all we know
---@return table|nil err
local function compare(name, wire, err)
  local there = api.raw("STREAM.INFO." .. name)
  if not there then return nil, err end
  local list = differences.list("stream", wire, there.config)
  -- Servers take their own defaults in mirrors and sources for a difference.
  if #list == 0 then
    there.type = nil
    return config.from_wire(there)
  end
  return nil, differences.exists(err, ("stream '%s'"):format(name), list,
    "app.js.ensure_stream changes it where it can be changed")
end

local function add(name, wire)
  for attempt = 0, OVERLAP_RETRIES do
    local existed, err = api.raw("STREAM.INFO." .. name)
    if not existed and err.err_code ~= errors.STREAM_NOT_FOUND then return nil, err end
    local undo = not existed and function() api.raw("STREAM.DELETE." .. name) end
    local info
    info, err = api.configure("STREAM.CREATE." .. name, wire, wire, undo)
    if info then return info end
    if err.err_code == errors.STREAM_NAME_IN_USE then return compare(name, wire, err) end
    if err.err_code ~= errors.SUBJECTS_OVERLAP or existed or attempt == OVERLAP_RETRIES then
      return nil, err
    end
    core.sleep(OVERLAP_DELAY)
    -- Is it ours, or is there really another one?
    if not api.raw("STREAM.INFO." .. name) then return nil, err end
  end
end

---Creates a stream. With the configuration that it has already this succeeds; with another one
---it is an err that tells the differences.
---@param fields table
---@return table|nil info, table|nil err
function M.add_stream(fields)
  return add(check_config("app.js.add_stream", fields))
end

---The server takes an update as the whole configuration: what is not asked for stays as it is.
local function update(name, wire, old)
  local new = config.merge(old, wire)
  -- The window may not be longer than the age; whoever sets one of them means one of them.
  local age, window = wire.max_age, new.duplicate_window
  if age and age > 0 and not wire.duplicate_window and window and window > age then
    new.duplicate_window = age
  end
  local info, err = api.configure("STREAM.UPDATE." .. name, new, wire,
    function() api.raw("STREAM.UPDATE." .. name, old) end)
  if info or err.code ~= "jetstream" or api.passes(err) then return info, err end
  return nil, differences.refused(err, ("stream '%s'"):format(name),
    differences.list("stream", new, old),
    ("Delete it with app.js.delete_stream(%q), or use another name"):format(name))
end

---Changes fields of a stream; those that are not given stay as they are.
---@param fields table
---@return table|nil info, table|nil err
function M.update_stream(fields)
  local name, wire = check_config("app.js.update_stream", fields)
  local old, err = api.raw("STREAM.INFO." .. name)
  if not old then return nil, err end
  return update(name, wire, old.config)
end

---Creates a stream, or changes the one that is there where it differs from what is given.
---@param fields table
---@param opts table|nil keep: leave a stream that is there as it is
---@return table|nil info, table|nil err
function M.ensure_stream(fields, opts)
  local name, wire = check_config("app.js.ensure_stream", fields)
  opts = core.check("app.js.ensure_stream", opts, { keep = "boolean" })
  local old, err = api.raw("STREAM.INFO." .. name)
  if old and (opts.keep or not config.differs(wire, old.config)) then
    old.type = nil
    return config.from_wire(old)
  end
  if old then return update(name, wire, old.config) end
  if err.err_code ~= errors.STREAM_NOT_FOUND then return nil, err end
  local info
  info, err = add(name, wire)
  -- Another instance may have been faster with another configuration.
  if not info and err.err_code == errors.STREAM_NAME_IN_USE then
    return M.update_stream(fields)
  end
  return info, err
end

---@param name string
---@param opts table|nil deleted_details, subjects_filter, offset
---@return table|nil info, table|nil err
function M.stream_info(name, opts)
  api.check_name(name, "app.js.stream_info")
  opts = core.check("app.js.stream_info", opts, { deleted_details = "boolean",
    subjects_filter = "string", offset = "number" })
  return api.call("STREAM.INFO." .. name, next(opts) and opts or nil)
end

---@param name string
---@return boolean|nil ok, table|nil err
function M.delete_stream(name, opts)
  check.no_options("app.js.delete_stream", opts)
  api.check_name(name, "app.js.delete_stream")
  return api.done("STREAM.DELETE." .. name)
end

---Deletes messages of a stream: all, those of a subject, those before a sequence number, or all
---but the last so many.
---@param name string
---@param opts table|nil subject, seq, keep
---@return integer|nil count of deleted messages
---@return table|nil err
function M.purge_stream(name, opts)
  local what = "app.js.purge_stream"
  api.check_name(name, what)
  opts = core.check(what, opts, { subject = "string", seq = "number", keep = "number" })
  check.whole(what, "seq", opts.seq, 0)
  check.whole(what, "keep", opts.keep, 0)
  if opts.seq and opts.keep then error(what .. ": either 'seq' or 'keep'", 2) end
  local body = { filter = opts.subject, seq = opts.seq, keep = opts.keep }
  local reply, err = api.raw("STREAM.PURGE." .. name, next(body) and body or nil)
  if not reply then return nil, err end
  return reply.purged
end

local function list(what, op, opts)
  opts = core.check(what, opts, { subject = "string" })
  return api.pages(op, "streams", { subject = opts.subject })
end

---All streams, or those that may have messages of a subject.
---@param opts table|nil subject
---@return table[]|nil infos, table|nil err
function M.streams(opts)
  return config.all_from_wire(list("app.js.streams", "STREAM.LIST", opts))
end

---Their names.
---@param opts table|nil subject
---@return string[]|nil names, table|nil err
function M.stream_names(opts)
  return list("app.js.stream_names", "STREAM.NAMES", opts)
end

---@param subject string
---@return string|nil name, table|nil err
function M.find_stream(subject)
  if type(subject) ~= "string" then
    error("app.js.find_stream: the subject must be a string", 2)
  end
  return api.find_stream(subject)
end

---What the account uses and may use.
---@return table|nil info, table|nil err
function M.account_info()
  local info, err = api.call "INFO"
  return info, err
end

-- ---- messages ---------------------------------------------------------------

---@class js.stored_msg
local stored_msg = {}

---@param name string in any case
---@return string|nil value the first one
function stored_msg:header(name)
  check.string("message:header", "the name", name)
  for key, value in pairs(self.headers) do
    if key:lower() == name:lower() then return type(value) == "table" and value[1] or value end
  end
end
M.stored = stored_msg

---`data` is decoded when it is first read.
local STORED = {}

function STORED.__index(self, name)
  if name ~= "data" then return stored_msg[name] end
  local data, code, problem = require "lunats.codec".read(self.data_type, self.raw)
  if code then
    error(core.error(code, ("%s: the message %s"):format(self.subject, problem)), 2)
  end
  rawset(self, "data", data)
  return data
end

local function check_query(what, query)
  query = core.check(what, query, { seq = "number", last_by_subject = "string",
    next_by_subject = "string" })
  check.whole(what, "seq", query.seq, 1)
  if query.last_by_subject then
    if query.seq or query.next_by_subject then
      error(what .. ": 'last_by_subject' goes with nothing else", 3)
    end
  elseif not query.seq and not query.next_by_subject then
    error(what .. ": one of 'seq', 'last_by_subject' and 'next_by_subject' is needed", 3)
  end
  return { seq = query.seq or query.next_by_subject and 1 or nil,
    last_by_subj = query.last_by_subject, next_by_subj = query.next_by_subject }
end

---Streams that allow direct gets, which any server may answer that has the stream.
local direct = {}

---The server says nothing at all where a direct get is not allowed, so ask before.
local function allows_direct(name)
  if direct[name] == nil then
    local info, err = api.raw("STREAM.INFO." .. name)
    if not info then return nil, err end
    direct[name] = info.config.allow_direct == true
  end
  return direct[name]
end

---Reads one message of a stream.
---@param name string
---@param query table seq; last_by_subject; or next_by_subject, from seq on
---@param opts table|nil data_type; direct: false asks the leader of the stream, which knows the
---  newest message
---@return table|nil message { subject, sequence, created, data, raw, headers }
---@return table|nil err
function M.get_msg(name, query, opts)
  local what = "app.js.get_msg"
  api.check_name(name, what)
  query = check_query(what, query)
  opts = core.check(what, opts, { data_type = "string|table", direct = "boolean" })
  if opts.data_type then require "lunats.codec".of(opts.data_type, what) end
  local may, err = false
  if opts.direct ~= false then
    may, err = allows_direct(name)
    if may == nil then return nil, err end
  end
  local message
  message, err = stored.get({ name = name, allow_direct = may }, query)
  if not message and may and err.code ~= "not_found" then
    direct[name] = nil -- the stream has changed, or is another one
    message, err = stored.get({ name = name }, query)
  end
  if not message then return nil, err end
  message.raw, message.data, message.data_type = message.data, nil, opts.data_type
  return setmetatable(message, STORED)
end

---Deletes one message.
---@param name string
---@param seq integer
---@param opts table|nil secure: overwrite it on the disk
---@return boolean|nil ok, table|nil err
function M.delete_msg(name, seq, opts)
  local what = "app.js.delete_msg"
  api.check_name(name, what)
  check.whole(what, "seq", seq or "", 1)
  opts = core.check(what, opts, { secure = "boolean" })
  return api.done("STREAM.MSG.DELETE." .. name,
    { seq = seq, no_erase = not opts.secure or nil })
end

return M
