---What a stored dead letter says of itself: where it comes from, why, and whether all of it is
---there. js/dead_letter.lua writes what is read here.
local stored = require "lunats.js.stored"

local M = {}

---Headers that tell of the last failure; they do not go back to the origin.
local OWN = {}
for _, name in ipairs { "Reason", "Error", "Stream", "Consumer", "Sequence", "Subject",
  "Deliveries", "Time", "Size", "Headers-Left-Out", "Redriven", "Redrives" } do
  OWN["dead-letter-" .. name:lower()] = true
end

local function header(headers, name)
  local value = headers["Dead-Letter-" .. name]
  return type(value) == "table" and value[1] or value
end

local function number(headers, name) return math.tointeger(tonumber(header(headers, name))) end

---The id that psub:consume() has given to it: "stream:consumer:sequence:time of the message".
---@return string|nil id, number|nil time
local function id_of(headers, origin)
  local id = stored.last(headers, "Nats-Msg-Id")
  local own = ("%s:%s:%d:"):format(origin.stream, origin.consumer, origin.sequence)
  if type(id) ~= "string" or id:sub(1, #own) ~= own then return nil end
  return id, tonumber(id:sub(#own + 1))
end

---@class js.letter
---@field seq integer
---@field subject string
---@field time number
---@field size integer
---@field reason string|nil
---@field error string|nil
---@field deliveries integer|nil
---@field redrives integer
---@field cut boolean
---@field origin { stream: string, sequence: integer, subject: string, consumer: string|nil,
---  time: number|nil }

---@param stream string in which it lies
---@param message js.stored_message
---@return js.letter|nil letter nil: this is no dead letter
---@return string|nil id that no other dead letter has
function M.read(stream, message)
  local headers = message.headers
  local origin = { stream = header(headers, "Stream"), subject = header(headers, "Subject"),
    sequence = number(headers, "Sequence"), consumer = header(headers, "Consumer") }
  if not (origin.stream and origin.subject and origin.sequence) then return nil end
  local id
  id, origin.time = id_of(headers, origin)
  local left_out, size = number(headers, "Headers-Left-Out"), number(headers, "Size")
  return {
    seq = message.sequence, subject = message.subject,
    time = stored.unix(header(headers, "Time")) or message.created or 0,
    size = size or #message.raw, reason = header(headers, "Reason"),
    error = header(headers, "Error"), deliveries = number(headers, "Deliveries"),
    redrives = number(headers, "Redrives") or 0, cut = (left_out or size) ~= nil,
    origin = origin,
  }, id or ("%s:%d:%.6f"):format(stream, message.sequence, message.created or 0)
end

---The headers with which a message goes back: those that it had, and what it has been through.
---What was meant for a server stays under the name that does nothing.
---@param headers table<string, string|string[]>
---@param stream string of the dead letter
---@param letter js.letter
function M.headers_back(headers, stream, letter)
  local back = {}
  for name, value in pairs(headers) do
    local lower = name:lower()
    if not OWN[lower] and lower:sub(1, 5) ~= "nats-" then back[name] = value end
  end
  back["Dead-Letter-Redriven"] = ("%s:%d"):format(stream, letter.seq)
  back["Dead-Letter-Redrives"] = letter.redrives + 1
  return back
end

return M
