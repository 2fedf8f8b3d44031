---Leases: keys of a bucket that instances of services compete for.
---
---The holder of one writes it again and again, each time expecting the revision of its last
---write (in C, so that it goes on while Lua is busy), and steps down by its own clock after two
---thirds of the lease's time without a confirmation. Others write it, expecting the revision
---that they have seen, once they have seen the same one for the whole time by their own clock.
---No clock is compared with another one.
local core = require "lunats.core"
local api = require "lunats.js.api"
local entries = require "lunats.js.kv_entry"
local fleet = require "lunats.js.fleet"
local json = require "lunats.json"
local publishing = require "lunats.js.publish"
local stored = require "lunats.js.stored"

local M = {
  ---Seconds: of a lease unless asked for, and what it may be.
  TTL = 15, LEAST_TTL = 1, MOST_TTL = 3600,
  BUCKET = "LUNATS_LEASES",
}
M.STREAM = "KV_" .. M.BUCKET
---For lunats.js.kv_entry.
M.kv = { bucket = M.BUCKET, prefix = ("$KV.%s."):format(M.BUCKET) }

---Keys of services that are gone do not stay for ever.
local MAX_AGE = 24 * M.MOST_TTL

local CONFIG = {
  name = M.STREAM, subjects = { "$KV." .. M.BUCKET .. ".>" }, max_msgs_per_subject = 1,
  storage = "file", discard = "new", allow_rollup_hdrs = true, deny_delete = true,
  max_age = MAX_AGE, description = "who leads: app.leader of lunats",
}

---Why a bucket that is there cannot keep leases.
local function fault(found)
  local age = found.max_age or 0
  if found.storage ~= "file" then
    return ("storage is '%s', so it forgets who leads when a server starts again")
      :format(found.storage)
  end
  if age > 0 and age < 2 * M.MOST_TTL then
    return ("max_age is %g s, less than twice the longest lease (%d s)"):format(age, M.MOST_TTL)
  end
  if found.mirror then return "it is a mirror" end
  if found.sealed then return "it is sealed" end
end

---Finds the bucket, or makes it.
---@param what string  who needs it, for errors: "app.leader"
---@return boolean|nil ok, table|nil err
function M.ensure(what) return fleet.ensure(what, CONFIG, fault) end

---@param key string
---@return string
function M.subject(key) return ("$KV.%s.%s"):format(M.BUCKET, key) end

---The subject on which a key is written: in another domain it is another one.
function M.put_subject(key)
  return (api.prefix ~= "$JS.API" and api.prefix .. "." or "") .. M.subject(key)
end

---What a holder says of itself; at least how long others have to wait.
---@param text string|nil
---@return table value  with `ttl`
function M.value_of(text)
  local value = text and json.decode(text)
  if type(value) ~= "table" then value = {} end
  local ttl = tonumber(value.ttl)
  value.ttl = ttl and ttl >= M.LEAST_TTL and ttl <= M.MOST_TTL and ttl or M.MOST_TTL
  return value
end

---@class lease_slot
---@field revision integer  of the lease, as far as it was seen; 0: there is none
---@field holder string|nil  nil: it is free
---@field ends number|nil  core.exact_clock() when it is free if its holder keeps silent

---What was seen of a lease.
---@param slot lease_slot
---@param revision integer
---@param value table|nil  of value_of(); nil: it was given back
function M.note(slot, revision, value)
  slot.revision = revision
  slot.holder = value and tostring(value.holder)
  slot.ends = value and core.exact_clock() + value.ttl
end

---Notes what the bucket has of a lease now.
---@param slot lease_slot
---@param key string
function M.look(slot, key)
  local message, err = stored.get({ name = M.STREAM }, { last_by_subj = M.subject(key) })
  if message then
    local entry = entries.from_stored(M.kv, message)
    M.note(slot, entry.revision, entry.operation == "PUT" and M.value_of(entry.value) or nil)
  elseif err.code == "not_found" then
    M.note(slot, 0, nil)
  end
end

---Goes on with a lease that has been taken.
---@param state table
---@return table held  lease, and the state, whose `token` grows with each new holder
function M.open(state) return { lease = core.js_lease(state), state = state } end

---Writes a key.
---@param key string
---@param value table  what the holder says of itself, with `ttl`
---@param revision integer  the expected one, 0: there is none
---@param drains boolean|nil  see core.js_lease()
---@return table|nil held, table|nil err
function M.take(key, value, revision, drains)
  local sent, id, subject = core.exact_clock(), core.new_inbox(), M.put_subject(key)
  local text = json.encode(value)
  local ack, err
  for _ = 1, 2 do -- the server tells what has become of the first one
    ack, err = publishing.publish(subject, text, { expected_last_subject_seq = revision,
      msg_id = id, timeout = value.ttl / 6 })
    if ack or err.code ~= "timeout" then break end
  end
  if not ack then return nil, err end
  return M.open { subject = subject, value = text, id = id, ttl = value.ttl, drains = drains,
    token = ack.seq, revision = ack.seq, number = 1, confirmed = sent, sent = 0 }
end

return M
