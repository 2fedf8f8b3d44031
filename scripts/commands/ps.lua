---`lunats ps`: the instances of the services of the cluster.
local client = require "lunats.commands.client"
local cluster = require "lunats.commands.cluster"
local columns = require "lunats.commands.columns"
local core = require "lunats.core"
local json = require "lunats.json"

local COLUMNS = {
  { title = "NAME", shrinks = true },
  { title = "ID", shrinks = true },
  { title = "VERSION", drop = 3, shrinks = true },
  { title = "ENDPOINTS", right = true, drop = 2 },
  { title = "REQUESTS", right = true },
  { title = "ERRORS", right = true },
  { title = "AVERAGE", right = true },
  { title = "UP", right = true, drop = 1 },
  { title = "WHERE", shrinks = true, drop = 4 },
}

local function row(service)
  local sums = cluster.sums(service)
  return { service.name, service.id, service.version, tostring(#service.endpoints),
    tostring(sums.requests), tostring(sums.errors),
    columns.average(sums.nanoseconds, sums.requests),
    columns.age(service.started and app.now() - service.started),
    service.place ~= "" and service.place or "-" }
end

local function object(service)
  local sums = cluster.sums(service)
  return { name = service.name, id = service.id, version = service.version,
    endpoints = #service.endpoints, requests = sums.requests, errors = sums.errors,
    average_seconds = sums.requests > 0 and sums.nanoseconds / sums.requests / 1e9
      or json.null,
    started = service.answer.started,
    where = service.place ~= "" and service.place or json.null }
end

return function()
  local list = json.array {}
  for i, service in ipairs(cluster.need("STATS", core.options.args[1])) do
    list[i] = (core.options.json and object or row)(service)
  end
  if core.options.json then return client.write(core.sorted_json(list) .. "\n") end
  local width = core.terminal_size()
  client.write(table.concat(columns.lines(COLUMNS, list, width), "\n") .. "\n")
end
