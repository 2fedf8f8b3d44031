---A collector of traces, as services send them: OTLP over HTTP. It is a process of its own.
local eventually = require "spec.support.eventually"
local json = require "lunats.json"
local process = require "spec.support.process"

local M = {}

local collector = {}
collector.__index = collector

---@param port integer|nil of one that was there before
function M.start(port)
  local folder = process.write("mode", "200\n"):match "^(.*)/"
  local self = setmetatable({ folder = folder }, collector)
  local command = { "perl", "spec/support/collector.pl", self.folder, port and tostring(port) }
  self.child = process.spawn(command)
  self.port = tonumber(self.child:expect "port (%d+)")
  self.url = "http://127.0.0.1:" .. self.port
  return self
end

function collector:stop() self.child:stop() end

---How it answers from now on: "200", "429 Retry-After: 1", "hang".
function collector:answer(mode)
  local path = self.folder .. "/mode"
  local file = assert(io.open(path .. ".new", "wb"))
  file:write(mode, "\n")
  file:close()
  assert(os.rename(path .. ".new", path))
end

---@return table[] of method, path, type, key, body
function collector:requests()
  local list = {}
  local file = io.open(self.folder .. "/requests", "rb")
  if not file then return list end
  for line in file:lines() do
    local method, path, type, key, body = line:match "^(%S+)\t(%S+)\t([^\t]*)\t([^\t]*)\t(.*)$"
    list[#list + 1] = { method = method, path = path, type = type, key = key, body = body }
  end
  file:close()
  return list
end

---Attributes by name; integers come as strings.
local function plain(attributes)
  local values = {}
  for _, one in ipairs(attributes or {}) do
    local _, value = next(one.value)
    values[one.key] = value
  end
  return values
end

---All spans that have come, each with the service that it is of and plain attributes.
---@return table[] spans, table<string, table> by_name the last one of each name
function collector:spans()
  local list, by_name = {}, {}
  for _, request in ipairs(self:requests()) do
    local document = assert(json.decode(request.body))
    for _, resource in ipairs(document.resourceSpans) do
      local about = plain(resource.resource.attributes)
      for _, scope in ipairs(resource.scopeSpans) do
        for _, span in ipairs(scope.spans) do
          span.resource, span.attributes = about, plain(span.attributes)
          list[#list + 1], by_name[span.name] = span, span
        end
      end
    end
  end
  return list, by_name
end

---Waits for spans of these names; returns them in that order.
function collector:expect(...)
  local names, found = { ... }, nil
  eventually(function()
    local seen = {}
    for _, span in ipairs(self:spans()) do seen[#seen + 1] = span.name end
    return ("spans %s; there are %s"):format(table.concat(names, ", "),
      table.concat(seen, ", "))
  end, function()
    local _, by_name = self:spans()
    found = {}
    for i, name in ipairs(names) do found[i] = by_name[name] end
    return #found == #names
  end)
  return table.unpack(found)
end

return M
