---`lunats logs`: the log lines that services publish, and their level.
local client = require "lunats.commands.client"
local cluster = require "lunats.commands.cluster"
local columns = require "lunats.commands.columns"
local core = require "lunats.core"
local json = require "lunats.json"

local PREFIX = "lunats.logs"
local SHORT = 6   -- characters of an instance that tell it from others
local TIMEOUT = 2 -- seconds
local LEVELS = { debug = true, info = true, warn = true, error = true, off = true,
  reset = true }
---What stands in front of the fields of a line.
local HEAD = { time = true, level = true, service = true, message = true }

-- ---- lines ---------------------------------------------------------------------

local function value_text(value)
  if type(value) == "string" and value:find "^[%w_./:@+-]+$" then return value end
  return core.sorted_json(value)
end

local function fields_text(line)
  local list = {}
  for name, value in pairs(line) do
    if not HEAD[name] then list[#list + 1] = (" %s=%s"):format(name, value_text(value)) end
  end
  table.sort(list)
  return table.concat(list)
end

---As the service has it on its standard error, with its instance. Lines hold what others have
---sent, so nothing that a terminal would obey.
local function text_of(msg)
  local line = json.decode(msg.raw)
  if type(line) ~= "table" or type(line.message) ~= "string" then
    return (client.line(msg):gsub("[^\n]+", columns.clean))
  end
  local instance = msg.subject:match "[^.]+$"
  local first, more = line.message:match "^([^\n]*)(.*)$"
  local head = ("%s %-5s %s/%s: %s%s"):format(line.time, tostring(line.level):upper(),
    line.service, instance:sub(1, SHORT), first, fields_text(line))
  more = more:gsub("\n(\t*)([^\n]*)", function(tabs, one)
    return "\n    " .. tabs .. columns.clean(one)
  end)
  return columns.clean(head) .. more .. "\n"
end

local function json_of(msg) return msg.raw .. "\n" end

local function subject_of(which)
  local prefix = core.options.log_subject or PREFIX
  if not which then return prefix .. ".>" end
  local scope = cluster.scope(which)
  return prefix .. scope .. (which:find("/", 1, true) and "" or ".*")
end

-- ---- the level -----------------------------------------------------------------

local function instances(which)
  local name, id = which:match "^(.-)/(.*)$"
  cluster.scope(which)
  return id and { { name = name, id = id } } or cluster.need("PING", which)
end

---@return string|nil text, string|nil why
local function set_level(service, level)
  local subject = ("lunats.control.%s.%s.log_level"):format(service.name, service.id)
  local reply, err = app.request(subject, level, { timeout = TIMEOUT })
  if reply then
    local answer = json.decode(reply.raw)
    if type(answer) ~= "table" then return nil, "this is no answer of a service" end
    return ("%s, its --log-level is %s"):format(answer.level, answer.option)
  elseif err.code == "no_responders" then
    return nil, "it cannot be changed: it does not run, or not with --control"
  end
  return nil, client.explain(err, subject, level)
end

local function change(which, level)
  if not LEVELS[level] then
    client.fail(2, "'%s' is not a log level: debug, info, warn, error, off, or reset", level)
  elseif not which then
    client.fail(2, "--level needs a SERVICE, or SERVICE/INSTANCE")
  end
  local failed = false
  for _, service in ipairs(instances(which)) do
    local text, why = set_level(service, level)
    local line = ("%s/%s: %s\n"):format(service.name, service.id, text or why)
    if text then client.write(line) else client.complain("lunats logs: " .. line) end
    failed = failed or not text
  end
  if failed then os.exit(1) end
end

return function()
  local options = core.options
  local which = options.args[1]
  if options.level then return change(which, options.level) end
  client.follow({ subject_of(which) }, options.json and json_of or text_of,
    "; services publish there with --log-subject " .. (options.log_subject or PREFIX))
end
