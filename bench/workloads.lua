---What is measured. `run(bench)` returns what the load generator says, or nil and why not.
---`bench` has url, service (its pid), peer, command, cpu, and count(n): n, or less for a quick
---run.
local machine = require "machine"

---A workload of requests.
local function requests(mode, window, count, warm_up)
  return function(bench)
    return machine.load(mode, { "-u", bench.url, "-n", tostring(bench.count(count)),
      "-k", tostring(bench.count(warm_up)), "-w", tostring(window),
      "-e", bench.peer.envelope or "plain", "-p", "service=" .. bench.service,
      "bench." .. mode }, bench.cpu)
  end
end

local echo = requests("echo", 256, 200000, 30000)

---One job of JetStream; `durable` when the stream is read, `storage`: "file", or memory.
local function work(subject, count, job, durable, storage)
  return function(bench)
    job.count = bench.count(count)
    local n = tostring(job.count)
    local warm, why = machine.load("echo", { "-u", bench.url, "-n", "20000", "bench.echo" })
    if not warm then return nil, why end
    local stored = durable and n or "0"
    local fill = { "-u", bench.url, "-n", stored }
    fill[#fill + 1] = storage == "file" and "-f" or nil
    table.move({ "BENCH", durable }, 1, 2, #fill + 1, fill)
    assert(machine.load("fill", fill))
    return machine.load("work", { "-u", bench.url, "-n", n, "-p", "service=" .. bench.service,
      "bench." .. subject, app.json.encode(job), "BENCH", durable })
  end
end

local function count(bench)
  local warm, why = machine.load("echo", { "-u", bench.url, "-n", "5000", "bench.echo" })
  if not warm then return nil, why end
  return machine.load("count", { "-u", bench.url, "-n", tostring(bench.count(1000000)),
    "-k", "40960", "-p", "service=" .. bench.service, "bench.count" })
end

local function start(bench)
  local words = { "-u", bench.url, "-e", bench.peer.envelope or "plain", "bench.echo" }
  table.move(bench.command, 1, #bench.command, #words + 1, words)
  return machine.load("start", words)
end

local PULL = { stream = "BENCH", durable = "bench", batch = 100 }
local PUBLISH = { subject = "BENCH.x", size = 128, window = 256 }
local CONSUME = { stream = "BENCH", durable = "bench", batch = 100, consume = true }

---`value` is what is compared: cpu (microseconds of the service's CPU per message), p50 and p99
---(latency, microseconds), start (ms), memory (MB); `server` starts what it is measured on, if
---not machine.server; workloads of one `group` share a table.
return {
  { id = "W1", name = "echo", title = "W1 echo, 128 bytes, 256 under way", value = "cpu",
    run = echo, goal = { peer = "nats.go", factor = 0.9 } },
  { id = "W1", name = "echo-1", title = "W1 echo, one after the other", value = "p50",
    run = requests("echo", 1, 20000, 2000) },
  { id = "W1", name = "echo-1-pinned", value = "p50", pinned = true,
    title = "W1 echo, one after the other, all on one CPU",
    run = requests("echo", 1, 20000, 2000), goal = { peer = "raw socket", factor = 1 } },
  { id = "W2", name = "json", title = "W2 JSON: decode, add a field, encode; 256 under way",
    value = "cpu", run = requests("json", 256, 150000, 30000),
    goal = { peer = "nats.js", factor = 0.5 } },
  { id = "W3", name = "count", title = "W3 subscribe and count, 128 bytes", value = "cpu",
    run = count, goal = { peer = "nats.go", factor = 1 } },
  { id = "W4", name = "fetch", title = "W4 pull: fetch(100), ack each; memory", value = "cpu",
    run = work("pull", 100000, PULL, "bench"), goal = { peer = "nats.go", factor = 0.6 } },
  { id = "W4", name = "consume", title = "W4 consume, ack each; memory", value = "cpu",
    run = work("pull", 100000, CONSUME, "bench"), consumes = true },
  { id = "W5", name = "publish", title = "W5 publish, PubAck awaited, 256 under way; memory",
    value = "cpu",
    run = work("publish", 100000, PUBLISH),
    goal = { peer = "nats.go", factor = 0.35 } },
  { id = "W5", name = "publish-file", title = "W5 publish, PubAck awaited, 256 under way; file",
    value = "cpu",
    run = work("publish", 100000, PUBLISH, nil, "file"),
    goal = { peer = "nats.go", factor = 0.35 } },
  { id = "W5", name = "publish-1", title = "W5 publish, one after the other; memory",
    value = "cpu",
    run = work("publish", 10000, { subject = "BENCH.x", size = 128, window = 1 }),
    goal = { peer = "nats.go", factor = 0.5 } },
  { id = "W6", name = "start", title = "W6 start to first reply, ms", value = "start",
    run = start, itself = true, goal = { peer = "nats.c", factor = 0.86 } }, -- 6 ms of 7
  { id = "W6", name = "memory", title = "W6 memory of an idle service, MB", value = "memory",
    of = "start", goal = { limit = 7 } },
  { id = "TLS", name = "echo-tls", title = "W1 echo, 128 bytes, 256 under way, over TLS",
    group = "tls", server = machine.tls_server, value = "cpu", run = echo,
    goal = { peer = "nats.go", factor = 0.55 } },
  { id = "TLS", name = "count-tls", title = "W3 subscribe and count, 128 bytes, over TLS",
    group = "tls", server = machine.tls_server, value = "cpu", run = count,
    goal = { peer = "nats.go", factor = 0.5 } },
}
