---What streams and consumers can be configured with: a field that nobody knows, or a value that
---cannot be meant, is an error of the caller before anything is sent.
local core = require "lunats.core"
local json = require "lunats.json"

local M = {}

---The newest nats-server whose fields are all in here. What a newer one may know is left to it.
local NEWEST_MAJOR, NEWEST_MINOR = 2, 15

-- ---- the fields -------------------------------------------------------------

---A kind is the name of a check below, a list of words, or a table of fields; { LIST, kind } is
---a list. Times and durations ("time") are checked where they are converted.
local LIST = {}
M.LIST = LIST
local STRINGS, TIMES = { LIST, "string" }, { LIST, "time" }

local TRANSFORM = { src = "string", dest = "string" }

local SOURCE = {
  name = "string", opt_start_seq = "count", opt_start_time = "time", filter_subject = "string",
  subject_transforms = { LIST, TRANSFORM }, external = { api = "string", deliver = "string" },
  consumer = { name = "string", deliver_subject = "string" },
}

---@type table<string, table<string, any>>
M.fields = {
  stream = {
    name = "string", description = "string", subjects = { LIST, "subject" }, metadata = "words",
    retention = { "limits", "interest", "workqueue" }, storage = { "file", "memory" },
    discard = { "old", "new" }, compression = { "none", "s2" },
    persist_mode = { "default", "async" },
    max_consumers = "whole", max_msgs = "whole", max_bytes = "whole", max_msg_size = "whole",
    max_msgs_per_subject = "whole", num_replicas = "whole", first_seq = "count",
    max_age = "time", duplicate_window = "time", subject_delete_marker_ttl = "time",
    allow_atomic = "boolean", allow_batched = "boolean", allow_direct = "boolean",
    allow_msg_counter = "boolean", allow_msg_schedules = "boolean", allow_msg_ttl = "boolean",
    allow_rollup_hdrs = "boolean", deny_delete = "boolean", deny_purge = "boolean",
    discard_new_per_subject = "boolean", mirror_direct = "boolean", no_ack = "boolean",
    pedantic = "boolean", sealed = "boolean", template_owner = "string",
    mirror = SOURCE, sources = { LIST, SOURCE }, subject_transform = TRANSFORM,
    placement = { cluster = "string", tags = STRINGS, preferred = "string" },
    republish = { src = "string", dest = "string", headers_only = "boolean" },
    consumer_limits = { inactive_threshold = "time", max_ack_pending = "whole" },
  },
  consumer = {
    name = "string", durable_name = "string", description = "string", metadata = "words",
    deliver_policy = { "all", "last", "new", "by_start_sequence", "by_start_time",
      "last_per_subject" },
    ack_policy = { "explicit", "all", "none", "flow_control" },
    replay_policy = { "instant", "original" },
    priority_policy = { "none", "overflow", "pinned_client", "prioritized" },
    opt_start_seq = "count", opt_start_time = "time", pause_until = "time",
    ack_wait = "time", idle_heartbeat = "time", inactive_threshold = "time",
    max_expires = "time", priority_timeout = "time", backoff = TIMES,
    max_deliver = "whole", max_ack_pending = "whole", max_waiting = "whole",
    max_batch = "whole", max_bytes = "whole", num_replicas = "whole", rate_limit_bps = "count",
    filter_subject = "string", filter_subjects = STRINGS, priority_groups = STRINGS,
    deliver_subject = "string", deliver_group = "string", sample_freq = "string",
    flow_control = "boolean", headers_only = "boolean", mem_storage = "boolean",
    direct = "boolean", sourcing = "boolean",
  },
}

---What others call them.
local ALIASES = {
  ttl = "max_age", max_messages = "max_msgs", history = "max_msgs_per_subject",
  max_value_size = "max_msg_size", durable = "durable_name", queue = "deliver_group",
  filter = "filter_subject", heartbeat = "idle_heartbeat", max_pending = "max_ack_pending",
}

local function set(...)
  local names = {}
  for _, name in ipairs { ... } do names[name] = true end
  return names
end

---The versions of nats-server that brought fields, and values.
local SINCE = {
  ["2.10"] = set("filter_subjects", "compression", "first_seq", "subject_transform",
    "subject_transforms", "consumer_limits", "metadata"),
  ["2.11"] = set("allow_msg_ttl", "subject_delete_marker_ttl", "pause_until", "priority_groups",
    "priority_policy", "priority_timeout", "preferred", "pedantic"),
  ["2.12"] = set("allow_atomic", "allow_msg_counter", "allow_msg_schedules", "persist_mode",
    "prioritized"),
  ["2.14"] = set("allow_batched", "sourcing", "consumer"),
}

-- ---- versions ---------------------------------------------------------------

