---Streams that are deleted and made again under their name: by somebody, or because they were
---kept in the memory of a server that was restarted. Sequences begin at 1 again there, so a
---reader that went on behind the last message that it has seen would skip all that are new. It
---asks here before it goes on, and begins anew where the stream is another one.
local core = require "lunats.core"
local api = require "lunats.js.api"
local consumers = require "lunats.js.consumers"
local subjects = require "lunats.subject"

local M = {}

---When the streams were made of which the log has told: each has many readers.
local told = {}

---@class generation
---@field stream string
---@field created string|nil when the stream was made; nil: we may not know
---@field subjects string[]|nil where all its messages come from, if that is known
local generation = {}
generation.__index = generation

---Messages of a stream that copies others, or renames them, have other subjects than it takes.
local function sources_of(config)
  local copies = config.mirror or config.sources or config.subject_transform
  return not copies and config.subjects or nil
end

---@param stream string
---@param created string|nil what the server says of it, if that is known already
---@return generation|nil generation, table|nil err
function M.of(stream, created)
  local self = setmetatable({ stream = stream, created = created }, generation)
  if created then return self end
  local info, err = api.raw("STREAM.INFO." .. stream)
  if not info and not api.concealed(err) then return nil, err end
  if info then
    self.created, self.subjects = info.created, sources_of(info.config)
  end
  return self
end

---Servers from 2.10 on let a consumer read what its stream does not take: the log tells, once.
---@param filter string|nil
function generation:tell_foreign(filter)
  local taken = self.subjects
  self.subjects = nil
  if not taken or not filter then return end
  for _, subject in ipairs(taken) do
    if subjects.overlap(subject, filter) then return end
  end
  core.log(2, ("nothing can come on '%s': stream '%s' takes '%s'"):format(filter, self.stream,
    table.concat(taken, "', '")))
end

---Whether the stream is another one than at the last call: it was made at another time, or has
---fewer messages than were read. The log tells.
---@param sequence integer the last one that was read
---@return boolean|nil replaced, table|nil err
function generation:replaced(sequence)
  local info, err = api.raw("STREAM.INFO." .. self.stream)
  if not info then
    if api.concealed(err) then return false end -- nobody can tell
    return nil, err
  end
  local before = self.created
  self.created = info.created
  if before == nil or before == info.created then
    if info.state.last_seq >= sequence then return false end
  end
  if told[self.stream] ~= info.created then
    told[self.stream] = info.created
    core.log(2, ("stream '%s' was deleted and made again: its readers begin anew"):format(
      self.stream))
  end
  return true
end

local KEEPS = { all = true, last_per_subject = true }

---The configuration of a consumer that reads another stream than the one it was declared for:
---all messages are new there.
function M.begin_anew(fields)
  if fields.deliver_policy and not KEEPS[fields.deliver_policy] then
    fields.deliver_policy = "all"
  end
  fields.opt_start_seq, fields.opt_start_time = nil, nil
end

---Makes the consumer of a subscription again. It may be called again after a failure.
---@param self table stream, consumer, generation; floor: up to there all is acknowledged
---@param make fun(anew: boolean): table|nil, table|nil  anew: the stream is another one
---@return table|nil info, table|nil err
function M.create_again(self, make)
  local lost = consumers.describe(self)
  local replaced, err = self.generation:replaced(self.floor or 0)
  while replaced ~= nil do
    if replaced then self.floor, self.anew = nil, true end
    local info
    info, err = make(self.anew == true)
    if not info then return nil, err end
    -- It may have been replaced between the two requests.
    replaced, err = self.generation:replaced(0)
    if not replaced then
      if not self.anew then
        core.log(2, ("%s is gone, and is made again"):format(lost))
      end
      self.anew = nil
      return info
    end
    consumers.delete(self.stream, self.consumer)
  end
  return nil, err
end

return M
