---Publishing into streams: each message is acknowledged by the stream that stores it.
local core = require "lunats.core"
local check = require "lunats.check"
local json = require "lunats.json"
local api = require "lunats.js.api"

local M = {}

local OPTIONS = {
  msg_id = "string|number", expected_stream = "string", expected_last_seq = "number",
  expected_last_subject_seq = "number", expected_last_subject_seq_subject = "string",
  expected_last_msg_id = "string|number", rollup = "string", ttl = "number|string",
  headers = "table", timeout = "number", data_type = "string|table",
}
local HEADERS = {
  msg_id = "Nats-Msg-Id", expected_stream = "Nats-Expected-Stream",
  expected_last_seq = "Nats-Expected-Last-Sequence",
  expected_last_subject_seq = "Nats-Expected-Last-Subject-Sequence",
  expected_last_subject_seq_subject = "Nats-Expected-Last-Subject-Sequence-Subject",
  expected_last_msg_id = "Nats-Expected-Last-Msg-Id",
  rollup = "Nats-Rollup",
}
local SEQUENCES = { "expected_last_seq", "expected_last_subject_seq" }
---Headers that older servers store and do not look at.
local NEW = { ["Nats-TTL"] = "a ttl of messages",
  [HEADERS.expected_last_subject_seq_subject] = "expectations about another subject" }

---A stream without a leader answers like none at all; both pass.
local NO_STREAM_DELAY, NO_STREAM_RETRIES = 0.25, 2

---Seconds: servers count nanoseconds in 64 bits.
local MOST_TTL = 9e9

---Whole seconds, as the server counts them, or text that it understands: "1h30m", "never".
local function ttl_text(what, ttl)
  if type(ttl) == "string" then return ttl end
  if not (ttl >= 1 and ttl <= MOST_TTL) then
    core.blame(what .. ": ttl must be a number of seconds, 1 or more")
  end
  return ("%d"):format(math.ceil(ttl))
end

M.ttl_text = ttl_text

---What is sent with these options.
---@param opts table|nil
---@return any message
local function encoded(message, opts)
  local kind = opts and opts.data_type
  if kind == nil or kind == "json" or kind == "string" then return message end
  local codecs = require "lunats.codec"
  return codecs.encode(codecs.of(kind), message)
end
M.encoded = encoded

local function check_options(what, opts)
  opts = core.check(what, opts, OPTIONS)
  for _, name in ipairs(SEQUENCES) do
    check.whole(what, name, opts[name], 0)
  end
  if opts.rollup and opts.rollup ~= "sub" and opts.rollup ~= "all" then
    core.blame(what .. ": rollup must be \"sub\" or \"all\"") -- the server says nothing at all
  end
  local headers = {}
  for name, value in next, opts.headers or {} do headers[name] = value end
  for option, name in pairs(HEADERS) do headers[name] = opts[option] or headers[name] end
  if opts.ttl then headers["Nats-TTL"] = ttl_text(what, opts.ttl) end
  return opts, { timeout = opts.timeout or api.timeout, headers = headers }
end

M.check_options = check_options

---A stream of the domain that a message comes by takes it as well, if it has the subject.
local function of_our_domain(ack)
  local domain = ack.domain
  if domain == nil or api.domain == nil or domain == api.domain then return ack end
  local err = api.failure("jetstream", "the stream '%s' of the domain '%s' has stored the "
    .. "message, not one of '%s'", ack.stream, domain, api.domain)
  err.ack = ack
  return nil, err
end
M.of_our_domain = of_our_domain

---Anybody who listens to the subject may answer first, so an answer is checked.
local function pub_ack(subject, msg)
  local ack = json.decode(msg.raw)
  if type(ack) ~= "table" then ack = {} end
  if type(ack.error) == "table" then return nil, api.error(ack.error) end
  local named = type(ack.stream) == "string" and core.js_name_ok(ack.stream)
  if not named or math.type(ack.seq) ~= "integer" or ack.seq < 1 then
    return nil, api.failure("jetstream", "the answer to '%s' does not come from a stream: "
      .. "another subscriber of the subject has replied", subject)
  end
  ack.duplicate = ack.duplicate == true
  return of_our_domain(ack)
end
M.pub_ack = pub_ack

---@param request table timeout, headers: what check_options() has made of the options
local function send(subject, message, _, request)
  for name, what in pairs(NEW) do
    if request.headers[name] then
      local ok, err = api.need_level(1, what)
      if not ok then return nil, err end
    end
  end
  local due
  for attempt = 0, NO_STREAM_RETRIES do
    local msg, err = core.request_stored(subject, message, request)
    if msg then return pub_ack(subject, msg) end
    due = due or core.clock() + request.timeout -- "no responders" comes at once
    -- After a time-out the message may have been stored: only the caller knows whether a second
    -- one does harm.
    if err.code ~= "no_responders" then return nil, err end
    if attempt == NO_STREAM_RETRIES or core.clock() + NO_STREAM_DELAY >= due then break end
    core.sleep(NO_STREAM_DELAY)
  end
  return nil, api.failure("no_stream", "no stream takes the subject '%s'", subject)
end
M.send = send

---The result of a publish without options that got no plain acknowledgement.
---@param other msg|table an answer of another kind, or an error
local function exceptional(subject, message, other)
  if type(other) == "userdata" then return pub_ack(subject, other) end
  if other.code ~= "no_responders" then return nil, other end
  core.sleep(NO_STREAM_DELAY)
  return send(subject, message, check_options("app.js.publish"))
end
M.exceptional = exceptional

---Publishes and waits until a stream has stored the message.
---@param subject string
---@param message any
---@param opts table|nil
---@return table|nil ack, table|nil err
function M.publish(subject, message, opts)
  if opts == nil then -- as most are: checking options costs more than sending
    local ack, other = core.js_publish(subject, message)
    if ack then return of_our_domain(ack) end
    return exceptional(subject, message, other)
  end
  local request
  opts, request = check_options("app.js.publish", opts)
  return send(subject, encoded(message, opts), opts, request)
end

---Publishes an empty message to a subject whose tokens may look like wildcards.
---@param subject string
---@param headers table
---@return table|nil ack, table|nil err
function M.publish_literal(subject, headers)
  local msg, err = core.request_literal(subject, nil,
    { timeout = api.timeout, headers = headers })
  if not msg then return nil, err end
  return pub_ack(subject, msg)
end

return M
