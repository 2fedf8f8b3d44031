---Configurations of streams and consumers between Lua and the wire: seconds here, integer
---nanoseconds there; times as Unix numbers or RFC3339 strings here, strings there.
local json = require "lunats.json"

local M = {}

-- A field unknown to us is passed on as it is: the server may be newer than we are.

local function set(...)
  local names = {}
  for _, name in ipairs { ... } do names[name] = true end
  return names
end

---Fields in seconds, at whatever depth.
local DURATIONS = set("max_age", "duplicate_window", "ack_wait", "idle_heartbeat",
  "inactive_threshold", "max_expires", "subject_delete_marker_ttl", "priority_timeout",
  "pause_remaining", "active")
---Lists of seconds.
local DURATION_LISTS = set("backoff")
local TIMES = set("opt_start_time", "pause_until")
---Tables of the server whose keys are not names of fields: words of the user, subjects.
local OPAQUE = set("metadata", "subjects")

---@param name string of a field
---@return boolean
function M.is_duration(name) return DURATIONS[name] == true end

local NANOSECONDS = 1000000000
local LONGEST = math.maxinteger // NANOSECONDS

---Rounds, because 0.1 + 0.2 is not 0.3: the server accepts integers only.
---@param seconds number
---@param what string names the field in errors
---@return integer nanoseconds
function M.nanoseconds(seconds, what)
  if type(seconds) ~= "number" then
    error(("%s: a number of seconds expected, got %s"):format(what, type(seconds)), 0)
  end
  if not (seconds >= 0 and seconds <= LONGEST) then
    error(("%s: %s is not a number of seconds from 0 to %d"):format(what, seconds, LONGEST), 0)
  end
  if math.type(seconds) == "integer" then return seconds * NANOSECONDS end
  return math.floor(seconds * NANOSECONDS + 0.5)
end

---@param nanoseconds integer
---@return number seconds an integer where it is a whole number
function M.seconds(nanoseconds)
  if math.type(nanoseconds) == "integer" and nanoseconds % NANOSECONDS == 0 then
    return nanoseconds // NANOSECONDS
  end
  return nanoseconds / NANOSECONDS
end

local RFC3339 = "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d[%d.]*[Z+-][%d:]*$"

