---What the server's errors about streams and consumers leave out: which stream, which subjects.
---Looked up when there is such an error, in the units of the wire.
local api = require "lunats.js.api"
local errors = require "lunats.js.errors"

local function quoted(list) return "'" .. table.concat(list, "', '") .. "'" end

local OF_TWO_WORDS = { DURABLE = true, LEADER = true, MSG = true, PEER = true }

---The stream of a request: the name behind its verb. Names may be in capitals as verbs are.
local function stream_of(op)
  local verb, rest = op:match "^%u+%.(%u+)%.(.+)"
  if OF_TWO_WORDS[verb] then rest = rest:match "^%u+%.(.+)" end
  return rest and rest:match "^[^.]+"
end

local function missing_stream(op)
  return ("stream '%s' not found: app.js.add_stream makes one"):format(stream_of(op))
end

local function foreign_filter(op, body)
  local stream, config = stream_of(op), body and body.config
  if not config then return nil end -- no request that may be refused so
  local there = api.raw("STREAM.INFO." .. stream)
  local wanted = config.filter_subjects or { config.filter_subject }
  local subjects = there and there.config.subjects
  if not subjects or #wanted == 0 then return nil end
  return ("stream '%s' takes %s, so a consumer cannot read %s from it"):format(stream,
    quoted(subjects), quoted(wanted))
end

---Each subject that another stream has, with that stream.
local function taken_subjects(op, body)
  local list, name = {}, stream_of(op)
  if not body then return nil end
  for _, subject in ipairs(body.subjects or { name }) do
    local found = api.raw("STREAM.NAMES", { subject = subject })
    for _, other in ipairs(found and found.streams or {}) do
      if other ~= name then
        list[#list + 1] = ("%s is among those of stream '%s'"):format(subject, other)
      end
    end
  end
  if #list == 0 then return nil end
  return ("subjects of stream '%s' overlap with another one: %s. A subject belongs to one "
    .. "stream"):format(name, table.concat(list, ", "))
end

local ADVICE = {
  [errors.STREAM_NOT_FOUND] = missing_stream,
  [errors.FILTER_OUTSIDE] = foreign_filter,
  [errors.SUBJECTS_OVERLAP] = taken_subjects,
}

---@param op string  of the request
---@param body table|nil  of the request
---@param err table  of the answer; its message says more then
return function(op, body, err)
  local find = stream_of(op) and ADVICE[err.err_code]
  local text = find and find(op, body)
  if text then err.message = ("%s (JetStream error %d)"):format(text, err.err_code) end
  return err
end
