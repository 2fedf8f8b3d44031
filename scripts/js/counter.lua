---app.js.counter(): a number that a stream adds up, one for each subject. Whoever adds need not
---know its value. Servers from 2.12 on.
local core = require "lunats.core"
local check = require "lunats.check"
local json = require "lunats.json"
local api = require "lunats.js.api"
local publishing = require "lunats.js.publish"
local streams = require "lunats.js.streams"

local M = {}

---@class js.counter
---@field subject string
---@field stream string|nil known after the first get()
local counter = {}

---Servers count without limits: what is no integer of Lua stays text.
local function number_of(text) return math.tointeger(tonumber(text)) or text end

---An increment with its sign, as servers want it.
local function increment(what, n)
  if math.type(n) == "integer" then return ("%+d"):format(n) end
  local sign, digits
  if type(n) == "string" then sign, digits = n:match "^([+-]?)(%d+)$" end
  if not digits then
    local shown = (type(n) == "string" or type(n) == "number") and n or "a " .. type(n)
    error(("%s: a whole number expected, got %s"):format(what, shown), 3)
  end
  return (sign == "" and "+" or sign) .. digits
end

local function need_counters() return api.need_level(api.LEVEL_2_12, "counters") end

---Adds. After a time-out it may have been added: repeating is safe with a `msg_id` only.
---@param n integer|string|nil default 1; negative ones subtract
---@param opts { msg_id: string|nil, timeout: number|nil }|nil
---@return integer|string|nil value, table|nil err
function counter:add(n, opts)
  local what = "counter:add"
  local text = increment(what, n == nil and 1 or n)
  opts = core.check(what, opts, { msg_id = "string|number", timeout = "number" })
  local ok, err = need_counters()
  if not ok then return nil, err end
  local ack
  ack, err = publishing.publish(self.subject, nil, { headers = { ["Nats-Incr"] = text },
    msg_id = opts.msg_id, timeout = opts.timeout })
  if not ack then return nil, err end
  self.stream = self.stream or ack.stream
  -- The first answer to a repeated message told the value.
  if ack.duplicate or ack.val == nil then return self:get() end
  return number_of(ack.val)
end

---@return integer|string|nil value  a string when it is larger than an integer of Lua
---@return table|nil err  code "not_found": nobody has added anything
function counter:get()
  local ok, err = need_counters()
  if not ok then return nil, err end
  if not self.stream then
    self.stream, err = api.find_stream(self.subject)
    if not self.stream then return nil, err end
  end
  local message
  message, err = streams.get_msg(self.stream, { last_by_subject = self.subject },
    { direct = false, data_type = "string" })
  if not message then return nil, err end
  local body = json.decode(message.raw)
  local value = type(body) == "table" and type(body.val) == "string" and body.val
  if not value then
    return nil, api.failure("jetstream", "the subject '%s' of the stream '%s' is no counter",
      self.subject, self.stream)
  end
  return number_of(value)
end

local OPTIONS = { stream = "string" }

---@param subject string
---@param opts { stream: string|nil }|nil
---@return js.counter
function M.counter(subject, opts)
  local what = "app.js.counter"
  core.check_subject(subject)
  opts = core.check(what, opts, OPTIONS)
  if opts.stream then api.check_name(opts.stream, what .. ": stream") end
  return setmetatable({ subject = subject, stream = opts.stream }, counter)
end

check.class("counter", counter)

return M
