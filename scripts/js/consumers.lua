---Consumers: create or update, look at, delete.
local core = require "lunats.core"
local check = require "lunats.check"
local api = require "lunats.js.api"
local config = require "lunats.js.config"
local differences = require "lunats.js.differences"
local errors = require "lunats.js.errors"
local subjects = require "lunats.subject"

local M = {}

local function new_name()
  return "lunats_" .. core.new_inbox():match "[^.]+$"
end
M.new_name = new_name

---@param self table with `consumer` and `stream`, as subscriptions have them
---@return string
function M.describe(self)
  return ("consumer '%s' of stream '%s'"):format(self.consumer, self.stream)
end

---The same err for all who had a consumer that is gone.
---@param err table what the server said when it was looked for
---@return table err code "consumer_lost"
function M.lost_error(self, err)
  local lost = api.failure("consumer_lost", "%s is gone: %s", M.describe(self), err.message)
  lost.err_code, lost.status, lost.description = err.err_code, err.status, err.description
  return lost
end

-- ---- configurations ---------------------------------------------------------

---A consumer without a durable name outlives its last user by so many seconds.
local EPHEMERAL_THRESHOLD = 300

---The configuration that a subscription stands for.
---@param self table consumer, durable, subject, config
---@return table fields
function M.declared(self)
  local fields = {}
  for name, value in pairs(self.config or {}) do fields[name] = value end
  fields.name = self.consumer
  if self.durable then
    fields.durable_name = self.consumer
  else
    fields.inactive_threshold = fields.inactive_threshold or EPHEMERAL_THRESHOLD
  end
  if self.subject and not fields.filter_subjects then
    fields.filter_subject = fields.filter_subject or self.subject
  end
  return fields
end

---Delivery begins with the message after that stream sequence.
function M.start_after(fields, sequence)
  fields.deliver_policy, fields.opt_start_time = "by_start_sequence", nil
  fields.opt_start_seq = sequence + 1
end

local SKIPS = { new = true, last = true, last_per_subject = true }

---The stream sequence behind which a consumer begins that has not delivered anything, when only
---what comes from here on lies before it. One that is made in its place must begin there: as
---declared it would skip what has come between.
---@return integer|nil sequence
function M.beginning(info)
  local untouched = info.delivered.consumer_seq == 0 and info.num_pending == 0
  if untouched and SKIPS[info.config.deliver_policy] then return info.delivered.stream_seq end
end

---The stream sequence up to which a consumer has nothing to deliver any more.
---@return integer|nil sequence  nil: nobody knows, it begins as it was declared
function M.floor(info)
  local acknowledged = info.ack_floor.stream_seq
  return M.beginning(info) or acknowledged > 0 and acknowledged or nil
end

---Subject and body of the request that creates or updates.
---@param wire table configuration as on the wire
---@return string op, table body
function M.create_request(stream, name, wire)
  local op = ("CONSUMER.CREATE.%s.%s"):format(stream, name)
  -- The form that permissions can tell apart by filter; a wildcard cannot be part of it.
  local filter = wire.filter_subject
  -- Nor may what is no subject, which only a server can have made one of.
  if filter and pcall(core.check_subject, filter) then op = op .. "." .. filter end
  return op, { stream_name = stream, config = wire }
end

function M.delete_op(stream, name) return ("CONSUMER.DELETE.%s.%s"):format(stream, name) end

local function info_op(stream, name) return ("CONSUMER.INFO.%s.%s"):format(stream, name) end

-- ---- create and update ------------------------------------------------------

---Creates it, or changes the one that is there.
---@param wire table the whole configuration as on the wire
---@param asked table the part of it that counts
---@param old table|nil the configuration that is there
---@return table|nil info, table|nil err
local function configure(stream, name, wire, asked, old)
  local op, body = M.create_request(stream, name, wire)
  local info, err = api.configure(op, body, asked, function()
    if not old then return M.delete(stream, name) end
    api.raw(M.create_request(stream, name, old))
  end)
  if info or not old or err.code ~= "jetstream" or api.passes(err) then return info, err end
  return nil, differences.refused(err, M.describe { stream = stream, consumer = name },
    differences.list("consumer", wire, old),
    ("Delete it with app.js.delete_consumer(%q, %q), or use another name"):format(stream, name))
end

