-- Order per key while workers are killed: messages of many keys, in partitions, each of which
-- one process reads with `key =`; the processes are killed with SIGKILL at random, and started
-- again.
--
--   build/release/lunats lua bench/order.lua [OPTION...]
--     --messages N    how many (100000)
--     --keys N        of so many keys (1000)
--     --partitions N  (8)
--     --workers N     processes, which share the partitions (4)
--     --every S       a worker is killed every S seconds on average (3). What one had in hand
--                     comes again after the ack_wait of a second, so each has to live for
--                     longer than that, or there is no progress: S times N is 4 at least
--     --elastic 1     an elastic consumer group instead, of which each process is a member;
--                     the list of members is changed as well. Needs nats-server 2.11. A killed
--                     member is back when its lease of 2 seconds is over: S times N is 16 at
--                     least
--     --seed N        of which and when; it is printed
--
-- What a handler does is a message in a second stream, stored before its own is acknowledged,
-- so that stream has the order in which all has been done. Prints what happened; exit status 1:
-- a message is missing, or behind a later one of its key.
local run = require "bench.order.run"

local opts = { messages = 100000, keys = 1000, partitions = 8, workers = 4, every = 3,
  elastic = 0, seed = os.time() % 1000000 }
for i = 1, #arg, 2 do
  local name, value = arg[i]:match "^%-%-(%l+)$", tonumber(arg[i + 1])
  if not (name and opts[name] and value) then
    io.stderr:write "usage: bench/order.lua [--messages N] [--keys N] [--partitions N] "
    io.stderr:write "[--workers N] [--every S] [--elastic 1] [--seed N]\n"
    os.exit(2)
  end
  opts[name] = value
end
local least = opts.elastic == 1 and 16 or 4
if opts.every * opts.workers < least then
  io.stderr:write(("bench/order.lua: --every times --workers has to be %d or more: see above\n")
    :format(least))
  os.exit(2)
end
os.exit(run(opts) and 0 or 1)
