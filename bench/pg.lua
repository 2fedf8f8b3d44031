-- What a select costs with lunats.pg, beside a C program with libpq: bench/pg.
local core = require "lunats.core"
local postgres = require "spec.support.postgres"

local CASES = { { rows = 1, count = 5000 }, { rows = 100, count = 1000 } }
local ROUNDS = tonumber(os.getenv "PG_ROUNDS") or 7

local function run(words)
  local status, output = assert(core.process(words, true)):wait()
  assert(status == 0, output)
  local cpu, clock = output:match "([%d.]+) ([%d.]+)\n"
  return tonumber(cpu), tonumber(clock)
end

local function median(list)
  table.sort(list)
  return list[#list // 2 + 1]
end

assert(not postgres.missing, postgres.missing)
local server = postgres.start()
local _ <close> = setmetatable({}, { __close = function() server:stop() end })
local db = require "lunats.pg".pool { dsn = server.dsn }
assert(db:execute [[
  create table items (id int primary key, name text, amount bigint, paid bool);
  insert into items select n, 'item number ' || n, n * 1000, n % 2 = 0
    from generate_series(1, 2000) n;
  analyze items]])
db:close()

print "rows  C: µs CPU  µs   lunats: µs CPU  µs   ratio of CPU  of time"
for _, case in ipairs(CASES) do
  local c_cpu, c_clock, our_cpu, our_clock, cpu, clock = {}, {}, {}, {}, {}, {}
  for i = 1, ROUNDS do
    c_cpu[i], c_clock[i] = run { "build/bench/pg", server.dsn, tostring(case.count),
      tostring(case.rows) }
    our_cpu[i], our_clock[i] = run { "env", "PG_DSN=" .. server.dsn, "PG_COUNT=" .. case.count,
      "PG_ROWS=" .. case.rows, core.program(), "lua", "bench/pg_client.lua" }
    cpu[i], clock[i] = our_cpu[i] / c_cpu[i], our_clock[i] / c_clock[i]
  end
  local unit = 1e6 / case.count
  print(("%4d %10.1f %6.1f %14.1f %6.1f %12.2f %10.2f"):format(case.rows,
    median(c_cpu) * unit, median(c_clock) * unit, median(our_cpu) * unit,
    median(our_clock) * unit, median(cpu), median(clock)))
end
