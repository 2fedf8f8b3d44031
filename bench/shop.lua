-- The shop of examples/shop, killed again and again while it takes orders, and an audit of its
-- books: nats-server, PostgreSQL, the provider of payments and each of its services end by
-- SIGKILL (PostgreSQL by an immediate shutdown) and come back, in an order that is drawn.
--
--   build/release/lunats lua bench/shop.lua [OPTION...]
--     --orders N      how many are sent (100000)
--     --kills N       how many processes are killed meanwhile (one for each 1000 orders, at
--                     least each of the eight once; 0: none)
--     --clients N     how many send at once, and repeat what got no answer (64)
--     --seed N        gives the same orders and the same kills; it is printed
--     --logs FOLDER   prints each kill, and keeps what the services have logged
--
-- This process is customer and auditor; it believes no service and reads what is stored: the
-- rows of PostgreSQL, the stream, the bucket and the book of the provider have to agree. Prints
-- what it has found; exit status 1: the books do not balance. Needs PostgreSQL and nats-server.
local shop = require "bench.shop.run"

local USAGE = "usage: bench/shop.lua [--orders N] [--kills N] [--clients N] [--seed N] "
  .. "[--logs FOLDER]\n"

local opts = { orders = 100000, clients = 64, seed = os.time() % 1000000 }
for i = 1, #arg, 2 do
  local name, value = arg[i]:match "^%-%-(%l+)$", arg[i + 1]
  local number = math.tointeger(tonumber(value))
  if name == "logs" and value then
    opts.logs = value
  elseif number and number >= (name == "kills" and 0 or 1)
    and (name == "orders" or name == "kills" or name == "clients" or name == "seed") then
    opts[name] = number
  else
    io.stderr:write(USAGE)
    os.exit(2)
  end
end
opts.kills = opts.kills or math.max(8, opts.orders // 1000)
os.exit(shop(opts) and 0 or 1)
