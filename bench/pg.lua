-- What a select costs with lunats.pg, beside a C program with libpq: bench/pg.
local core = require "lunats.core"
local postgres = require "spec.support.postgres"

local CASES = { { rows = 1, count = 5000, few = 200, many = 1200 },
  { rows = 100, count = 1000, few = 100, many = 400 } }
local ROUNDS = tonumber(os.getenv "PG_ROUNDS") or 7

---Those of bench/pg.c and ours, and what each is called.
local PEERS = { { "text", "C, PQexecParams" }, { "plain", "lunats, prepare = false" },
  { "prepared", "C, PQexecPrepared" }, { "loop", "C, prepared, in a loop" },
  { "rows", "C, in a loop, rows kept" }, { "tables", "C, in a loop, rows in Lua" },
  { "lunats", "lunats" } }

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

local function run(words)
  local status, output = assert(core.process(words, true)):wait()
  assert(status == 0, output)
  return output
end

local function command(peer, count, rows)
  if peer ~= "lunats" and peer ~= "plain" then
    return { "build/bench/pg", server.dsn, tostring(count), tostring(rows), peer }
  end
  return { "env", "PG_DSN=" .. server.dsn, "PG_COUNT=" .. count, "PG_ROWS=" .. rows,
    "PG_PREPARE=" .. tostring(peer == "lunats"), core.program(), "lua", "bench/pg_client.lua" }
end

-- ---- instructions --------------------------------------------------------------

local function collected(peer, count, rows)
  local words = { "sh", "-c", 'exec "$@" 2>&1', "sh", "valgrind", "--tool=callgrind",
    "--trace-children=yes", "--callgrind-out-file=/dev/null" }
  table.move(command(peer, count, rows), 1, 10, #words + 1, words)
  local last
  for n in run(words):gmatch "Collected : (%d+)" do last = tonumber(n) end
  return assert(last, "no valgrind")
end

local function print_instructions()
  print "rows  client                    instructions of a select"
  for _, case in ipairs(CASES) do
    for _, peer in ipairs(PEERS) do
      local more = collected(peer[1], case.many, case.rows)
        - collected(peer[1], case.few, case.rows)
      -- A tenth more are asked for before it counts.
      print(("%4d  %-24s %9d"):format(case.rows, peer[2],
        more * 10 // (11 * (case.many - case.few))))
    end
  end
end

-- ---- time ----------------------------------------------------------------------

local function median(list)
  table.sort(list)
  return list[#list // 2 + 1]
end

---Each round measures all of them, one after the other.
local function measure(case)
  local rounds = {}
  for i = 1, ROUNDS do
    rounds[i] = {}
    for _, peer in ipairs(PEERS) do
      local output = run(command(peer[1], case.count, case.rows))
      local cpu, clock = output:match "([%d.]+) ([%d.]+)\n"
      rounds[i][peer[1]] = { cpu = tonumber(cpu) / case.count * 1e6,
        clock = tonumber(clock) / case.count * 1e6 }
    end
  end
  return rounds
end

local function median_of(rounds, value)
  local list = {}
  for i, round in ipairs(rounds) do list[i] = value(round) end
  return median(list)
end

local function print_times()
  print "rows  client                    CPU us   us    lunats is: by CPU  by time"
  for _, case in ipairs(CASES) do
    local rounds = measure(case)
    for _, peer in ipairs(PEERS) do
      local name = peer[1]
      print(("%4d  %-24s %7.1f %7.1f %14.2f %8.2f"):format(case.rows, peer[2],
        median_of(rounds, function(round) return round[name].cpu end),
        median_of(rounds, function(round) return round[name].clock end),
        median_of(rounds, function(round) return round.lunats.cpu / round[name].cpu end),
        median_of(rounds, function(round) return round.lunats.clock / round[name].clock end)))
    end
  end
end

if os.getenv "PG_INSTRUCTIONS" then print_instructions() else print_times() end