---@param field string "metadata", "sources.1.subject_transforms"
---@return string|nil version that the field needs
function M.since(field)
  for name in field:gmatch "[%w_]+" do
    for version, names in pairs(SINCE) do
      if names[name] then return version end
    end
  end
end

---A field whose value is younger than the field itself.
---@param wire table
---@return string|nil field, string|nil version
function M.young_value(wire)
  if wire.priority_policy == "prioritized" then return "priority_policy", "2.12" end
  if wire.ack_policy == "flow_control" then return "ack_policy", "2.14" end
end

---Whether the server may know more than is written here.
local function is_newer()
  local major, minor = (core.nats_info().version or ""):match "^(%d+)%.(%d+)"
  major, minor = tonumber(major), tonumber(minor)
  return major ~= nil and (major > NEWEST_MAJOR
    or major == NEWEST_MAJOR and minor > NEWEST_MINOR)
end

-- ---- values -----------------------------------------------------------------

local function shown(value)
  if type(value) == "table" then return "a table" end
  return ("%s %s"):format(type(value), type(value) == "string" and ("'%s'"):format(value)
    or tostring(value))
end

local function fail(path, text, ...) error(("%s: %s"):format(path, text:format(...)), 0) end

local function expect(ok, value, path, what)
  if not ok then fail(path, "%s expected, got %s", what, shown(value)) end
end

local function is_whole(value)
  return type(value) == "number" and math.tointeger(value) ~= nil
end

local checks = {}

function checks.string(value, path) expect(type(value) == "string", value, path, "a string") end

function checks.subject(value, path)
  checks.string(value, path)
  if not pcall(core.check_pattern, value) then
    fail(path, "invalid subject '%s': tokens are separated by single dots, without blanks; '*' "
      .. "stands for one whole token, '>' ends it", value)
  end
end

function checks.boolean(value, path)
  expect(type(value) == "boolean", value, path, "true or false")
end

function checks.whole(value, path) expect(is_whole(value), value, path, "a whole number") end

function checks.count(value, path)
  expect(is_whole(value) and value >= 0, value, path, "a whole number, 0 or more,")
end

function checks.time() end

---Words of the user: { team = "billing" }.
function checks.words(value, path)
  expect(type(value) == "table", value, path, "a table of strings")
  for name, one in next, value do
    expect(type(name) == "string", name, path, "names that are strings")
    checks.string(one, ("%s.%s"):format(path, name))
  end
end

local check_fields, check_value

local function check_word(words, value, path)
  for _, word in ipairs(words) do
    if word == value then return end
  end
  local known = ("'%s'"):format(table.concat(words, "', '"))
  local near = type(value) == "string" and core.nearest(value:lower(), words)
  fail(path, "one of %s expected, got %s%s", known, shown(value),
    near and (" (did you mean '%s'?)"):format(near) or "")
end

local function check_list(kind, value, path)
  expect(type(value) == "table", value, path, "a list")
  local count = 0
  for key in next, value do
    count = count + 1
    if math.type(key) ~= "integer" then
      fail(path, "a list expected, got a table with the key '%s'", tostring(key))
    end
  end
  if count ~= #value then fail(path, "a list without holes expected") end
  for i, one in ipairs(value) do check_value(kind, one, ("%s[%d]"):format(path, i)) end
end

function check_value(kind, value, path)
  if value == json.null then return end
  if type(kind) == "string" then return checks[kind](value, path) end
  if kind[1] == LIST then return check_list(kind[2], value, path) end
  if kind[1] then return check_word(kind, value, path) end
  expect(type(value) == "table", value, path, "a table")
  check_fields(kind, value, path .. ".")
end

-- ---- names ------------------------------------------------------------------

local function names_of(known)
  local names = {}
  for name in pairs(known) do names[#names + 1] = name end
  table.sort(names)
  return names
end

---What an unknown field may have been meant for.
local function hint(known, name)
  local near = known[ALIASES[name]] and ALIASES[name] or core.nearest(name, names_of(known))
  for kind, others in pairs(M.fields) do
    if others ~= known and others[name] then
      return (": it is a field of %ss"):format(kind)
    end
  end
  return near and (" (did you mean '%s'?)"):format(near) or ""
end

function check_fields(known, fields, path)
  for name, value in next, fields do
    if type(name) ~= "string" then
      error(("%sthe names of fields are strings, not a %s"):format(path, type(name)), 0)
    end
    local kind = known[name]
    if kind then
      check_value(kind, value, path .. name)
    elseif not is_newer() then
      error(("unknown field '%s%s'%s"):format(path, name, hint(known, name)), 0)
    end
  end
end

---Raises (level 0) on a field that no server knows, and on a value that none takes.
---@param kind "stream"|"consumer"
---@param fields table as users write them
function M.check(kind, fields) check_fields(M.fields[kind], fields, "") end

return M
