-- What more processes cost for the same work, and what servers have of it: the tables of
-- docs/scaling.md.
--
--   build/release/lunats lua bench/processes.lua [OPTION...]
--     --rate N       requests a second, whatever the number of processes (2000)
--     --seconds S    for how long each of them is measured (5)
--     --only PART    `processes` or `servers`
--
-- `processes`: a service with a listener, a consumer and a watched bucket, in 1 to 8 workers.
-- `servers`: what a nats-server takes for a request, a connection, a subscription; three of
-- them for a message with three replicas, a write and a look of app.leader, a stream that
-- nobody uses. Processor time and memory are those of the kernel's books, so a busy machine
-- makes them somewhat larger, not wrong.
local core = require "lunats.core"
local cost = require "bench.processes.cost"

local parts = {
  { "processes", require "bench.processes.workers" },
  { "servers", require "bench.processes.servers" },
}

local options = { rate = 2000, seconds = 5 }
for i = 1, #arg, 2 do
  local name, value = arg[i]:match "^%-%-(%l+)$", arg[i + 1]
  if name == "only" and (value == parts[1][1] or value == parts[2][1]) then
    options.only = value
  elseif (name == "rate" or name == "seconds") and tonumber(value) then
    options[name] = tonumber(value)
  else
    io.stderr:write "usage: bench/processes.lua [--rate N] [--seconds S] [--only PART]\n"
    os.exit(2)
  end
end

print(("lunats %s, nats-server %s, %d processors"):format(core.version, cost.server_version(),
  cost.processors()))
for _, part in ipairs(parts) do
  if not options.only or options.only == part[1] then part[2](options) end
end
os.exit(0)
