---`lunats metrics`: metrics of the services of the cluster, whatever their language, for
---Prometheus.
local client = require "lunats.commands.client"
local cluster = require "lunats.commands.cluster"
local core = require "lunats.core"

local INTERVAL = 5 -- seconds

---@class metrics.family
---@field name string
---@field type "counter"|"gauge"
---@field help string
---@field value fun(service: cluster.service, endpoint: table|nil): number|nil
---@field of "service"|"endpoint"

local FAMILIES = {
  { name = "lunats_srv_info", type = "gauge", of = "service", version = true,
    help = "1 for each instance of a service that answers $SRV",
    value = function() return 1 end },
  { name = "lunats_srv_start_time_seconds", type = "gauge", of = "service",
    help = "Unix time at which the instance was started, or its counters reset",
    value = function(service) return service.started end },
  { name = "lunats_srv_requests_total", type = "counter", of = "endpoint",
    help = "Requests that an endpoint has answered",
    value = function(_, endpoint) return endpoint.requests end },
  { name = "lunats_srv_errors_total", type = "counter", of = "endpoint",
    help = "Requests that an endpoint has answered with an error",
    value = function(_, endpoint) return endpoint.errors end },
  { name = "lunats_srv_processing_seconds_total", type = "counter", of = "endpoint",
    help = "Time in which an endpoint has worked on requests",
    value = function(_, endpoint) return endpoint.nanoseconds / 1e9 end },
}

-- ---- text ----------------------------------------------------------------------

local ESCAPES = { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" }

local function label(name, value)
  value = utf8.len(value) and value or value:gsub("[\x80-\xff]", "?")
  return ('%s="%s"'):format(name, (value:gsub('[\\"\n]', ESCAPES)))
end

---The shortest text that is this number.
local function number(value)
  local short = ("%.15g"):format(value)
  return tonumber(short) == value and short or ("%.17g"):format(value)
end

---Endpoints of one name count together: a series may be there only once.
---@return { name: string, requests: integer, errors: integer, nanoseconds: integer }[]
local function endpoints_of(service)
  local list, by_name = {}, {}
  for _, one in ipairs(service.endpoints) do
    local sum = by_name[one.name]
    if not sum then
      sum = { name = one.name, requests = 0, errors = 0, nanoseconds = 0 }
      by_name[one.name] = sum
      list[#list + 1] = sum
    end
    for _, name in ipairs { "requests", "errors", "nanoseconds" } do
      sum[name] = sum[name] + one[name]
    end
  end
  return list
end

local function add_sample(lines, family, value, ...)
  if value then
    lines[#lines + 1] = ("%s{%s} %s"):format(family.name, table.concat({ ... }, ","),
      number(value))
  end
end

local function add_family(lines, family, services, open_metrics)
  local name = open_metrics and family.name:gsub("_total$", "") or family.name
  lines[#lines + 1] = ("# HELP %s %s"):format(name, family.help)
  lines[#lines + 1] = ("# TYPE %s %s"):format(name, family.type)
  for _, service in ipairs(services) do
    local of, id = label("service", service.name), label("id", service.id)
    if family.of == "endpoint" then
      for _, one in ipairs(endpoints_of(service)) do
        add_sample(lines, family, family.value(service, one), of, id,
          label("endpoint", one.name))
      end
    else
      add_sample(lines, family, family.value(service), of, id,
        family.version and label("version", service.version) or nil)
    end
  end
end

---@param services cluster.service[]
---@param open_metrics boolean
---@return string
local function text_of(services, open_metrics)
  local lines = {}
  for _, family in ipairs(FAMILIES) do add_family(lines, family, services, open_metrics) end
  return table.concat(lines, "\n") .. "\n"
end

---When it was asked last, and whether that has worked.
local function state_text(asked_at, ok)
  return ("# HELP lunats_srv_up Whether the services could be asked\n"
    .. "# TYPE lunats_srv_up gauge\nlunats_srv_up %d\n"
    .. "# HELP lunats_srv_asked_time_seconds Unix time at which they were asked last\n"
    .. "# TYPE lunats_srv_asked_time_seconds gauge\nlunats_srv_asked_time_seconds %.3f\n")
    :format(ok and 1 or 0, asked_at)
end

-- ---- the command ---------------------------------------------------------------

local told = false -- that they cannot be asked

---Asks; what services have answered before is shown no more when they cannot be asked.
local function look()
  local asked_at = app.now()
  local services, err = cluster.list "STATS"
  if not services and not told then app.log.warn(client.explain(err, "$SRV.STATS", "")) end
  told = not services
  local state = state_text(asked_at, services ~= nil)
  services = services or {}
  core.foreign_metrics(text_of(services, false) .. state, text_of(services, true) .. state)
end

return function()
  local options = core.options
  if options.once then return client.write(text_of(cluster.need "STATS", false)) end
  local interval = options.interval > 0 and options.interval or INTERVAL
  while true do
    local began = core.hrtime()
    look()
    core.sleep(math.max(interval - (core.hrtime() - began), 0.1))
  end
end
