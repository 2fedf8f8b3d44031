---`lunats stats`: the numbers of each endpoint of the services of the cluster.
local client = require "lunats.commands.client"
local cluster = require "lunats.commands.cluster"
local columns = require "lunats.commands.columns"
local core = require "lunats.core"
local json = require "lunats.json"

local COLUMNS = {
  { title = "SERVICE", shrinks = true },
  { title = "ENDPOINT", shrinks = true },
  { title = "SUBJECT", shrinks = true, drop = 2 },
  { title = "QUEUE", shrinks = true, drop = 4 },
  { title = "REQUESTS", right = true },
  { title = "ERRORS", right = true },
  { title = "AVERAGE", right = true },
  { title = "LAST ERROR", shrinks = true, drop = 3 },
}

local function row(service, endpoint)
  return { service.name .. "/" .. service.id, endpoint.name, endpoint.subject,
    endpoint.queue_group ~= "" and endpoint.queue_group or "-",
    tostring(endpoint.requests), tostring(endpoint.errors),
    columns.average(endpoint.nanoseconds, endpoint.requests),
    endpoint.last_error ~= "" and endpoint.last_error or "-" }
end

local function print_json(services)
  local list = json.array {}
  for i, service in ipairs(services) do list[i] = service.answer end
  client.write(core.sorted_json(list) .. "\n")
end

return function()
  local services = cluster.need("STATS", core.options.args[1])
  if core.options.json then return print_json(services) end
  local rows = {}
  for _, service in ipairs(services) do
    for _, endpoint in ipairs(service.endpoints) do rows[#rows + 1] = row(service, endpoint) end
  end
  local width = core.terminal_size()
  client.write(table.concat(columns.lines(COLUMNS, rows, width), "\n") .. "\n")
end
