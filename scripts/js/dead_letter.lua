---Dead letters: what psub:consume() makes of a message that it gives up, and where that may go.
local core = require "lunats.core"
local api = require "lunats.js.api"
local config = require "lunats.js.config"
local consumers = require "lunats.js.consumers"
local errors = require "lunats.js.errors"
local publish = require "lunats.js.publish"
local subjects = require "lunats.subject"

local M = {
  ---Seconds between two attempts to publish one.
  retry_first = 1, retry_last = 30,
  ---How often it is tried when it is the dead letter itself that is refused.
  tries = 5,
}

local describe = consumers.describe

-- ---- headers ----------------------------------------------------------------

local PREFIX = "Dead-Letter-"

local function one_line(text) return (text:match "[^\r\n]*":sub(1, 500):gsub("%c", " ")) end

---What tells where the message comes from. Sequences of a stream begin anew when it is made
---again; the time of the message tells its messages apart from those before.
local function own_headers(msg, meta, reason, text)
  return {
    ["Dead-Letter-Reason"] = reason,
    ["Dead-Letter-Error"] = text and one_line(text) or nil,
    ["Dead-Letter-Stream"] = meta.stream,
    ["Dead-Letter-Consumer"] = meta.consumer,
    ["Dead-Letter-Sequence"] = meta.stream_sequence,
    ["Dead-Letter-Subject"] = msg.subject,
    ["Dead-Letter-Deliveries"] = meta.num_delivered,
    ["Dead-Letter-Time"] = config.rfc3339(core.now(), "time"),
    ["Nats-Msg-Id"] = ("%s:%s:%d:%.6f"):format(meta.stream, meta.consumer,
      meta.stream_sequence, meta.timestamp),
  }
end

local function hex(byte) return ("%%%02X"):format(byte:byte()) end

---Bytes that publishing refuses as %XX, and "%" as well then.
local function encode_name(name)
  return name:find "[^!-9;-~]" and name:gsub("[^!-$&-9;-~]", hex) or name
end

local function encode_value(value)
  if type(value) == "string" then
    return value:find "[\r\n\0]" and value:gsub("[%%\r\n\0]", hex) or value
  end
  local list = {}
  for i, one in ipairs(value) do list[i] = encode_value(one) end
  return list
end

local function same(a, b)
  return type(a) == "table" and table.concat(a, "\0") == table.concat(b, "\0") or a == b
end

