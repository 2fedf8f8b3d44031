---Requests to the JetStream API, and its errors as err tables.
local core = require "lunats.core"
local json = require "lunats.json"
local answer = require "lunats.js.answer"
local config = require "lunats.js.config"
local errors = require "lunats.js.errors"
local schema = require "lunats.js.schema"

local M = {
  ---Seconds.
  timeout = 5,
  ---Levels of the API and the versions of nats-server that brought them; before them it is 0.
  LEVEL_2_11 = 1, LEVEL_2_12 = 2, LEVEL_2_14 = 4,
}

---@param prefix string what the subjects of all requests begin with
function M.use_prefix(prefix)
  M.prefix = prefix
  ---@type string|nil where it is known
  M.domain = prefix:match "^%$JS%.([^.]+)%.API$"
end
M.use_prefix(core.js_prefix())

---Stable words for what callers want to tell apart.
local CODES = {
  [errors.CONSUMER_NOT_FOUND] = "not_found", [errors.STREAM_NOT_FOUND] = "not_found",
  [errors.NO_MESSAGE_FOUND] = "not_found", [errors.SEQUENCE_NOT_FOUND] = "not_found",
  [errors.WRONG_LAST_SEQUENCE] = "wrong_last_sequence",
  [errors.WRONG_LAST_SEQUENCE_CONSTANT] = "wrong_last_sequence",
}
---What a stream has to be configured for.
local NEEDED_FIELDS = {
  [errors.COUNTERS_DISABLED] = "allow_msg_counter", [errors.BATCHES_DISABLED] = "allow_atomic",
  [errors.SCHEDULES_DISABLED] = "allow_msg_schedules",
  [errors.MESSAGE_TTL_DISABLED] = "allow_msg_ttl",
}
---The server cannot do it just now.
local RETRY = {
  [errors.NOT_AVAILABLE] = true, [errors.NOT_LEADER] = true,
  [errors.INSUFFICIENT_RESOURCES] = true, [errors.DUPLICATE_IN_PROCESS] = true,
  [errors.EXPECTATION_NOT_READY] = true, [errors.TOO_MANY_REQUESTS] = true,
  -- Servers of 2.15 remove the folder of all streams when the last one is deleted; one that is
  -- created meanwhile has no place.
  [errors.STREAM_NOT_CREATED] = true,
}
local RETRY_DELAY, RETRIES = 0.25, 3

---@param reply table error object of the server
---@return table err
function M.error(reply)
  local description = reply.description or "unknown error"
  local err = core.error(CODES[reply.err_code] or "jetstream",
    ("%s (JetStream error %s)"):format(description, reply.err_code or reply.code or "?"))
  err.err_code, err.status, err.description = reply.err_code, reply.code, description
  local field = NEEDED_FIELDS[reply.err_code]
  if field then
    err.code, err.field = "unsupported", field
    err.message = ("the stream was made without %s: %s"):format(field, err.message)
  end
  return err
end

---Whether the server cannot do it just now: asked later it may.
function M.passes(err)
  return RETRY[err.err_code] or err.status == 503 or err.err_code == errors.ACCOUNT_FULL
end

---@param code string
---@param text string a format
---@return table err
function M.failure(code, text, ...)
  return core.error(code, text:format(...))
end

---@param field string of a configuration or request
---@param since string|nil version that is needed, where the field does not tell
---@return table err code "unsupported"
function M.unsupported(field, tail, since)
  since = since or schema.since(field)
  local version = core.nats_info().version
  local err = M.failure("unsupported", "this server does not support '%s' as asked%s%s%s",
    field, since and (": it needs nats-server %s or later"):format(since) or "",
    since and version and (", this is %s"):format(version) or "", tail or "")
  err.field = field
  return err
end

---What is not there, in the words of whoever knows what was looked for.
---@return nil, table err code "not_found"
function M.not_found(text, ...)
  local err = M.failure("not_found", text, ...)
  err.status = 404
  return nil, err
end

---@param op string what follows the prefix: "STREAM.INFO.ORDERS"
---@return string
function M.subject(op) return M.prefix .. "." .. op end

---A request whose answer nobody waits for.
function M.tell(op, body) core.publish(M.subject(op), body) end

local function once(op, body, timeout)
  local msg, err = core.request(M.subject(op), body, { timeout = timeout })
  if not msg then
    if err.code == "no_responders" then
      return nil, M.failure("no_responders",
        "JetStream is not enabled on this server, where nobody answers %s: start it with "
        .. "`nats-server --jetstream`, or connect to another one", M.subject(op))
    end
    return nil, err
  end
  local reply, bad = json.decode(msg.raw)
  if type(reply) ~= "table" then
    return nil, M.failure("jetstream", "%s: the answer is not JSON: %s", op,
      tostring(bad or reply))
  end
  local refusal, fault = answer(op, reply)
  if fault then
    return nil, M.failure("jetstream", "%s: what has come is no answer to it: %s", op, fault)
  end
  if refusal then return nil, M.error(refusal) end
  return reply
end

---One request, in the names and units of the wire.
---@param op string what follows the prefix
---@param body table|nil
---@param timeout number|nil seconds
---@return table|nil reply, table|nil err
function M.raw(op, body, timeout)
  local text = body and json.encode(body) or ""
  for attempt = 1, RETRIES do
    local reply, err = once(op, text, timeout or M.timeout)
    if reply then return reply end
    if attempt == RETRIES or not RETRY[err.err_code] then
      return nil, err.err_code and require "lunats.js.advice"(op, body, err) or err
    end
    core.sleep(RETRY_DELAY * attempt)
  end
