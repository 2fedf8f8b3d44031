---Reading one message of a stream, from its leader or from any server that has it.
local core = require "lunats.core"
local json = require "lunats.json"
local api = require "lunats.js.api"
local errors = require "lunats.js.errors"

local M = {}

-- ---- headers and times ----------------------------------------------------------

---The last value of a header. What the server adds comes after what a publisher has sent.
---@param headers table<string, string|string[]>
function M.last(headers, name)
  local value = headers[name]
  if type(value) == "table" then return value[#value] end
  return value
end

local TIME = "^(%d+)-(%d+)-(%d+)T(%d+):(%d+):(%d+)(%.?%d*)(.*)$"

---@param text string|nil RFC3339
---@return number|nil unix time; nil for the server's "never"
function M.unix(text)
  local year, month, day, hour, minute, second, fraction, zone = tostring(text):match(TIME)
  if not year or year == "0001" then return nil end
  local y, m = tonumber(year), tonumber(month)
  if m <= 2 then y, m = y - 1, m + 12 end
  -- Days since 1970-01-01; the year begins in March.
  local days = 365 * y + y // 4 - y // 100 + y // 400 + (153 * (m - 3) + 2) // 5 + day - 719469
  local sign, hours, minutes = zone:match "^([+-])(%d%d):(%d%d)$"
  local offset = sign and (hours * 3600 + minutes * 60) * (sign == "-" and -1 or 1) or 0
  return days * 86400 + hour * 3600 + minute * 60 + second - offset
    + (tonumber("0" .. fraction) or 0)
end

---Headers as on the wire: "NATS/1.0\r\nName: value\r\n\r\n".
local function parse_headers(text)
  local headers = {}
  for name, value in text:gmatch "\r\n([^:\r\n]+):[ \t]*([^\r\n]*)" do
    local old = headers[name]
    if type(old) == "table" then
      old[#old + 1] = value
    else
      headers[name] = old and { old, value } or value
    end
  end
  return headers
end

-- ---- reading one message ----------------------------------------------------------

---@class js.stored_message
---@field subject string
---@field sequence integer
---@field created number|nil
---@field data string
---@field headers table<string, string|string[]>

---Through the API: slower, from the leader of the stream.
local function get_from_leader(stream, query)
  local reply, err = api.raw("STREAM.MSG.GET." .. stream, query)
  if not reply then
    -- Not to be mistaken for a message that is not there.
    if err.err_code == errors.STREAM_NOT_FOUND then err.code = "no_stream" end
    return nil, err
  end
  local message = reply.message
  local headers = core.base64_decode(message.hdrs or "")
  local data = core.base64_decode(message.data or "")
  if not headers or not data then
    return nil, api.failure("jetstream", "the message %s of the stream '%s' came as what is no "
      .. "base64", message.seq, stream)
  end
  return {
    subject = message.subject, sequence = message.seq, created = M.unix(message.time),
    data = data, headers = parse_headers(headers),
  }
end

local LEADER_KNOWS = { service_error = true, timeout = true, no_responders = true }
---Seconds until the leader is asked.
local DIRECT_TIMEOUT = 2

---From any server that has the stream.
local function get_direct(stream, query)
  local op, body = "DIRECT.GET." .. stream, nil
  if query.last_by_subj then
    op = op .. "." .. query.last_by_subj
  else
    body = json.encode(query)
  end
  local msg, err = core.request(api.subject(op), body, { timeout = DIRECT_TIMEOUT })
  if not msg then
    -- A stored message may carry the header of an error reply; and nobody answers when the
    -- stream is gone or allows no direct reading any more.
    if LEADER_KNOWS[err.code] then return get_from_leader(stream, query) end
    return nil, err
  end
  local headers = msg.headers
  local sequence = math.tointeger(tonumber(M.last(headers, "Nats-Sequence")))
  local subject = M.last(headers, "Nats-Subject")
  if sequence and sequence > 0 and subject then
    return {
      subject = subject, sequence = sequence, data = msg.raw,
      created = M.unix(M.last(headers, "Nats-Time-Stamp")), headers = headers,
    }
  end
  if headers.Status == "404" then return api.not_found("no message found") end
  return nil, api.failure("jetstream", "direct get: %s %s", headers.Status or "no answer",
    headers.Description or "")
end

---Whoever goes from one message to the next must not be led back to where it has been.
---@param sequence integer of what has come
local function is_answer(query, sequence)
  if query.next_by_subj then return sequence >= query.seq end
  return query.seq == nil or sequence == query.seq
end

---@param config table of the stream
---@param query table { last_by_subj = }, { seq = } or { seq =, next_by_subj = }
---@return js.stored_message|nil message, table|nil err
function M.get(config, query)
  local get = config.allow_direct and get_direct or get_from_leader
  local message, err = get(config.name, query)
  if not message or is_answer(query, message.sequence) then return message, err end
  return nil, api.failure("jetstream", "the stream '%s' was asked for message %d%s, and "
    .. "message %d has come", config.name, query.seq,
    query.next_by_subj and " or a later one" or "", message.sequence)
end

return M