---Creates or updates a consumer.
---@param stream string
---@param fields table ConsumerConfig, in seconds
---@param level integer for errors of the caller
---@return table|nil info, table|nil err
function M.create(stream, fields, level)
  level = (level or 1) + 1
  local wire = api.to_wire("app.js.add_consumer", "consumer", fields, level)
  local name = wire.durable_name or wire.name or new_name()
  if wire.durable_name and wire.name and wire.durable_name ~= wire.name then
    error("app.js.add_consumer: 'name' and 'durable_name' must be the same", level + 1)
  end
  api.check_name(stream, "app.js.add_consumer: stream", level)
  api.check_name(name, "app.js.add_consumer: name", level)
  wire.name = name
  -- The server's default is "none", which loses what was not handled.
  wire.ack_policy = wire.ack_policy or "explicit"
  local existed, err
  if fields.name or fields.durable_name then
    existed, err = api.raw(info_op(stream, name))
    if not existed and err.err_code ~= errors.CONSUMER_NOT_FOUND then return nil, err end
  end
  return configure(stream, name, wire, wire, existed and existed.config)
end

---Creates a consumer. One that is there with another configuration is an err, and stays as it
---is. Servers from 2.10 on.
---@param stream string
---@param wire table configuration as on the wire, with durable_name
---@return table|nil info, table|nil err
function M.create_new(stream, wire)
  wire.name, wire.ack_policy = wire.durable_name, wire.ack_policy or "explicit"
  local op, body = M.create_request(stream, wire.name, wire)
  body.action = "create"
  return api.configure(op, body, wire, function() return M.delete(stream, wire.name) end)
end

---Fields of a call that names the stream among them, and of the wire.
local function split(what, fields)
  check.table(what, fields)
  local rest = {}
  for name, value in next, fields do rest[name] = value end
  rest.stream = nil
  api.check_name(fields.stream, what .. ": stream", 2)
  return fields.stream, rest
end

---Creates a consumer, or updates the one of that name.
---@param fields table with `stream`
---@return table|nil info, table|nil err
function M.add(fields)
  local stream, rest = split("app.js.add_consumer", fields)
  local info, err = M.create(stream, rest)
  return info, err
end

local function name_of(what, fields)
  return api.check_name(fields.durable_name or fields.name, what .. ": durable_name or name", 2)
end

local function update(stream, name, wire, old)
  return configure(stream, name, config.merge(old, wire), wire, old)
end

---Changes fields of a consumer; those that are not given stay as they are.
---@param fields table with `stream` and `durable_name` or `name`
---@return table|nil info, table|nil err
function M.update(fields)
  local what = "app.js.update_consumer"
  local stream, rest = split(what, fields)
  local name, wire = name_of(what, rest), api.to_wire(what, "consumer", rest)
  local old, err = api.raw(info_op(stream, name))
  if not old then return nil, err end
  return update(stream, name, wire, old.config)
end

---Creates a consumer, or changes the one that is there where it differs from what is given.
---@param fields table with `stream` and `durable_name` or `name`
---@param opts table|nil keep: leave a consumer that is there as it is
---@return table|nil info, table|nil err
function M.ensure(fields, opts)
  local what = "app.js.ensure_consumer"
  local stream, rest = split(what, fields)
  local name, wire = name_of(what, rest), api.to_wire(what, "consumer", rest)
  opts = core.check(what, opts, { keep = "boolean" })
  local old, err = api.raw(info_op(stream, name))
  if not old then
    if err.err_code ~= errors.CONSUMER_NOT_FOUND then return nil, err end
    return M.create(stream, rest)
  end
  if opts.keep or not config.differs(wire, old.config) then
    old.type = nil
    return config.from_wire(old)
  end
  return update(stream, name, wire, old.config)
end

---@param stream string
---@return table[]|nil infos, table|nil err
function M.list(stream)
  api.check_name(stream, "app.js.consumers: stream")
  return config.all_from_wire(api.pages("CONSUMER.LIST." .. stream, "consumers", {}))
end

---@param stream string
---@return string[]|nil names, table|nil err
function M.names(stream)
  api.check_name(stream, "app.js.consumer_names: stream")
  return api.pages("CONSUMER.NAMES." .. stream, "consumers", {})
end

local function pause(what, stream, name, body)
  api.check_name(stream, what .. ": stream", 2)
  api.check_name(name, what .. ": consumer", 2)
  local ok, err = api.need_level(api.LEVEL_2_11, "pausing consumers")
  if not ok then return nil, err end
  local reply
  reply, err = api.call(("CONSUMER.PAUSE.%s.%s"):format(stream, name), body)
  return reply, err