end

---One request; the answer in the units of Lua, without its type.
---@return table|nil reply, table|nil err, table|nil raw the answer as on the wire
function M.call(op, body, timeout)
  local raw, err = M.raw(op, body, timeout)
  if not raw then return nil, err end
  local reply = config.from_wire(raw)
  reply.type = nil
  return reply, nil, raw
end

---One request that succeeds or not.
---@return boolean|nil ok, table|nil err
function M.done(op, body)
  local reply, err = M.raw(op, body)
  if not reply then return nil, err end
  return reply.success == true
end

---Of pages that repeat themselves, and of what has more than anybody makes, there is no end.
---@return table err
function M.repeats(op)
  return M.failure("jetstream", "%s: the pages of the answer come without end", op)
end

local MOST_ITEMS = 1000000

---What names a stream or a consumer in a list.
local function name_of(item)
  if type(item) ~= "table" then return item end
  return item.name or type(item.config) == "table" and item.config.name or item
end

---All pages of a list, in the units of the wire.
---@param op string
---@param field string of the answer that holds the list
---@param body table
---@return table[]|nil items, table|nil err
function M.pages(op, field, body)
  local items, seen = {}, {}
  while true do
    body.offset = #items > 0 and #items or nil
    local reply, err = M.raw(op, next(body) and body or nil)
    if not reply then return nil, err end
    local page, new = type(reply[field]) == "table" and reply[field] or {}, false
    for _, item in ipairs(page) do
      local name = name_of(item)
      items[#items + 1], new, seen[name] = item, new or not seen[name], true
    end
    if #page == 0 or #items >= (reply.total or 0) then return items end
    if not new or #items > MOST_ITEMS then return nil, M.repeats(op) end
  end
end

---The level of the API: 0 before 2.11, 1 in 2.11, 2 or more from 2.12 on.
---@return integer|nil level, table|nil err
function M.level()
  local reply, err = M.raw "INFO"
  if not reply then return nil, err end
  return type(reply.api) == "table" and reply.api.level or 0
end

---Whether an err says that we may not look: the account has no permission for it, or no
---JetStream there.
---@return boolean
function M.concealed(err) return err.code == "permission" or err.code == "no_responders" end

---An err unless the server is new enough. A new one will not be replaced by an old one.
local known_level = 0
function M.need_level(level, what)
  if known_level >= level then return true end
  local err
  known_level, err = M.level()
  if not known_level then
    known_level = 0
    return nil, err
  end
  if known_level >= level then return true end
  return nil, M.failure("unsupported", "this server does not support %s: needs 2.%d or later",
    what, 10 + level)
end

---Raises unless `name` may be part of a subject. `what` says whose name it is.
function M.check_name(name, what, level)
  if type(name) ~= "string" then
    error(("%s: a string expected, got %s"):format(what, type(name)), (level or 1) + 2)
  end
  if not core.js_name_ok(name) then
    error(("%s: invalid name '%s': 1 to 255 characters without blanks, '.', '*', '>', '/' "
      .. "and '\\'"):format(what, name), (level or 1) + 2)
  end
  return name
end

local function checked_wire(kind, fields)
  schema.check(kind, fields)
  return config.to_wire(fields)
end

---Converts a configuration; an unknown field or a wrong value is an error of the caller `level`
---steps up.
---@param kind "stream"|"consumer"
---@param names table<string, string>|nil what the caller calls fields
function M.to_wire(what, kind, fields, level, names)
  local ok, wire = pcall(checked_wire, kind, fields)
  if ok then return wire end
  error(("%s: %s"):format(what, (wire:gsub("^[%w_]+", names or {}))), (level or 1) + 2)
end

---The stream that keeps messages of a subject.
---@return string|nil name, table|nil err
function M.find_stream(subject, timeout)
  local reply, err = M.raw("STREAM.NAMES", { subject = subject }, timeout)
  if not reply then return nil, err end
  local names = type(reply.streams) == "table" and reply.streams or {}
  if #names == 1 then return names[1] end
  if #names == 0 then
    return nil, M.failure("no_stream", "no stream has messages of the subject '%s': "
      .. "app.js.add_stream makes one", subject)
  end
  return nil, M.failure("jetstream", "several streams match the subject '%s' (%s): name one "
    .. "with the option 'stream'", subject, table.concat(names, ", "))
end

---Servers from 2.12 on refuse a field that they do not know, all of them a word.
---@return string|nil field, string|nil version that it needs, where the field does not tell
local function refused_field(err, asked)
  if err.err_code ~= errors.INVALID_JSON then return nil end
  local name = err.description:match 'unknown field "([^"]+)"'
  if not name then return schema.young_value(asked) end
  return config.path_of(asked, name) or name
end

---Creates or changes what has a configuration. A field that the server refuses, or ignores, is
---the same err; `undo` takes back what this call has created or changed meanwhile.
---@param body table of the request
---@param asked table the part of the configuration that counts, as on the wire
---@param undo function|nil
---@return table|nil info, table|nil err
function M.configure(op, body, asked, undo)
  local info, err, raw = M.call(op, body)
  local field, since
  if info then
    field = config.ignored(asked, raw.config or {})
    if field and undo then undo() end
  else
    field, since = refused_field(err, asked)
  end
  if not field then return info, err end
  return nil, M.unsupported(field, " (nothing was changed)", since)
end

return M
