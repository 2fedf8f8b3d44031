-- The same as bench/pg.c, by lunats.pg; PG_DSN, PG_COUNT, PG_ROWS and PG_PREPARE are its
-- arguments.
local core = require "lunats.core"
local db = require "lunats.pg".pool { dsn = os.getenv "PG_DSN", max = 1,
  prepare = os.getenv "PG_PREPARE" ~= "false" }

local count, rows = tonumber(os.getenv "PG_COUNT"), tonumber(os.getenv "PG_ROWS")
local SQL = "select id, name, amount, paid from items "
  .. "where id between $1 and $1::int + $2::int - 1"

local function ask(id)
  local found = assert(db:query(SQL, id, rows))
  assert(#found == rows and found[1].id == id)
end

for _ = 1, count // 10 do ask(1) end
local cpu, clock = os.clock(), core.hrtime()
for i = 1, count do ask((i - 1) % 1000 + 1) end
print(("%.6f %.6f"):format(os.clock() - cpu, core.hrtime() - clock))
db:close()
