---The services of the cluster, whatever their language, as they describe themselves: for `ps`,
---`stats`, `top`, `metrics` and `console`.
local client = require "lunats.commands.client"
local core = require "lunats.core"
local json = require "lunats.json"

local M = {}

---Seconds: for the first answer, and of silence after which no further one is awaited.
local TIMEOUT, QUIET = 2, 0.5

-- ---- one answer ----------------------------------------------------------------

local function text(value, default)
  return type(value) == "string" and value or default
end

---What is shown of each service, and becomes a label: anybody may answer.
local function short(value) return text(value, "?"):sub(1, 256) end

local function whole(value)
  value = math.type(value) == "float" and math.tointeger(math.floor(value)) or value
  return math.type(value) == "integer" and value >= 0 and value or 0
end

---@class cluster.endpoint
---@field name string
---@field subject string
---@field queue_group string
---@field requests integer
---@field errors integer
---@field last_error string  "" = none
---@field nanoseconds integer  of all requests

local function endpoint_of(from)
  if type(from) ~= "table" then return nil end
  return {
    name = short(from.name), subject = short(from.subject),
    queue_group = text(from.queue_group, ""), requests = whole(from.num_requests),
    errors = whole(from.num_errors), last_error = text(from.last_error, ""),
    nanoseconds = whole(from.processing_time),
  }
end

---Days since 1970 of a date of the Gregorian calendar.
local function days(year, month, day)
  if month <= 2 then year, month = year - 1, month + 12 end
  return 365 * year + year // 4 - year // 100 + year // 400 + (153 * month - 457) // 5 + day
    - 719469
end

---@param stamp any  a time of RFC 3339
---@return number|nil  Unix time
function M.unix_time(stamp)
  local year, month, day, hour, minute, second, zone = text(stamp, ""):match
    "^(%d%d%d%d)%-(%d%d)%-(%d%d)[Tt ](%d%d):(%d%d):(%d%d%.?%d*)(.*)$"
  if not year then return nil end
  local sign, hours, minutes = zone:match "^([+-])(%d%d):?(%d%d)$"
  local offset = sign and (hours * 60 + minutes) * 60 * (sign == "-" and -1 or 1) or 0
  return days(tonumber(year), tonumber(month), tonumber(day)) * 86400 + hour * 3600
    + minute * 60 + tonumber(second) - offset
end

---Where it runs, as far as it says so: ours do in `lunats.host`.
local function place_of(metadata)
  return text(metadata["lunats.host"]) or text(metadata.hostname) or text(metadata.host) or ""
end

---@class cluster.service  one instance
---@field name string
---@field id string
---@field version string
---@field description string
---@field place string
---@field started number|nil  Unix time
---@field endpoints cluster.endpoint[]
---@field answer table  as it came

---Whether it can be a name or an id: they become parts of subjects, and lines on a terminal,
---and anybody may answer.
function M.is_token(value)
  return type(value) == "string" and #value <= 256 and value:find "^[!-~]+$" ~= nil
    and not value:find "[.*>]"
end

---@return cluster.service|nil
local function service_of(answer)
  if type(answer) ~= "table" or not (M.is_token(answer.name) and M.is_token(answer.id)) then
    return nil
  end
  local endpoints = {}
  for _, one in ipairs(type(answer.endpoints) == "table" and answer.endpoints or {}) do
    endpoints[#endpoints + 1] = endpoint_of(one)
  end
  return {
    name = answer.name, id = answer.id, version = short(answer.version),
    description = text(answer.description, ""), endpoints = endpoints,
    place = place_of(type(answer.metadata) == "table" and answer.metadata or {}),
    started = M.unix_time(answer.started), answer = answer,
  }
end

-- ---- all of them ---------------------------------------------------------------

local function by_name(a, b)
  if a.name ~= b.name then return a.name < b.name end
  if a.place ~= b.place then return a.place < b.place end
  return a.id < b.id
end

---Each instance once, in a stable order; what makes no sense is left out.
local function services_of(replies)
  local list, seen = {}, {}
  for _, reply in ipairs(replies) do
    local service = service_of(json.decode(reply.raw))
    local key = service and service.name .. "/" .. service.id
    if service and not seen[key] and not reply:header "Nats-Service-Error" then
      seen[key] = true
      list[#list + 1] = service
    end
  end
  table.sort(list, by_name)
  return list
end

---Asks and waits: for as long as --timeout says, else until it has become quiet.
---@param subject string
---@param most integer|nil  so many answers are all there can be
---@param quiet number|nil  seconds
---@return table[]|nil replies, table|nil err
function M.ask(subject, most, quiet)
  local given = core.options.timeout
  local opts = { data_type = "string", timeout = given > 0 and given or TIMEOUT, max = most }
  if given <= 0 then opts.stall = quiet or QUIET end
  local replies, err = app.request_many(subject, "", opts)
  if not replies and err.code == "no_responders" then return {} end
  return replies, err
end

---"NAME" or "NAME/ID" as the end of a subject.
---@param which string|nil
function M.scope(which)
  if not which then return "" end
  local scope = "." .. which:gsub("/", ".", 1)
  if not pcall(core.check_subject, "x" .. scope) then
    client.fail(2, "'%s' is not the name of a service, or NAME/INSTANCE", which)
  end
  return scope
end

---@param verb "PING"|"INFO"|"STATS"
---@param which string|nil  NAME or NAME/ID
---@param quiet number|nil  seconds
---@return cluster.service[]|nil services, table|nil err
function M.list(verb, which, quiet)
  local one = which and which:find("/", 1, true)
  local replies, err = M.ask("$SRV." .. verb .. M.scope(which), one and 1 or nil, quiet)
  if not replies then return nil, err end
  return services_of(replies)
end

---The names in a list, each once.
---@param services cluster.service[]
local function names(services)
  local list = {}
  for _, one in ipairs(services) do
    if list[#list] ~= one.name then list[#list + 1] = one.name end
  end
  return table.concat(list, ", ")
end

---What there is instead of what was looked for, as the end of a sentence.
---@param which string
function M.others(which)
  local services = M.list "PING" or {}
  if #services == 0 then return ("no service answers at %s"):format(app.nats.connected_url) end
  return ("there is no service %s at %s, but: %s"):format(which, app.nats.connected_url,
    names(services))
end

---Like list(), for a command that cannot go on without.
---@return cluster.service[]
function M.need(verb, which)
  local services, err = M.list(verb, which)
  if not services then
    client.fail(1, "%s", client.explain(err, "$SRV." .. verb .. M.scope(which), ""))
  elseif #services > 0 then
    return services
  elseif which then
    client.fail(1, "%s", M.others(which))
  end
  client.fail(1, "no service answers at %s (those of `lunats run` do, and others of the NATS "
    .. "service API; it takes the permission to publish to $SRV.>)", app.nats.connected_url)
end

---Sums over the endpoints.
---@param service cluster.service
---@return { requests: integer, errors: integer, nanoseconds: integer }
function M.sums(service)
  local sums = { requests = 0, errors = 0, nanoseconds = 0 }
  for _, one in ipairs(service.endpoints) do
    for name, sum in pairs(sums) do sums[name] = sum + one[name] end
  end
  return sums
end

return M
