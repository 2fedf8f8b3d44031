---Processes of a benchmark: the server, the services, the load generator. All end with it.
local core = require "lunats.core"
local testing = require "lunats.testing"

local M = {}

M.folder = "build/bench"

local SIGTERM, SIGKILL = 15, 9
local services = 0

local function read(path)
  local file = io.open(path, "rb")
  if not file then return "" end
  local text = file:read "a"
  file:close()
  return text
end

M.read = read

---A file of results in our folder.
function M.write(name, text)
  local file = assert(io.open(M.folder .. "/" .. name, "wb"))
  file:write(text, "\n")
  file:close()
end

---Runs a command to its end and returns its output; nil and the output if it fails.
function M.run(words)
  local child = assert(core.process(words, true))
  local status, output = child:wait()
  if status ~= 0 then return nil, output end
  return output
end

---What a service of one server has in its environment.
local function environment(broker, ca)
  return { NATS_URL = broker.url, NATS_CA = ca, LUNATS_TLSCA = ca }
end

---@class bench.server
---@field url string  for the load generator
---@field env table<string, string>  for the service
---@field brokers table[]

---Is there such a program here?
function M.has(program)
  return M.run { "/bin/sh", "-c", 'command -v "$1"', "sh", program } ~= nil
end

---A private nats-server.
---@return bench.server
function M.server()
  local broker = testing.broker {}
  return { url = broker.url, env = environment(broker), brokers = { broker } }
end

local CLUSTER = 'cluster { name: bench, listen: "127.0.0.1:%d", no_advertise: true, %s }'

---A server with TLS for the service, and a plain one in a cluster with it for the load
---generator: what TLS costs the generator must not slow down what it measures.
---@return bench.server
function M.tls_server()
  local port = core.free_port()
  local secure = testing.broker { jetstream = false, tls = true,
    config = CLUSTER:format(port, "") }
  local plain = testing.broker { jetstream = false,
    config = CLUSTER:format(-1, ('routes: ["nats://127.0.0.1:%d"]'):format(port)) }
  return { url = plain.url, env = environment(secure, testing.certificates().ca),
    brokers = { secure, plain } }
end

---@param server bench.server
function M.stop_server(server)
  for _, broker in ipairs(server.brokers) do broker:stop() end
end

---Starts a service in the background.
---@param words string[]
---@param env table<string, string>
function M.start(words, env)
  services = services + 1
  local path = ("%s/service.%d"):format(M.folder, services)
  local line = { "/bin/sh", "-c", 'log=$1; shift; echo $$ >"$log.pid"; exec "$@" >"$log" 2>&1',
    "sh", path, "/usr/bin/env" }
  for name, value in pairs(env) do line[#line + 1] = name .. "=" .. value end
  table.move(words, 1, #words, #line + 1, line)
  local service = { child = assert(core.process(line, false)), path = path }
  repeat
    app.sleep(0.002)
    service.pid = tonumber(read(path .. ".pid"):match "^(%d+)\n")
  until service.pid
  return service
end

---Ends a service and waits for it: at once if it does not end by itself.
function M.stop(service)
  service.child:kill(SIGTERM)
  local ended = false
  app.spawn(function()
    app.sleep(3)
    if not ended then service.child:kill(SIGKILL) end
  end)
  service.child:wait()
  ended = true
  os.remove(service.path)
  os.remove(service.path .. ".pid")
end

---Runs the load generator; what it has measured, or nil and why not.
---@param mode string
---@param arguments string[]
---@param cpu integer|nil  runs it on this processor alone
function M.load(mode, arguments, cpu)
  local words = { "/usr/bin/timeout", "180", M.folder .. "/load", mode }
  if cpu then words = { "/usr/bin/taskset", "-c", tostring(cpu), table.unpack(words) } end
  local output, err = M.run(table.move(arguments, 1, #arguments, #words + 1, words))
  if not output then return nil, err end
  return app.json.decode(output)
end

---Moves all threads of a process to one processor, or back to all of them.
function M.pin(pid, cpu)
  assert(M.run { "/usr/bin/taskset", "-acp", tostring(cpu or "0-4095"), tostring(pid) })
end

---@param server bench.server
function M.pin_server(server, cpu)
  for _, broker in ipairs(server.brokers) do M.pin(broker.pid, cpu) end
end

---The last processor that may be used here.
function M.last_cpu()
  return tonumber(read("/proc/self/status"):match "Cpus_allowed_list:%s*[%d,-]-(%d+)\n")
end

---What the figures depend on.
function M.describe()
  local version = M.run { "/bin/sh", "-c", "nats-server --version" } or ""
  local go = M.run { "/bin/sh", "-c", "go version 2>/dev/null" } or ""
  local node = M.run { "/bin/sh", "-c", "node --version 2>/dev/null" } or ""
  local _, processors = read("/proc/cpuinfo"):gsub("processor%s*:", "")
  return {
    cpu = read("/proc/cpuinfo"):match "model name%s*:%s*([^\n]+)", processors = processors,
    kernel = read("/proc/sys/kernel/osrelease"):match "%S+",
    load_average = read("/proc/loadavg"):match "^%S+ %S+ %S+",
    nats_server = version:match "v(%d%S*)", go = go:match "go([%d.]+)",
    node = node:match "v(%S+)",
    date = os.date "!%Y-%m-%d %H:%M UTC",
  }
end

return M
