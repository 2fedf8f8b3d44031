---In what a configuration that is asked for differs from the one that is there, whose defaults
---the server has filled in.
local json = require "lunats.json"
local config = require "lunats.js.config"

local M = {}

-- ---- what a server fills in ---------------------------------------------------

local SECOND = 1000000000

local DEFAULTS = {
  stream = { retention = "limits", storage = "file", discard = "old", num_replicas = 1 },
  consumer = { deliver_policy = "all", replay_policy = "instant", max_waiting = 512,
    max_ack_pending = 1000 },
}

---Fields whose default depends on others: whether `found` is what leaving them out means.
local filled = {}

function filled.subjects(found, got)
  return #found == 1 and found[1] == got.name
end

function filled.duplicate_window(found, got)
  return found == 120 * SECOND or found == got.max_age
end

function filled.ack_wait(found, got)
  return found == 30 * SECOND or got.backoff ~= nil and found == got.backoff[1]
end

function filled.inactive_threshold(found, got)
  return found == 5 * SECOND and not got.durable_name
end

---A mirror takes it from the stream that it copies.
function filled.mirror_direct() return true end

---Markers of deletions need it.
function filled.allow_rollup_hdrs(_, got) return got.subject_delete_marker_ttl ~= nil end

---The server knows a consumer by its name, too.
function filled.name() return true end

-- ---- comparing ------------------------------------------------------------------

local function is_unset(value)
  if type(value) == "table" then
    for _, one in pairs(value) do
      if not is_unset(one) then return false end
    end
    return true
  end
  return value == nil or config.is_default(value) or type(value) == "number" and value < 0
end

local function same(name, a, b)
  if is_unset(a) and is_unset(b) then return true end
  if type(a) ~= "table" or type(b) ~= "table" then return config.same_value(name, a, b) end
  for key in pairs(a) do
    if not same(key, a[key], b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil and not is_unset(b[key]) then return false end
  end
  return true
end

local function is_same(kind, name, asked, got)
  local want, have = asked[name], got[name]
  if name == "metadata" then
    want, have = config.own_metadata(want or {}), config.own_metadata(have or {})
  end
  if want == json.null then want = nil end
  local default = DEFAULTS[kind][name]
  if is_unset(want) and have ~= nil then
    if have == default or filled[name] and filled[name](have, got) then return true end
  elseif is_unset(have) and want == default then
    return true
  end
  return same(name, want, have)
end

---@param kind "stream"|"consumer"
---@param asked table the whole configuration that is asked for, as on the wire
---@param got table the one of the server, as on the wire
---@return js.difference[] list by name
function M.list(kind, asked, got)
  local names, list = {}, {}
  for name in pairs(asked) do names[name] = true end
  for name in pairs(got) do names[name] = true end
  local here, there = config.from_wire(asked), config.from_wire(got)
  if there.metadata then there.metadata = config.own_metadata(there.metadata) end
  for name in pairs(names) do
    if not is_same(kind, name, asked, got) then
      list[#list + 1] = { field = name, asked = here[name], found = there[name] }
    end
  end
  table.sort(list, function(a, b) return a.field < b.field end)
  return list
end

-- ---- in words --------------------------------------------------------------------

local MOST, LONGEST = 6, 120

local function value_text(field, value)
  if value == nil or type(value) == "number" and value <= 0 then return "not set" end
  local seconds = config.is_duration(field) or field:find "ttl$" -- the latter of buckets
  if seconds and type(value) == "number" then return value .. " s" end
  local ok, text = pcall(json.encode, value)
  if not ok then return "a " .. type(value) end -- what a server tells may have any shape
  return #text > LONGEST and text:sub(1, LONGEST) .. "..." or text
end

---@param list js.difference[]
---@return string "max_msgs is 10 on the server and 11 here; ..."
function M.text(list)
  local parts = {}
  for i, one in ipairs(list) do
    if i > MOST then
      parts[i] = ("%d more"):format(#list - MOST)
      break
    end
    parts[i] = ("%s is %s on the server and %s here"):format(one.field,
      value_text(one.field, one.found), value_text(one.field, one.asked))
  end
  return table.concat(parts, "; ")
end

---Adds to an err of the server that something is there already what differs.
---@param err table
---@param subject string "stream 'ORDERS'"
---@param list js.difference[]
---@param advice string what to do
---@return table err
function M.exists(err, subject, list, advice)
  err.differences = list
  err.message = ("%s exists with another configuration: %s. %s (JetStream error %s)"):format(
    subject, M.text(list), advice, err.err_code)
  return err
end

---The same where the server refuses a change.
---@param advice string what to do if it never allows it
---@return table err
function M.refused(err, subject, list, advice)
  if not list[1] then return err end
  err.differences = list
  local words = err.description or ""
  local never = words:find "can ?not change" or words:find "can ?not update"
    or words:find "can ?not be updated" or words:find "can ?not be disabled"
  err.message = ("%s cannot be changed so: %s (JetStream error %s): %s%s"):format(subject,
    words, err.err_code or "?", M.text(list), never and ". " .. advice or "")
  return err
end

return M
