---Sends a message as only servers do, with a status in the first line of its headers, by a
---connection of its own. It is at the server when this returns.
---@param url string of the server, without a password
---@param subject string
---@param status integer
---@param description string|nil
---@param headers table|nil name = value
---@param reply string|nil subject
return function(url, subject, status, description, headers, reply)
  local host, port = url:match "//([^:]+):(%d+)"
  local head = ("NATS/1.0 %d %s\r\n"):format(status, description or "")
  for name, value in pairs(headers or {}) do head = head .. name .. ": " .. value .. "\r\n" end
  head = head .. "\r\n"
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  file:write('CONNECT {"verbose":false,"headers":true}\r\n',
    ("HPUB %s %s %d %d\r\n"):format(subject, reply or "", #head, #head), head, "\r\nPING\r\n")
  file:close()
  local script = ([[exec 3<>/dev/tcp/%s/%s; cat %s >&3
    while read -r line <&3; do case $line in PONG*) exit 0 ;; -ERR*) exit 1 ;; esac; done]])
    :format(host, port, path)
  local ok = os.execute("bash -c '" .. script .. "'")
  os.remove(path)
  assert(ok, "the server did not take the status")
end
