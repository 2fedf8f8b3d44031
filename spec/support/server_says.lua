local raw = require "spec.support.raw"

---Sends a message as only servers do, with a status in the first line of its headers.
---@param url string of the server, with user and password
---@param subject string
---@param status integer
---@param description string|nil
---@param headers table|nil name = value
---@param reply string|nil subject
---@param again { times: integer, pause: number }|nil  see raw.lua
return function(url, subject, status, description, headers, reply, again)
  local head = ("NATS/1.0 %d %s\r\n"):format(status, description or "")
  for name, value in pairs(headers or {}) do head = head .. name .. ": " .. value .. "\r\n" end
  raw(url, subject, reply, head .. "\r\n", nil, again)
end
