---Messages made by hand, for calling a handler directly.
local M = {}

local msg = {}
msg.__index = msg

function msg:header(name)
  for key, value in pairs(self.headers) do
    if key:lower() == name:lower() then return type(value) == "table" and value[1] or value end
  end
end

function msg:respond(message)
  self.responses[#self.responses + 1] = message
  return true
end

---Like the real ones: the first settles the message, a second one is refused.
local function settle(self, how, detail)
  if self.settled then return nil, { code = "already_acked", message = "already settled" } end
  self.settled, self.detail = how, detail
  return true
end

function msg:ack() return settle(self, "ack") end
function msg:ack_sync() return settle(self, "ack") end
function msg:nak(delay) return settle(self, "nak", delay) end
function msg:term(reason) return settle(self, "term", reason) end

function msg:in_progress()
  self.progress = self.progress + 1
  return true
end

local METADATA = {
  stream = "STREAM", consumer = "consumer", stream_sequence = 1, consumer_sequence = 1,
  num_delivered = 1, num_pending = 0, timestamp = 0,
}

---A JetStream message: fields as given, the rest made up. Afterwards `settled` is "ack", "nak",
---"term" or nil, `detail` the delay or reason, `responses` what was sent with respond().
---@param fields { subject: string|nil, data: any, headers: table|nil, metadata: table|nil }
function M.js_msg(fields)
  local self = { subject = "subject", headers = {}, responses = {}, progress = 0 }
  for key, value in pairs(fields or {}) do self[key] = value end
  self.metadata = setmetatable(self.metadata or {}, { __index = METADATA })
  return setmetatable(self, msg)
end

return M