---The headers of the message, so that they do nothing: `Nats-` begins what is meant for a
---server. Those of a dead letter before this one give way to ours.
---@param own table
---@return table headers, integer count
local function message_headers(msg, own)
  local headers, taken, encoded, count = {}, {}, {}, 0
  for name in pairs(own) do taken[name:lower()] = true end
  local function add(name, value)
    local sent, text = encode_name(name), encode_value(value)
    if taken[sent:lower()] then return end
    if sent ~= name or not same(value, text) then encoded[#encoded + 1] = sent end
    headers[sent], count = text, count + 1
  end
  local others = {}
  for name, value in pairs(msg.headers) do
    if name:lower():find "^nats%-" then add(PREFIX .. name, value) else others[name] = value end
  end
  for name in pairs(headers) do taken[name:lower()] = true end
  for name, value in pairs(others) do add(name, value) end
  table.sort(encoded)
  if encoded[1] then headers["Dead-Letter-Encoded"] = table.concat(encoded, ", ") end
  return headers, count
end

-- ---- size -------------------------------------------------------------------

---As the server counts them.
local function size_of(headers)
  local size = #"NATS/1.0\r\n\r\n"
  for name, value in pairs(headers) do
    for _, one in ipairs(type(value) == "table" and value or { value }) do
      size = size + #name + #": \r\n" + #tostring(one)
    end
  end
  return size
end

local function merged(a, b)
  local all = {}
  for name, value in pairs(a) do all[name] = value end
  for name, value in pairs(b) do all[name] = value end
  return all
end

---Bytes of headers that a stream stores.
local HEADERS_MAX = 65535

---Headers and payload of at most `limit` bytes: the payload is cut, and headers that take more
---than half of the room are left out, both with a mark.
---@param letter table own, headers, count, raw
---@return table headers, string payload, boolean whole
local function fit(letter, limit)
  local raw = letter.raw
  local headers = merged(letter.headers, letter.own)
  local size = size_of(headers)
  if size + #raw <= limit and size <= HEADERS_MAX then return headers, raw, true end
  if letter.count > 0 and size > math.min(limit / 2, HEADERS_MAX) then
    headers = merged(letter.own, { ["Dead-Letter-Headers-Left-Out"] = letter.count })
    if size_of(headers) + #raw <= limit then return headers, raw, false end
  end
  headers["Dead-Letter-Size"] = #raw
  if size_of(headers) > limit then headers["Dead-Letter-Error"] = nil end
  return headers, raw:sub(1, math.max(0, limit - size_of(headers))), false
end

---What the stream of the dead letters takes, once it has refused `size` bytes.
---@return integer|nil limit nil: it cannot be found out just now
local function stream_limit(subject, size)
  local stream = api.find_stream(subject)
  local info = stream and api.call("STREAM.INFO." .. stream)
  if not info then return nil end
  local most = info.config.max_msg_size or -1
  return most > 0 and most < size and most or size // 2
end

-- ---- publishing -------------------------------------------------------------

---@return table|nil ack, table|nil err
local function attempt(subject, payload, headers)
  local ok, ack, err = pcall(publish.publish, subject, payload, { headers = headers })
  if ok then return ack, err end
  if core.cancelled() then error(ack, 0) end
  return nil, core.error("invalid", tostring(ack))
end

local function is_size(err)
  return err.code == "too_large" or err.err_code == errors.MESSAGE_TOO_LARGE
end

---Another attempt would end the same way.
local function is_final(err)
  return is_size(err) or err.code == "invalid" or err.status == 400 and not api.passes(err)
end

---The counter of dead letters, made by the first consume that may have some.
local letters

---@param self table of a consume
---@param n integer 0: it is shown before there is one, so that a rate sees the first
function M.count(self, n)
  letters = letters or core.meter("counter", "lunats_js_dead_letters_total",
    "Messages of a consumer that were given up and published as dead letters.",
    { "stream", "consumer" }, {})
  letters:inc(n, { stream = self.stream, consumer = self.durable and self.consumer
    or "(ephemeral)" })
end

---Publishes until it is stored: the message must not be lost between two streams. Meanwhile it
---keeps its slot, and the server is told that it is worked on. What is refused for what it is
---must not keep the slot for ever.
---@param self table of a consume: stream, consumer, dead_letter
---@param reason string
---@param text string|nil what the handler failed with
---@return string outcome for the log
function M.publish(self, msg, reason, text)
  local meta = msg.metadata
  local letter = { own = own_headers(msg, meta, reason, text), raw = msg.raw }
  letter.headers, letter.count = message_headers(msg, letter.own)
  local delay, refused, limit = M.retry_first, 0, math.huge
  while true do
    local most = math.min(limit, core.nats_info().max_payload or limit)
    local headers, payload, whole = fit(letter, most)
    local ack, err = attempt(self.dead_letter, payload, headers)
    if ack or err.ack then -- the stream of another domain is as good
      M.count(self, 1)
      return ("and is a dead letter on '%s'%s"):format(self.dead_letter, whole and ""
        or (", cut to %d of %d bytes"):format(#payload, #letter.raw))
    end
    local size = size_of(headers) + #payload
    local smaller = is_size(err) and #payload + letter.count > 0 and stream_limit(
      self.dead_letter, size)
    if smaller and smaller < most then
      limit = smaller
    else
      core.report(("%s: message %d cannot be published as a dead letter to '%s': %s"):format(
        describe(self), meta.stream_sequence, self.dead_letter, err.message),
        { kind = "consume", name = self.name or self.consumer, stream = self.stream,
          sequence = meta.stream_sequence, subject = msg.subject }, err)
      if is_final(err) then refused = refused + 1 end
      if refused == M.tries then break end
      core.sleep(delay)
      delay = math.min(delay * 2, M.retry_last)
    end
  end
  return ("without a dead letter, which '%s' refuses"):format(self.dead_letter)
end

-- ---- where they may go ------------------------------------------------------

---How far sources of sources are followed.
local DEPTH = 8

---Under which subject a dead letter gets into a stream, by itself or by mirrors and sources.
---@param stores table<string, true> the streams that take its subject
---@return string|false|nil subject false: not known; nil: it does not
local function arrives(stream, subject, stores, depth)
  local info = depth > 0 and api.call("STREAM.INFO." .. stream)
  if not info then return nil end
  local fields = info.config
  if stores[stream] then return not fields.subject_transform and subject end
  for _, origin in ipairs(fields.mirror and { fields.mirror } or fields.sources or {}) do
    local from = not origin.external and arrives(origin.name, subject, stores, depth - 1)
    local filter = origin.filter_subject or ""
    if from ~= nil and (not from or filter == "" or subjects.matches(filter, from)) then
      return not (origin.subject_transforms or fields.subject_transform) and from
    end
  end
  return nil
end

local function delivers(consumer, subject)
  local filters = consumer.filter_subjects or { consumer.filter_subject }
  if not filters[1] or filters[1] == "" then return ">" end
  for _, filter in ipairs(subject and filters or {}) do
    if subjects.matches(filter, subject) then return filter end
  end
end

---@param limit integer the max_deliver of a consumer
---@return table err why there can be no dead letters with it
function M.limited(self, limit)
  return api.failure("jetstream", "%s has max_deliver = %d: the server would give up "
    .. "messages that have no dead letter yet. Give max_deliver to psub:consume, and none "
    .. "(-1) to the consumer", describe(self), limit)
end

---Whether this consumer can have dead letters on that subject, as far as that is known.
---@param self table stream, consumer, dead_letter
---@param info table of the consumer
---@return boolean|nil ok, table|nil err
function M.check(self, info)
  local limit = info.config.max_deliver
  if limit and limit > 0 then return nil, M.limited(self, limit) end
  if not self.opts.max_deliver then
    core.log(2, ("%s: 'dead_letter' without 'max_deliver': no message is given up"):format(
      describe(self)))
  end
  local reply, err = api.raw("STREAM.NAMES", { subject = self.dead_letter })
  if not reply then -- it may be forbidden to ask
    if err.code == "disconnected" or err.code == "closed" then return nil, err end
    return true
  end
  local stores = {}
  local names = type(reply.streams) == "table" and reply.streams or {} -- null: none
  for _, name in ipairs(names) do stores[name] = true end
  if not names[1] then
    core.log(2, ("%s: no stream takes the subject of its dead letters, '%s': a message that is "
      .. "given up waits until there is one"):format(describe(self), self.dead_letter))
  end
  local subject = next(stores) and arrives(self.stream, self.dead_letter, stores, DEPTH)
  local filter = subject ~= nil and delivers(info.config, subject)
  if not filter then return true end
  return nil, api.failure("jetstream", "%s would get its own dead letters: it delivers '%s', "
    .. "and '%s' gets into its stream", describe(self), filter, self.dead_letter)
end

return M
