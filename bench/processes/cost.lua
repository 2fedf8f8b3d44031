---What processes have used: from /proc, and from the monitoring port of a server.
local core = require "lunats.core"

local M = {}

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "a"
  file:close()
  return text
end

local TICK = 1 / tonumber(io.popen("getconf CLK_TCK"):read "a")

---Seconds of processor time that processes have had.
---@param pids integer[]
function M.cpu(pids)
  local ticks = 0
  for _, pid in ipairs(pids) do
    local user, system = read(("/proc/%d/stat"):format(pid)):match("%) %S+ %S+ %S+ %S+ %S+ "
      .. "%S+ %S+ %S+ %S+ %S+ %S+ (%d+) (%d+)")
    ticks = ticks + user + system
  end
  return ticks * TICK
end

---Bytes: their own share of what they have, and all that each of them has.
---@return integer pss, integer rss
function M.memory(pids)
  local pss, rss = 0, 0
  for _, pid in ipairs(pids) do
    local text = read(("/proc/%d/smaps_rollup"):format(pid))
    pss = pss + text:match "\nPss:%s+(%d+)" * 1024
    rss = rss + text:match "\nRss:%s+(%d+)" * 1024
  end
  return pss, rss
end

function M.processors() return math.tointeger(io.popen("nproc"):read "n") end

function M.server_version()
  return io.popen "nats-server --version":read("a"):match "v([%d.]+)" or "?"
end

---@return integer port  and a line of configuration that makes it that of monitoring
function M.monitoring()
  local port = core.free_port()
  return port, ('http: "127.0.0.1:%d"\n'):format(port)
end

---A page of it: "varz", "jsz".
function M.page(port, name)
  local socket = assert(app.tcp.connect("127.0.0.1", port, { timeout = 10 }))
  assert(socket:write(("GET /%s HTTP/1.0\r\n\r\n"):format(name)))
  local parts = {}
  while true do
    local bytes = socket:read "some"
    if not bytes then break end
    parts[#parts + 1] = bytes
  end
  socket:close()
  return app.json.decode(table.concat(parts):match "\r\n\r\n(.*)$")
end

---Calls fn at a constant rate, each call in a fiber of its own, until all have ended.
---@return integer count
function M.at_rate(rate, seconds, fn)
  local began, sent, done = core.hrtime(), 0, 0
  local function one()
    fn()
    done = done + 1
  end
  while core.hrtime() < began + seconds do
    local due = math.floor((core.hrtime() - began) * rate)
    for _ = sent + 1, math.min(due, sent + 500) do
      sent = sent + 1
      app.spawn(one)
    end
    app.sleep(0.002)
  end
  while done < sent do app.sleep(0.01) end
  return sent
end

return M
