---What a million records cost that a service keeps: the worst pause, memory, CPU per request.
local machine = require "machine"
local report = require "report"

local RECORDS, WINDOW, REQUESTS = 1000000, 16, 600000

---Requests per second of a service that has time left, as most have: each of them wakes it. The
---others come as fast as they are answered, several in one go.
local RATE = 40000

local KEEPERS = {
  { name = "no state", state = "none" },
  { name = "1,000 tables", state = "tables" },
  { name = "one table", state = "table" },
  { name = "app.cache", state = "cache" },
  { name = "nats.go, a map", state = "map", words = { machine.folder .. "/peer_go" } },
}

local function is_there(path)
  local file = io.open(path)
  return file ~= nil and file:close()
end

---Waits until the service has built its state.
local function await(service)
  while not machine.read(service.path):find("started, connected", 1, true) do app.sleep(0.1) end
end

---@param rate integer|nil
local function load(server, service, count, subject, rate)
  local words = { "-u", server.url, "-n", tostring(count), "-w", tostring(WINDOW), "-k",
    tostring(count // 10), "-p", "service=" .. service.pid }
  if rate then table.move({ "-r", tostring(rate) }, 1, 2, #words + 1, words) end
  words[#words + 1] = subject
  local result, err = machine.load("echo", words)
  if not result then error(err, 0) end
  return result
end

local function cpu_of(result) return result.service_cpu / result.count * 1e6 end

---@return table row  worst, pause: milliseconds; memory, heap: MB; cpu, full_cpu: us per
---request
local function measure(server, keeper, count)
  local env = { NATS_URL = server.env.NATS_URL, BENCH_STATE = keeper.state,
    BENCH_RECORDS = tostring(RECORDS) }
  local lunats = machine.folder .. "/lunats"
  local words = keeper.words or { lunats, "run", "bench/state_service.lua" }
  local service = machine.start(words, env)
  await(service)
  local even = load(server, service, count // 3, "bench.state", RATE)
  local result = load(server, service, count, "bench.state")
  local row = { cpu = cpu_of(even), full_cpu = cpu_of(result), worst = result.max / 1e3,
    memory = result.service_kib / 1000,
    heap = tonumber(machine.read(service.path):match "heap (%d+)" or 0) * 1024 / 1e6 }
  if not keeper.words then
    local ask = { lunats, "request", "-s", server.url, "bench.worst" }
    load(server, service, 100, "bench.pause")
    machine.run(ask) -- the first one had nothing before it
    load(server, service, count // 2, "bench.pause")
    row.pause = tonumber(machine.run(ask) or "")
  end
  machine.stop(service)
  return row
end

local function cell(rows, field)
  local values = {}
  for i, row in ipairs(rows) do values[i] = row[field] end
  return #values > 0 and report.number((report.spread(values))) or "-"
end

---@param options { rounds: integer, quick: boolean|nil }
return function(options)
  local found = {}
  local count = options.quick and REQUESTS // 4 or REQUESTS
  for round = 1, options.rounds do
    local server = machine.server()
    local none
    for _, keeper in ipairs(KEEPERS) do
      if not keeper.words or is_there(keeper.words[1]) then
        io.stderr:write(("bench: round %d: %s\n"):format(round, keeper.name))
        local row = measure(server, keeper, count)
        none = none or row
        row.ratio, row.full_ratio = row.cpu / none.cpu, row.full_cpu / none.full_cpu
        found[keeper] = found[keeper] or {}
        table.insert(found[keeper], row)
      end
    end
    machine.stop_server(server)
  end
  print(("\n%d records, each request replaces one: %d requests a second, or as many as are "
    .. "answered,\n%d under way"):format(RECORDS, RATE, WINDOW))
  print(("\n| | CPU us per request, %d/s | of that without state | CPU us, as many as can be "
    .. "| of that without state | worst reply ms | worst pause, CPU ms | most memory MB "
    .. "| heap MB |\n|---|---|---|---|---|---|---|---|---|"):format(RATE))
  for _, keeper in ipairs(KEEPERS) do
    local rows = found[keeper]
    if rows then
      print(("| %s | %s | %s | %s | %s | %s | %s | %s | %s |"):format(keeper.name,
        cell(rows, "cpu"), cell(rows, "ratio"), cell(rows, "full_cpu"),
        cell(rows, "full_ratio"), cell(rows, "worst"), cell(rows, "pause"),
        cell(rows, "memory"), cell(rows, "heap")))
    end
  end
end