---@param time number|string Unix time, or RFC3339 as it is
---@param what string names the field in errors
---@return string
function M.rfc3339(time, what)
  if type(time) == "string" and time:find(RFC3339) then return time end
  if type(time) ~= "number" or not (time >= 0 and time < 253402300800) then
    error(("%s: a Unix time or an RFC3339 string expected, got %s"):format(what,
      tostring(time)), 0)
  end
  local micros = math.floor(time * 1e6 + 0.5)
  local text = os.date("!%Y-%m-%dT%H:%M:%S", micros // 1000000)
  local rest = micros % 1000000
  return rest == 0 and text .. "Z" or ("%s.%06dZ"):format(text, rest)
end

local to_wire

---A whole number written as 1e6 is a float in Lua; the server accepts integers only.
local function scalar_to_wire(value)
  return math.type(value) == "float" and math.tointeger(value) or value
end

local function list_to_wire(list, path, is_duration)
  local out = json.array()
  for i, value in ipairs(list) do
    local at = ("%s[%d]"):format(path, i)
    if is_duration then
      out[i] = M.nanoseconds(value, at)
    elseif type(value) == "table" then
      out[i] = to_wire(value, at)
    else
      out[i] = scalar_to_wire(value)
    end
  end
  return out
end

local function value_to_wire(name, value, path)
  if value == json.null then return value end
  if DURATIONS[name] then return M.nanoseconds(value, path) end
  if TIMES[name] then return M.rfc3339(value, path) end
  if type(value) ~= "table" then return scalar_to_wire(value) end
  -- An empty table would become {}, which the server refuses where it expects a list. Left out
  -- it means the same.
  if next(value) == nil then return nil end
  if name == "metadata" then return value end
  if #value > 0 then return list_to_wire(value, path, DURATION_LISTS[name]) end
  return to_wire(value, path)
end

---A copy for the wire. Raises (level 0) when a duration or time has the wrong type.
---@param config table
---@param path string? what errors call it
---@return table
function to_wire(config, path)
  local out = json.object()
  for name, value in next, config do
    out[name] = value_to_wire(name, value, (path and path .. "." or "") .. tostring(name))
  end
  return out
end
M.to_wire = to_wire

---A copy of an answer of the server with seconds for nanoseconds and nil for null.
---@param value table
---@return table
function M.from_wire(value)
  local out = json.is_array(value) and json.array() or {}
  for name, one in next, value do
    if one == json.null then
      one = nil
    elseif DURATIONS[name] and type(one) == "number" then
      one = M.seconds(one)
    elseif DURATION_LISTS[name] and type(one) == "table" then
      local list = json.array()
      for i, nanoseconds in ipairs(one) do
        list[i] = type(nanoseconds) == "number" and M.seconds(nanoseconds) or nanoseconds
      end
      one = list
    elseif type(one) == "table" and not OPAQUE[name] then
      one = M.from_wire(one)
    end
    out[name] = one
  end
  return out
end

---The same for each of a list that may not have come.
---@param list table[]|nil
---@param err table|nil
---@return table[]|nil list, table|nil err
function M.all_from_wire(list, err)
  if not list then return nil, err end
  for i, one in ipairs(list) do list[i] = M.from_wire(one) end
  return list
end

-- ---- what the server silently ignored ---------------------------------------

---Values that mean the same as leaving the field out.
local function is_default(value)
  return value == false or value == 0 or value == "" or value == json.null
    or value == "none" or value == "default"
    or (type(value) == "table" and next(value) == nil)
end
M.is_default = is_default

local function first_ignored(asked, got, path)
  local names = {}
  for name in pairs(asked) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(names) do
    local want, have = asked[name], got[name]
    local at = path .. tostring(name)
    if type(want) == "table" and type(have) == "table" then
      local inner = first_ignored(want, have, at .. ".")
      if inner then return inner end
      if #want ~= #have then return at end
    elseif want ~= have and not is_default(want) and not (have and TIMES[name])
      and not (type(want) == "number" and want < 0 and (have or 0) <= 0) then
      return at
    end
  end
end

-- ---- what is to be changed ---------------------------------------------------

---What the server itself adds to the metadata.
local function is_servers(name) return type(name) == "string" and name:find "^_nats%." end

---12:00:00Z and 12:00:00.000Z are the same, and 12:00:00.5Z and 12:00:00.50Z.
local function instant(time)
  return (tostring(time):gsub("(%.%d-)0*Z$", "%1Z"):gsub("%.Z$", "Z"))
end

---Whether two values on the wire that are no tables mean the same.
---@param name string of the field
---@return boolean
function M.same_value(name, a, b)
  if TIMES[name] and a and b then return instant(a) == instant(b) end
  return a == b
end

local differs

---The words of the user among the metadata.
---@param metadata table
---@return table
function M.own_metadata(metadata)
  local own = {}
  for key, value in pairs(metadata) do own[key] = not is_servers(key) and value or nil end
  return own
end

local function differs_value(name, want, have)
  if name == "metadata" and type(have) == "table" then have = M.own_metadata(have) end
  if type(want) == "table" and type(have) == "table" then
    for key in pairs(have) do
      if (name == "metadata" or math.type(key)) and want[key] == nil then return true end
    end
    return differs(want, have)
  end
  if TIMES[name] and want and have then return not M.same_value(name, want, have) end
  if type(want) == "number" and want <= 0 then return (tonumber(have) or 0) > 0 end
  return want ~= have and not (is_default(want) and (have == nil or is_default(have)))
end

---Whether a configuration has other values where something is asked for; both as on the wire.
---@param asked table
---@param got table
---@return boolean
function differs(asked, got)
  for name, want in pairs(asked) do
    if differs_value(name, want, got[name]) then return true end
  end
  return false
end
M.differs = differs

---The server's configuration with the fields that are asked for; json.null removes one.
---@param old table
---@param asked table
---@return table
function M.merge(old, asked)
  local new = json.object()
  for name, value in pairs(old) do new[name] = value end
  for name, value in pairs(asked) do
    if name == "metadata" and type(value) == "table" then
      local metadata = json.object()
      for key, one in pairs(value) do metadata[key] = one end
      for key, one in pairs(old.metadata or {}) do
        if is_servers(key) then metadata[key] = one end
      end
      value = metadata
    end
    new[name] = value ~= json.null and value or nil
    if value == false then new[name] = false end
  end
  return new
end

---Where in a configuration a field stands: the server names it without its path.
---@return string|nil field "sources.1.name"
function M.path_of(fields, wanted)
  if fields[wanted] ~= nil then return wanted end
  for name, value in pairs(fields) do
    local inner = type(value) == "table" and M.path_of(value, wanted)
    if inner then return name .. "." .. inner end
  end
end

---Fields that the server may answer with another value although it knows them.
local FREE = set("name", "durable_name", "deliver_subject", "num_replicas")

---Compares what was asked with the server's echo, both as on the wire.
---@param asked table
---@param got table
---@return string|nil field the first one that the server does not know, or did otherwise
function M.ignored(asked, got)
  local rest = {}
  for name, value in pairs(asked) do
    if not FREE[name] then rest[name] = value end
  end
  if rest.backoff and got.backoff then rest.ack_wait = nil end -- the server takes backoff[1]
  return first_ignored(rest, got, "")
end

return M
