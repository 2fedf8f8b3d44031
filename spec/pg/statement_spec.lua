-- Statements that come again: the server has parsed them, and nobody notices but by the time.
local postgres = require "spec.support.postgres"

local server, db
if not postgres.each(function(...) server, db = ... end) then return end

local pg = postgres.pg
local KNOWN = "select count(*) n from pg_prepared_statements where statement = $1"

describe("a statement of lunats.pg", function()
  local one

  before_each(function()
    one = pg.pool { dsn = server.dsn, max = 1 }
    assert(db:execute [[
      drop table if exists things;
      create table things (id int, name text);
      insert into things values (1, 'one'), (2, 'two')]])
  end)

  after_each(function() one:close() end)

  ---How many of this text the server knows for the only connection of `one`.
  local function known(sql) return assert(one:query(KNOWN, sql))[1].n end

  it("is parsed by the server once when it comes again", function()
    local sql = "select name from things where id = $1"
    for round, name in ipairs { "one", "two", "one", "two" } do
      local rows, info = assert(one:query(sql, (round - 1) % 2 + 1))
      assert.same({ { name = name } }, rows)
      assert.same({ command = "SELECT", affected = 1, columns = { "name" } }, info)
      assert.equal(round == 1 and 0 or 1, known(sql))
    end
    assert.matches("^lunats_%x+_%d+$", assert(one:query(
      "select name from pg_prepared_statements where statement = $1", sql))[1].name)
  end)

  it("has columns of its own in each answer", function()
    local sql = "select id, name from things order by id"
    for _ = 1, 4 do
      local rows, info = assert(one:query(sql))
      assert.same({ { id = 1, name = "one" }, { id = 2, name = "two" } }, rows)
      assert.same({ "id", "name" }, info.columns)
      table.sort(info.columns, function(a, b) return a > b end)
      info.columns[1] = "other"
    end
  end)

  it("gives the columns that another session of a pooler has for it", function()
    local sql = "select 1 as n"
    for _ = 1, 3 do assert.same({ { n = 1 } }, (assert(one:query(sql)))) end
    local name = assert(one:query(
      "select name from pg_prepared_statements where statement = $1", sql))[1].name
    for _, other in ipairs { "select 'x'::text as n, 2 as m", "select true as n, null as m" } do
      assert(one:execute(([[do $do$ begin
        execute 'deallocate %s';
        execute $$prepare %s as %s$$; end $do$]]):format(name, name, other)))
      local rows, info = assert(one:query(sql))
      assert.same((assert(db:query(other))), rows)
      assert.same({ "n", "m" }, info.columns)
    end
  end)

  it("is not kept where the pool does not want that", function()
    one:close()
    one = pg.pool { dsn = server.dsn, max = 1, prepare = false }
    for i = 1, 4 do
      assert.same({ { n = 1 } }, (assert(one:query "select 1 as n")))
      local rows, info = assert(one:query("select $1::text as n, 2 as m", i))
      assert.same({ { n = tostring(i), m = 2 } }, rows)
      assert.same({ "n", "m" }, info.columns)
    end
    assert.equal(0, known "select 1 as n")
    assert.error_matches(function() pg.pool { prepare = "no" } end, "prepare")
  end)

  it("gives the columns that there are when the table was changed", function()
    local sql = "select * from things where id = 1"
    for _ = 1, 3 do assert.same({ { id = 1, name = "one" } }, (assert(one:query(sql)))) end
    assert(db:query "alter table things add color text default 'red'")
    for _ = 1, 3 do
      assert.same({ { id = 1, name = "one", color = "red" } }, (assert(one:query(sql))))
    end
    assert(one:query "alter table things drop color")
    assert.same({ { id = 1, name = "one" } }, (assert(one:query(sql))))
  end)

  it("fails once in a transaction when the table was changed by others, and says so", function()
    local sql = "select * from things where id = 1"
    for _ = 1, 3 do assert(one:query(sql)) end
    assert(db:query "alter table things add color text")
    local ok, err = one:transaction(function(tx) return tx:query(sql) end)
    assert.is_nil(ok)
    assert.equal("0A000", err.code)
    local rows = assert(one:transaction(function(tx) return tx:query(sql) end))
    assert.same({ { id = 1, name = "one" } }, rows)
    assert(one:transaction(function(tx)
      assert(tx:query(sql))
      assert(tx:query "alter table things add size int default 4")
      assert.same({ { id = 1, name = "one", size = 4 } }, (assert(tx:query(sql))))
      return true
    end))
  end)

  it("is asked with its text again where the server does not know it any more", function()
    local sql = "select name from things where id = $1"
    for _ = 1, 3 do assert(one:query(sql, 1)) end
    assert(one:query "do $$ begin execute 'deallocate all'; end $$")
    for _ = 1, 3 do assert.same({ { name = "one" } }, (assert(one:query(sql, 1)))) end
    assert.equal(0, known(sql)) -- there seems to be a pooler, so nothing is kept any more
  end)

  it("is forgotten with all others, and parsed anew", function()
    local sql = "select name from things where id = $1"
    for _, command in ipairs { "deallocate all", "discard all" } do
      for _ = 1, 3 do assert(one:query(sql, 1)) end
      assert.equal(1, known(sql))
      assert(one:execute(command))
      assert.equal(0, known(sql))
      assert.same({ { name = "one" } }, (assert(one:query(sql, 1))))
    end
  end)

  it("is one of not too many", function()
    for round = 1, 300 do
      for _ = 1, 2 do assert(one:query(("select %d as n"):format(round))) end
    end
    local n = assert(one:query "select count(*) n from pg_prepared_statements")[1].n
    assert.is_true(n > 10 and n <= 128, n)
    assert.equal(1, known "select 300 as n")
    assert.equal(0, known "select 1 as n")
  end)

  it("stays when it is used now and then", function()
    local sql = "select id from things where name = 'two'"
    for round = 1, 200 do
      assert(one:query(("select %d as n"):format(round)))
      if round % 20 == 1 then assert(one:query(sql)) end
    end
    assert.equal(1, known(sql))
  end)

  it("takes parameters of other types", function()
    local sql = "select length($1) as n"
    for _ = 1, 3 do
      assert.equal(3, assert(one:query(sql, "äöü"))[1].n)
      assert.equal(6, assert(one:query(sql, pg.bytea "äöü"))[1].n)
    end
  end)

  it("may fail, and goes on", function()
    local sql = "select 1 / $1::int as n"
    for _ = 1, 3 do
      assert.equal("22P02", select(2, one:query(sql, "x")).code)
      assert.equal("22012", select(2, one:query(sql, 0)).code)
      assert.equal(1, assert(one:query(sql, 1))[1].n)
      assert.equal("08P01", select(2, one:query(sql)).code)
    end
    assert.equal("42601", select(2, one:query "selekt").code)
    assert.equal("42601", select(2, one:query "selekt").code)
    assert.same({ size = 1, idle = 1, waiting = 0, max = 1 }, one:stats())
  end)

  it("is none in pipelines, which are not disturbed by those that are", function()
    local insert = "insert into things values ($1, $2) returning id"
    for round = 1, 3 do
      local results, infos = assert(one:pipeline(function(p)
        for i = 1, 50 do p:query(insert, i, "n" .. i) end
        p:query "select count(*) as n from things"
      end))
      for i = 1, 50 do
        assert.same({ { id = i } }, results[i])
        assert.same({ command = "INSERT", affected = 1, columns = { "id" } }, infos[i])
      end
      assert.equal(2 + 50 * round, results[51][1].n)
      local _, err = one:pipeline(function(p)
        p:query(insert, round, "x")
        p:query("select $1::int as new" .. round, "x")
        p:query(insert, round, "y")
        p:query("select $1::int as new" .. round, 1)
      end)
      assert.equal(2, err.query)
      assert.same({ { ["new" .. round] = 7 } },
        (assert(one:query(("select $1::int as new%d"):format(round), 7))))
    end
  end)
end)