end

---Nothing is delivered until then. Servers from 2.11 on.
---@param stream string
---@param name string
---@param till number|string Unix time, or RFC3339
---@return table|nil state { paused, pause_until, pause_remaining }, table|nil err
function M.pause(stream, name, till)
  local what = "app.js.pause_consumer"
  if till == nil then error(what .. ": until when?", 2) end
  return pause(what, stream, name, api.to_wire(what, "consumer", { pause_until = till }))
end

---Ends a pause.
---@return table|nil state, table|nil err
function M.resume(stream, name)
  return pause("app.js.resume_consumer", stream, name, nil)
end

---Which reader of a group is served is decided anew. Servers from 2.11 on.
---@param stream string
---@param name string
---@param group string
---@return boolean|nil ok, table|nil err
function M.unpin(stream, name, group)
  local what = "app.js.unpin_consumer"
  api.check_name(stream, what .. ": stream")
  api.check_name(name, what .. ": consumer")
  if type(group) ~= "string" then error(what .. ": the name of a group expected", 2) end
  local ok, err = api.need_level(api.LEVEL_2_11, "priority groups")
  if not ok then return nil, err end
  ok, err = api.raw(("CONSUMER.UNPIN.%s.%s"):format(stream, name), { group = group })
  if not ok then return nil, err end
  return true
end

---Delivery begins anew: after what was acknowledged, or at a stream sequence. Servers from 2.14
---on.
---@param stream string
---@param name string
---@param seq integer|nil
---@return table|nil info with reset_seq, where it begins
---@return table|nil err
function M.reset(stream, name, seq)
  local what = "app.js.reset_consumer"
  api.check_name(stream, what .. ": stream")
  api.check_name(name, what .. ": consumer")
  check.whole(what, "seq", seq, 1)
  local ok, err = api.need_level(api.LEVEL_2_14, "resetting consumers")
  if not ok then return nil, err end
  ok, err = api.raw(info_op(stream, name)) -- of one that is not there it says nothing
  if not ok then return nil, err end
  local info
  info, err = api.call(("CONSUMER.RESET.%s.%s"):format(stream, name), seq and { seq = seq })
  return info, err
end

---@return table|nil info, table|nil err
function M.info(stream, name)
  api.check_name(stream, "app.js.consumer_info: stream")
  api.check_name(name, "app.js.consumer_info: consumer")
  local info, err = api.call(info_op(stream, name))
  return info, err
end

---@return boolean|nil ok, table|nil err
function M.delete(stream, name, opts)
  check.no_options("app.js.delete_consumer", opts)
  api.check_name(stream, "app.js.delete_consumer: stream")
  api.check_name(name, "app.js.delete_consumer: consumer")
  return api.done(M.delete_op(stream, name))
end

---Deletes without waiting for the answer.
function M.forget(stream, name) api.tell(M.delete_op(stream, name)) end

-- ---- what a consumer delivers --------------------------------------------------

local function wrong_filter(info, delivers, subject)
  return nil, api.failure("jetstream", "consumer '%s' of stream '%s' delivers %s, not '%s' "
    .. "only: leave out the subject and name the stream to take all that it delivers",
    info.name, info.stream_name, delivers, subject)
end

---A consumer without a filter delivers all that its stream keeps.
local function check_stream(info, subject)
  local stream, err = api.raw("STREAM.INFO." .. info.stream_name)
  if not stream then
    if api.concealed(err) then return wrong_filter(info, "all subjects", subject) end
    return nil, err
  end
  local kept = stream.config
  local everything = kept.mirror == nil and kept.sources == nil
  for _, one in ipairs(kept.subjects or {}) do
    everything = everything and subjects.matches(subject, one)
  end
  if everything then return true end
  return wrong_filter(info, "all subjects", subject)
end

---Does an existing consumer deliver what a subscription to `subject` wants, and nothing else?
---@return boolean|nil ok, table|nil err
function M.check_filter(info, subject)
  local one, several = info.config.filter_subject, info.config.filter_subjects
  if not subject or subject == ">" or one == subject then return true end
  if one and one ~= "" then return wrong_filter(info, ("'%s'"):format(one), subject) end
  if not several then return check_stream(info, subject) end
  for _, each in ipairs(several) do
    if not subjects.matches(subject, each) then
      return wrong_filter(info, ("'%s'"):format(table.concat(several, "', '")), subject)
    end
  end
  return true
end

return M
