---The admin port of a child process, as curl sees it.
local core = require "lunats.core"
local eventually = require "spec.support.eventually"

local M = {}

---What its log says.
---@return string url without the slash at the end, or "unix:PATH"
function M.url(child)
  return (child:expect "admin port at ([^\n]+)":gsub("/$", ""))
end

---One request.
---@param url string of M.url()
---@param path string
---@param opts table|nil arguments of curl
---@return integer status 0: no answer
---@return string body
---@return table<string, string> headers by name in small letters
function M.get(url, path, opts)
  local command = { "curl", "-s", "-i", "--max-time", "15", table.unpack(opts or {}) }
  local socket = url:match "^unix:(.*)"
  if socket then
    url = "http://localhost"
    table.move({ "--unix-socket", socket }, 1, 2, #command + 1, command)
  end
  command[#command + 1] = url .. path
  local _, output = assert(core.process(command, true)):wait()
  output = output:gsub("^HTTP/1.1 100 [^\n]*\r\n\r\n", "")
  local head, body = output:match "^(.-\r\n)\r\n(.*)$"
  local headers = {}
  for name, value in (head or ""):gmatch "([%w-]+): ([^\r\n]*)\r\n" do
    headers[name:lower()] = value
  end
  return tonumber(output:match "^HTTP/1.1 (%d+)") or 0, body or "", headers
end

---The samples of /metrics by their names and labels, as they stand there: 'x_total{a="b"}' = 1.
---@return table<string, number> found
---@return string body
---@return table headers
function M.samples(url, accept)
  local status, body, headers = M.get(url, "/metrics",
    accept and { "-H", "Accept: " .. accept })
  assert(status == 200, status)
  local found = {}
  for line in body:gmatch "[^\n]+" do
    if line:sub(1, 1) ~= "#" then
      local name, value = line:match "^(.*) (%S+)$"
      assert(found[name] == nil, "twice: " .. line)
      found[name] = tonumber(value)
    end
  end
  assert(next(found))
  return found, body, headers
end

---Waits for /readyz to answer with this status; returns its JSON.
function M.expect_ready(url, wanted, timeout)
  local seen
  return eventually(function()
    return ("/readyz with %d, it is %s"):format(wanted, tostring(seen))
  end, function()
    local status, body = M.get(url, "/readyz")
    seen = ("%d %s"):format(status, body)
    return status == wanted and app.json.decode(body)
  end, timeout)
end

return M
