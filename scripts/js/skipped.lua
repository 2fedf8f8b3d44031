---What servers before 2.9.12 pass over: when a subject is rolled up (KV purges, objects), a
---consumer goes on with the first message that is left of that subject, and whatever it had not
---delivered yet of others is skipped, without a gap in its own numbers (nats-server 2.9.10,
---server/stream.go, purge()). So before such a message is believed to be the next one, the
---stream is asked.
local core = require "lunats.core"
local api = require "lunats.js.api"

local M = {}

local MENDED = { 2, 9, 12 }

---Whether the server that we are connected to does so.
---@return boolean
function M.possible()
  local number = tostring(core.nats_info().version or ""):gmatch "%d+"
  for _, mended in ipairs(MENDED) do
    local has = tonumber(number()) or mended
    if has ~= mended then return has < mended end
  end
  return false
end

---Where the gap before a message begins that could be one.
---@param before integer sequence of the message before; 0: none has been read
---@return integer|nil before
local function gap(self, before, msg)
  if before == 0 then before = self.after end
  local only_last = self.config.deliver_policy == "last_per_subject"
  if only_last and before then before = self.last and math.max(before, self.last) end
  if before and msg.metadata.stream_sequence > before + 1 and msg.headers["Nats-Rollup"] then
    return before
  end
end

---Whether a message came before its turn; then the consumer has to be made again, and begins
---with what was skipped. Where nobody answers it is taken for one that did.
---@param self ordered
---@param before integer sequence of the message before
---@return boolean
function M.before(self, before, msg)
  before = gap(self, before, msg)
  if not before then return false end
  local filter = type(self.filter) == "table" and self.filter[1] or self.filter
  local reply, err = api.raw("STREAM.MSG.GET." .. self.stream,
    { seq = before + 1, next_by_subj = filter or ">" })
  if reply and reply.message.seq >= msg.metadata.stream_sequence
    or err and err.code == "not_found" then
    return false
  end
  core.log(2, ("stream '%s': this nats-server has skipped messages because a subject was "
    .. "rolled up (2.9.12 does not): they are read after all"):format(self.stream))
  self.box:forget()
  self.after = before
  return true
end

return M
