---Sends a message with headers byte by byte, as only other programs do, by a connection of its
---own. It is at the server when this returns.
---@param url string of the server, with user and password
---@param subject string
---@param reply string|nil
---@param head string the headers, "NATS/1.0..." to the empty line
---@param payload string|nil
---@param again { times: integer, pause: number }|nil  so often, with seconds in between
return function(url, subject, reply, head, payload, again)
  payload, again = payload or "", again or { times = 1, pause = 0 }
  local login, host, port = url:match "//(.-)@?([^:@]+):(%d+)$"
  local user, password = login:match "^(.-):(.*)$"
  local connect = ('CONNECT {"verbose":false,"headers":true,"user":"%s","pass":"%s"}\r\n')
    :format(user or "", password or "")
  local pub = ("HPUB %s %s %d %d\r\n"):format(subject, reply or "", #head, #head + #payload)
  local s <close> = assert(app.tcp.connect(host, tonumber(port), { timeout = 20 }))
  assert(s:write(connect))
  for i = 1, again.times do
    if i > 1 then app.sleep(again.pause) end
    assert(s:write(pub .. head .. payload .. "\r\n"))
  end
  assert(s:write "PING\r\n")
  local line
  repeat
    line = assert(s:read "line")
    assert(not line:find "^-ERR", line)
  until line == "PONG"
end
