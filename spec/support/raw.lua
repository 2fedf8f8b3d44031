local core = require "lunats.core"

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
  local connect = ('CONNECT {"verbose":false,"headers":true,"user":"%s","pass":"%s"}')
    :format(user or "", password or "")
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  file:write(("HPUB %s %s %d %d\r\n"):format(subject, reply or "", #head, #head + #payload),
    head, payload, "\r\n")
  file:close()
  local script = ([[exec 3<>/dev/tcp/%s/%s; printf '%%s\r\n' '%s' >&3
    for ((i = 0; i < %d; i++)); do ((i == 0)) || sleep %g; cat %s >&3; done
    printf 'PING\r\n' >&3
    while read -r line <&3; do case $line in PONG*) exit 0 ;; -ERR*) exit 1 ;; esac; done]])
    :format(host, port, connect, again.times, again.pause, path)
  local status = assert(core.process { "timeout", "20", "bash", "-c", script }):wait()
  os.remove(path)
  assert(status == 0, "the server did not take the message")
end
