---What a message costs as a service grows: CPU per message over the number of subscriptions, of
---fibers that wait, of services in the process, and over the size of a message.
local machine = require "machine"
local report = require "report"

local SCRIPT = "bench/scaling_service.lua"

---As many copies of the script.
local function copies(n)
  local paths = {}
  local text = machine.read(SCRIPT)
  for i = 0, n - 1 do
    local name = ("service_%d.lua"):format(i)
    machine.write(name, text)
    paths[#paths + 1] = machine.folder .. "/" .. name
  end
  return paths
end

---`count` requests of `size` bytes, `window` of them under way, to `subjects` subjects.
local CURVES = {
  { name = "subscriptions", points = { 1, 10, 100, 500, 2000 },
    setting = function(n) return { env = { BENCH_SUBJECTS = n }, subjects = n } end },
  { name = "fibers waiting", points = { 1, 100, 1000, 5000, 20000 },
    setting = function(n) return { env = { BENCH_FIBERS = n } } end },
  { name = "bytes", points = { 16, 128, 1024, 8192, 65536, 1048576 },
    setting = function(n)
      return { size = n, window = math.max(2, math.min(256, 4194304 // n)),
        count = math.max(400, math.min(100000, 400000000 // (n + 4000))) }
    end },
  { name = "services", points = { 1, 2, 4, 8, 16 },
    setting = function(n) return { scripts = copies(n), subjects = n } end },
}

---@return number cpu  microseconds per message
local function measure(server, setting, quick)
  local env = { NATS_URL = server.env.NATS_URL }
  for name, value in pairs(setting.env or {}) do env[name] = tostring(value) end
  local scripts = setting.scripts or { SCRIPT }
  local words = { machine.folder .. "/lunats", "run", table.unpack(scripts) }
  local service = machine.start(words, env)
  local count = (setting.count or 100000) // (quick and 4 or 1)
  local result, err = machine.load("echo", { "-u", server.url, "-n", tostring(count),
    "-k", tostring(count // 5), "-w", tostring(setting.window or 256),
    "-b", tostring(setting.size or 128), "-m", tostring(setting.subjects or 1),
    "-p", "service=" .. service.pid,
    (setting.subjects or 1) > 1 and "bench.scale.%d" or "bench.scale.0" })
  machine.stop(service)
  if not result then error(err, 0) end
  return result.service_cpu / result.count * 1e6
end

local function print_curve(name, points, values)
  print(("\nCPU us per echo over %s\n%12s %10s %22s %10s"):format(name, "", "median",
    "(least .. most)", "to first"))
  local first
  for _, n in ipairs(points) do
    local median, least, most = report.spread(values[n])
    first = first or median
    print(("%12d %10s %22s %10s"):format(n, report.number(median),
      ("(%s .. %s)"):format(report.number(least), report.number(most)),
      report.number(median / first)))
  end
end

---@param options { rounds: integer, quick: boolean|nil }
return function(options)
  local values = {}
  for round = 1, options.rounds do
    io.stderr:write(("bench: round %d\n"):format(round))
    local server = machine.server()
    for _, curve in ipairs(CURVES) do
      values[curve] = values[curve] or {}
      for _, n in ipairs(curve.points) do
        local list = values[curve][n] or {}
        values[curve][n] = list
        list[#list + 1] = measure(server, curve.setting(n), options.quick)
      end
    end
    machine.stop_server(server)
  end
  for _, curve in ipairs(CURVES) do print_curve(curve.name, curve.points, values[curve]) end
end
