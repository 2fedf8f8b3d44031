-- A fleet in a cluster whose parts are all restarted, again and again, while it works: three
-- nats-servers with streams of three replicas, four lunats with two services each.
--
--   build/release/lunats lua bench/fleet.lua [OPTION...]
--     --rounds N      each server and process is restarted that often (5)
--     --seconds S     how long that takes at least (60)
--     --logs FOLDER   keeps the logs there
--
-- In turn servers are killed, stopped, put into lame duck mode, and paused until the others
-- have gone on without them; processes are stopped in order and killed; leaders step down,
-- services are reloaded. Each step waits until the cluster and all services say that they are
-- well.
-- This process is the checker: every message that a stream has acknowledged must be handled,
-- every request answered or failed with an error in time, nothing kept back at the end. Prints
-- what happened; exit status 1: something was lost.
local fleet = require "bench.fleet.run"

local USAGE = "usage: bench/fleet.lua [--rounds N] [--seconds S] [--logs FOLDER]\n"

local opts = { seconds = 60, rounds = 5 }
for i = 1, #arg, 2 do
  local name, value = arg[i]:match "^%-%-(%l+)$", arg[i + 1]
  if name == "logs" and value then
    opts.logs = value
  elseif (name == "seconds" or name == "rounds") and tonumber(value) then
    opts[name] = tonumber(value)
  else
    io.stderr:write(USAGE)
    os.exit(2)
  end
end
os.exit(fleet(opts) and 0 or 1)
