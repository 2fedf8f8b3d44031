---What a service says of itself to others: app.config, the metadata of endpoints, app.group.
local core = require "lunats.core"
local check = require "lunats.check"
local json = require "lunats.json"

local M = {}

---The most that names and values may have together: the service API says so.
local METADATA_BYTES = 128 * 1024

---A JSON object of strings, its keys in order.
---@param what string names the function in errors
---@param metadata table<string, string>|nil
---@param more table<string, string>|nil wins over metadata
---@return string|nil
function M.metadata(what, metadata, more)
  local values, keys, members, size = {}, {}, {}, 0
  for _, from in ipairs { metadata or {}, more or {} } do
    for key, value in next, from do
      if type(key) ~= "string" or type(value) ~= "string" then
        core.blame(("%s: metadata must be a table of strings with names, like "
          .. "{ team = \"orders\" }"):format(what))
      elseif key:sub(1, 5) == "_nats" then
        core.blame(("%s: metadata.%s: names that begin with _nats are kept for NATS itself")
          :format(what, key))
      elseif not (utf8.len(key) and utf8.len(value)) then
        core.blame(("%s: metadata must be UTF-8"):format(what))
      end
      if not values[key] then keys[#keys + 1] = key end
      values[key] = value
    end
  end
  if #keys == 0 then return nil end
  table.sort(keys)
  for i, key in ipairs(keys) do
    members[i] = json.encode(key) .. ":" .. json.encode(values[key])
    size = size + #key + #values[key]
  end
  if size > METADATA_BYTES then
    local text = "%s: metadata of %d bytes; at most %d are allowed"
    core.blame(text:format(what, size, METADATA_BYTES))
  end
  return "{" .. table.concat(members, ",") .. "}"
end

---Raises unless it is `false` or the name of a queue group; nil passes.
function M.check_queue(what, queue)
  if queue == true or type(queue) == "string" and (queue == "" or queue:find "[%s%c]") then
    core.blame(what .. ": queue is false, or the name of a queue group (without blanks)")
  end
end

-- ---- app.config -----------------------------------------------------------

local CONFIG_OPTIONS = {
  name = "string", version = "string", description = "string", metadata = "table",
  queue = "string|boolean", discover = "boolean", limits = "table",
}

---The least and the most that a limit may be, and what it counts.
local LIMITS = {
  slice = { least = 0.001, most = 1e6, of = "seconds" },
  memory = { least = 2^20, most = 2^53, of = "bytes" },
  fibers = { least = 1, most = 2^53, of = "fibers" },
}
local LIMIT_OPTIONS = { slice = "number", memory = "number|string", fibers = "number" }

local UNITS = { [""] = 1, K = 2^10, M = 2^20, G = 2^30 }

---Bytes may be said as those of --memory: "64M".
local function bytes(value)
  if type(value) ~= "string" then return value end
  local number, unit = value:upper():match "^(%d+)([KMG]?)$"
  if not number then
    core.blame(('app.config: limits.memory is a number of bytes like 67108864 or "64M", not %q')
      :format(value))
  end
  return tonumber(number) * UNITS[unit]
end

local function checked_limits(limits)
  limits = core.check("app.config: limits", limits, LIMIT_OPTIONS)
  local checked = {}
  for name, value in next, limits do
    if name == "memory" then value = bytes(value) end
    local range = LIMITS[name]
    local whole = name == "slice" or math.tointeger(value)
    if not (whole and value >= range.least and value <= range.most) then
      core.blame(("app.config: limits.%s is a%s number of %s, from %.10g to %.17g"):format(name,
        name == "slice" and "" or " whole", range.of, range.least, range.most))
    end
    checked[name] = name == "slice" and value or math.tointeger(value)
  end
  return checked
end

---What app.config has said: the queue group of listeners that name none, if any.
M.queue = nil

function M.config(opts)
  if type(opts) ~= "table" then error("app.config: the options must be a table", 2) end
  opts = core.check("app.config", opts, CONFIG_OPTIONS)
  for _, option in ipairs { "name", "version", "description" } do
    if opts[option] and opts[option]:find("\0", 1, true) then
      core.blame(("app.config: %s must not hold a zero byte"):format(option))
    end
  end
  M.check_queue("app.config", opts.queue)
  local limits = opts.limits and checked_limits(opts.limits)
  local metadata = M.metadata("app.config", opts.metadata)
  core.configure(opts.name, opts.version, opts.description, metadata, opts.discover)
  if limits then core.limit(limits) end
  if opts.queue ~= nil then M.queue = opts.queue end
  core.declare()
end

-- ---- app.group ------------------------------------------------------------

local GROUP_OPTIONS = { queue = "string|boolean", metadata = "table", description = "string" }


local Group = {}

---Options of one endpoint: its own before those of its group.
local function inherit(opts, defaults)
  local merged = {}
  for key, value in pairs(defaults) do merged[key] = value end
  for key, value in next, opts or {} do merged[key] = value end
  if defaults.metadata and opts and opts.metadata then
    merged.metadata = {}
    for _, from in ipairs { defaults.metadata, opts.metadata } do
      for key, value in next, from do merged.metadata[key] = value end
    end
  end
  return merged
end

local function new_group(what, prefix, opts, defaults, listen)
  local ok = pcall(core.check_subject, prefix)
  if not ok then
    core.blame(("%s: the prefix must be a subject: tokens with dots between them, without "
      .. "wildcards"):format(what))
  end
  opts = core.check(what, opts, GROUP_OPTIONS)
  M.check_queue(what, opts.queue)
  M.metadata(what, opts.metadata)
  local group = { prefix = prefix, defaults = inherit(opts, defaults), on = listen }
  return setmetatable(group, Group)
end

---@param listen function app.listen
function M.group(prefix, opts, listen)
  local group = new_group("app.group", prefix, opts, {}, listen)
  return group
end

function Group:listen(subject, opts, fn)
  if fn == nil then opts, fn = nil, opts end
  if opts ~= nil and type(opts) ~= "table" then
    error("group:listen: the options must be a table", 2)
  end
  local subjects = {}
  for i, one in ipairs(type(subject) == "table" and subject or { subject }) do
    if type(one) ~= "string" then error("group:listen: a subject must be a string", 2) end
    subjects[i] = self.prefix .. "." .. one
  end
  return self.on(subjects, inherit(opts, self.defaults), fn)
end

function Group:group(prefix, opts)
  check.string("group:group", "the prefix", prefix)
  local group = new_group("group:group", self.prefix .. "." .. prefix, opts, self.defaults,
    self.on)
  return group
end

check.class("group", Group)

return M
