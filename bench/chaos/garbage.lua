---What no well-meaning program sends: to listeners, into the stream, at the ports.
local fleet = require "bench.chaos.fleet"
local process = require "spec.support.process"
local raw = require "spec.support.raw"

local M = {}

local function choose(list, detail) return list[1 + detail % #list] end

---Sends bytes to a port and keeps the connection open for some seconds.
local function send(port, bytes, seconds)
  local path = process.path "bytes"
  local file = assert(io.open(path, "wb"))
  file:write(bytes)
  file:close()
  fleet.sh("timeout", "10", "bash", "-c",
    'exec 3<>/dev/tcp/127.0.0.1/$0 && { cat -- "$1" >&3; sleep "$2"; } 2>/dev/null',
    tostring(port), path, tostring(seconds))
  os.remove(path)
end

---Bytes that a number stands for.
local function noise(detail, len)
  local bytes, state = {}, detail | 1
  for i = 1, len do
    state = state * 1103515245 + 12345 & 0x7fffffff
    bytes[i] = string.char(state >> 16 & 0xff)
  end
  return table.concat(bytes)
end

local BODIES = {
  '{"n":', '{"n":1}}', "", "null", "[]", '"n"', "\0\1\2\255\254", '{"n":"\xff\xfe"}',
  ("["):rep(20000), ('{"n":'):rep(5000), '{"n":1e999}', '{"n":123456789012345678901234567890}',
  '{"n":{"n":{"n":[]}}}', '{"n":1,"n":2}', ("x"):rep(900000),
  '{"n":"' .. ("y"):rep(500000) .. '"}',
}

---Requests with bodies that their handlers do not expect; any answer will do.
function M.message(chaos, detail)
  local subject = choose({ "chaos.echo", "chaos.chain", "chaos.store", "chaos.slow" }, detail)
  chaos.load:ask(subject, choose(BODIES, detail >> 3), 3)
end

---A body that raises in the handler of the stream each time that it is delivered.
function M.body(detail, number)
  local bodies = { '{"poison":%d', '{"poison":%d}', '["poison",%d]', "poison \xff\xfe %d" }
  return choose(bodies, detail):format(number)
end

local function many(count, len)
  local lines = {}
  for i = 1, count do lines[i] = ("X-%d: %s\r\n"):format(i, ("v"):rep(len)) end
  return "NATS/1.0\r\n" .. table.concat(lines) .. "\r\n"
end

local HEADS = {
  "NATS/1.0\r\n\r\n", "NATS/1.0 503\r\n\r\n", "NATS/1.0 100 Idle Heartbeat\r\n\r\n",
  "NATS/9.9\r\nA: b\r\n\r\n", "NATS/1.0\r\nno colon\r\n\r\n", "NATS/1.0\r\n: no name\r\n\r\n",
  "NATS/1.0\r\nA:\0\1\255\r\n\r\n", "NATS/1.0 409 Consumer Deleted\r\n\r\n", "garbage",
  "NATS/1.0\r\ntraceparent: 00-zz\r\nbaggage: ,,,=;\r\n\r\n", "NATS/1.0\r\nA: b\r\n",
  "NATS/1.0\r\nNats-Service-Error: x\r\nNats-Service-Error-Code: 99999999999999\r\n\r\n",
  many(2000, 10), many(2, 200000), "NATS/1.0 " .. ("7"):rep(5000) .. "\r\n\r\n",
}

---Messages with headers that no client writes. The server may be away: then nothing is sent.
function M.headers(chaos, detail)
  local head = choose(HEADS, detail)
  local subject = choose({ "chaos.echo", "chaos.store", "chaos.slow" }, detail >> 5)
  pcall(raw, chaos.server:node(detail).url, subject, "chaos.nobody", head, '{"n":1}')
end

local HELLOS = {
  "CONNECT {\r\n", "CONNECT {}\r\nPING\r\n", "PUB a 999999999999999\r\n", "\r\n\r\n\r\n",
  "CONNECT {\"user\":\"x\",\"pass\":\"y\"}\r\nSUB > 1\r\n", "GET / HTTP/1.0\r\n\r\n",
  ("A"):rep(100000), "\22\3\1\2\0\1\0\1\252\3\3",
}

function M.at_server(port, detail)
  local bytes = detail & 1 == 0 and noise(detail, 2000) or choose(HELLOS, detail >> 1)
  send(port, bytes, detail % 20 / 10)
end

local REQUESTS = {
  "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", "GET /metrics HTTP/1.1\r\n\r\n", "\r\n\r\n\r\n",
  "POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
  "POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\nx",
  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
  "GET /" .. ("a"):rep(60000) .. " HTTP/1.1\r\nHost: localhost\r\n\r\n",
  "GET / HTTP/1.1\r\n" .. ("X: y\r\n"):rep(20000) .. "\r\n",
  "GET /%00%ff/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
  "\22\3\1\2\0\1\0\1\252\3\3",
  ("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"):rep(500),
}

function M.at_admin(url, detail)
  local bytes = detail & 1 == 0 and noise(detail, 3000) or choose(REQUESTS, detail >> 1)
  send(url:match ":(%d+)$", bytes, detail % 20 / 10)
end

---Some connections that say nothing.
function M.connect(url, seconds)
  for _ = 1, 4 do
    app.spawn(send, url:match ":(%d+)$", "GET", seconds)
  end
end

return M
