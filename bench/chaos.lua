-- Everything that goes wrong, at random and at once, and a look at what is lost: a nats-server
-- with a file store and two lunats processes are killed, paused, reloaded, flooded, fed with
-- garbage, left without disk, descriptors and the right time.
--
--   build/release/lunats lua bench/chaos.lua [OPTION...]
--     --seconds S     how long (60)
--     --seed N        gives the same events in the same order; it is printed
--     --cluster       three servers, one of which is killed or paused at a time
--     --logs FOLDER   prints each event, and keeps the logs there
--
-- This process is the checker: every message that a stream has acknowledged must be handled,
-- every request answered or failed in time, the newest version must serve, and at the end each
-- process must have no more memory, descriptors, threads and fibers than at the beginning.
-- Prints what happened; exit status 1: something was lost. bench/chaos.sh does the same in
-- namespaces of its own.
local chaos = require "bench.chaos.run"

local USAGE = "usage: bench/chaos.lua [--seconds S] [--seed N] [--cluster] [--logs FOLDER]\n"

local opts = { seconds = 60, seed = os.time() }
local i = 1
while i <= #arg do
  local name, value = arg[i]:match "^%-%-(%l+)$", arg[i + 1]
  if name == "cluster" then
    opts.cluster = true
    i = i - 1
  elseif name == "logs" and value then
    opts.logs = value
  elseif (name == "seconds" or name == "seed") and tonumber(value) then
    opts[name] = tonumber(value)
  else
    io.stderr:write(USAGE)
    os.exit(2)
  end
  i = i + 2
end
os.exit(chaos(opts) and 0 or 1)
