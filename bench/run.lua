-- SPDX-License-Identifier: Apache-2.0
-- Measures lunats and its peers, interleaved: see bench/run, which prepares and calls it.
local chart = require "chart"
local codec = require "codec"
local find_peers = require "peers"
local machine = require "machine"
local report = require "report"
local workloads = require "workloads"

local function set(text)
  local result = {}
  for word in text:gmatch "[^,]+" do result[word] = true end
  return result
end

local function read_arguments()
  local options, i = { rounds = nil }, 1
  local valued = { ["--rounds"] = tonumber, ["--only"] = set, ["--against"] = set }
  while arg[i] do
    local convert, name = valued[arg[i]], arg[i]:match "^%-%-(%l+)$"
    if convert then
      i = i + 1
      options[name] = convert(arg[i] or "")
    elseif name == "quick" or name == "scaling" or name == "state" then
      options[name] = true
    end
    if not name or options[name] == nil then
      io.stderr:write("bench: what is ", arg[i] or name, "? ./dev bench --help\n")
      os.exit(2)
    end
    i = i + 1
  end
  options.rounds = options.rounds or (options.quick and 2 or 5)
  return options
end

local options = read_arguments()
if options.scaling then
  require "scaling" (options)
  os.exit(0)
end
if options.state then
  require "state" (options)
  os.exit(0)
end
local peers = find_peers(options.quick, options.against)
local rows, failures = {}, 0

local function serves(peer, workload)
  if workload.consumes and not peer.consumes then return false end
  if peer.except and peer.except[workload.id] then return false end
  return not peer.only or peer.only[workload.id]
end

---What the load generator has said, as a row.
local function add_row(workload, peer, round, result)
  local row = { workload = workload.name, peer = peer.name, round = round, p50 = result.p50,
    p99 = result.p99 }
  if result.service_cpu then
    row.cpu = result.service_cpu / result.count * 1e6
    row.rate = result.count / result.seconds
  else
    row.start, row.memory = result.seconds * 1e3, result.kib / 1000
  end
  row.value = row[workload.value]
  rows[#rows + 1] = row
end

---The command of a peer, with its environment.
local function command_of(peer, server)
  local words = {}
  for _, env in ipairs { server.env, peer.env } do
    for name, value in pairs(env) do words[#words + 1] = name .. "=" .. value end
  end
  return table.move(peer.words, 1, #peer.words, #words + 1, words)
end

local function measure(workload, peer, round, server)
  local bench = { url = server.url, peer = peer, command = command_of(peer, server) }
  function bench.count(n)
    n = options.quick and n // 4 or n
    return peer.slow and n // 5 or n
  end
  local service
  if not workload.itself then
    service = machine.start(bench.command, {})
    bench.service = service.pid
    if workload.pinned then
      app.sleep(0.2) -- all threads are there
      bench.cpu = machine.last_cpu()
      machine.pin(service.pid, bench.cpu)
      machine.pin_server(server, bench.cpu)
    end
  end
  local result, err = workload.run(bench)
  if workload.pinned then machine.pin_server(server) end
  if service then machine.stop(service) end
  if result then
    add_row(workload, peer, round, result)
    return result
  end
  failures = failures + 1
  io.stderr:write(("bench: %s, %s: %s\n"):format(workload.name, peer.name, err))
end

---Who comes first changes with every round.
local function each_peer(round, call)
  for i = 1, #peers do call(peers[(i + round * (#peers // 2 + 1)) % #peers + 1]) end
end

local function run_workload(workload, round, server)
  io.stderr:write(("bench: round %d: %s\n"):format(round, workload.title))
  each_peer(round, function(peer)
    if not serves(peer, workload) then return end
    local result = measure(workload, peer, round, server)
    for _, other in ipairs(workloads) do
      if result and other.of == workload.name then add_row(other, peer, round, result) end
    end
  end)
end

local kinds = { machine.server }
if machine.has "openssl" then
  kinds[2] = machine.tls_server
else
  io.stderr:write "bench: without openssl: nothing over TLS\n"
end

---The workloads of each kind of server, on a new one.
local function run_round(round)
  for _, start in ipairs(kinds) do
    local server
    for _, workload in ipairs(workloads) do
      if not workload.of and (workload.server or machine.server) == start
        and (not options.only or options.only[workload.id]) then
        server = server or start()
        run_workload(workload, round, server)
      end
    end
    if server then machine.stop_server(server) end
  end
end

local began = os.time()
local documents = {} -- workloads of the codec

---The figures of all rounds so far, written into the folder of results.
local function save(round)
  local all = table.move(workloads, 1, #workloads, 1, {})
  table.move(documents, 1, #documents, #all + 1, all)
  local others = table.move(peers, 1, #peers, 1, {})
  others[#others + 1] = { name = "lua-cjson" }
  local summary = report.summary(rows, all, others)
  local about = machine.describe()
  about.rounds, about.quick, about.seconds = round, options.quick, os.time() - began
  machine.write("results.json",
    app.json.encode { about = about, summary = summary, rows = rows })
  machine.write("results.md", report.markdown(summary, others))
  machine.write("chart.svg", chart(summary))
  return summary, about
end

for round = 1, options.rounds do
  run_round(round)
  save(round)
end
if not options.only or options.only.JSON then
  io.stderr:write "bench: JSON\n"
  documents = codec(rows, options.quick and 5 or 11)
end
local summary, about = save(options.rounds)
print(("%s, %d processors, load %s; nats-server %s; %d rounds in %d s"):format(about.cpu,
  about.processors, about.load_average, about.nats_server, about.rounds, about.seconds))
report.print(summary)
report.print_goals(summary)
print(("%s/results.json, results.md and chart.svg have the same"):format(machine.folder))
os.exit(failures == 0)
