---The port of app.http of a child process, as curl sees it.
local core = require "lunats.core"
local process = require "spec.support.process"

local M = {}

---What the log says.
---@return string url without the slash at the end
function M.url(child)
  return (child:expect "HTTP at (http[^\n]+)":gsub("/$", ""))
end

---What curl prints.
function M.curl(...)
  return (select(2, assert(core.process({ "curl", "--max-time", "15", ... }, true)):wait()))
end

---One request; what follows are arguments of curl.
---@return table res { status = 0 if there is none, headers =, body = }
function M.get(url, ...)
  local output = M.curl("-si", url, ...):gsub("^HTTP/1.1 100 [^\n]*\r\n\r\n", "")
  local head, body = output:match "^(.-\r\n)\r\n(.*)$"
  local headers = {}
  for name, value in (head or ""):gmatch "([%w-]+): ([^\r\n]*)\r\n" do
    headers[name:lower()] = value
  end
  return { status = tonumber(output:match "^HTTP/1.1 (%d+)") or 0, headers = headers,
    body = body or "" }
end

---Bytes as they are, on a connection of their own; what comes back until that is closed.
function M.raw(url, bytes)
  local host, port = url:match "//(.*):(%d+)$"
  local path = process.write("request", bytes)
  return (select(2, assert(core.process({ "timeout", "20", "bash", "-c",
    ("exec 3<>/dev/tcp/%s/%s; cat %s >&3; cat <&3"):format(host, port, path) }, true)):wait()))
end

return M
