-- Statements that go to the server together.
local eventually = require "spec.support.eventually"
local postgres = require "spec.support.postgres"

describe("db:pipeline", function()
  local db
  if not postgres.each(function(_, pool) db = pool end) then return end
  before_each(function()
    assert(db:execute [[create table if not exists entries (n int primary key);
      truncate entries]])
  end)

  local function count() return assert(db:query "select count(*) n from entries")[1].n end

  it("returns the rows of each statement, and what else there is to say", function()
    local indexes = {}
    local results, infos = assert(db:pipeline(function(p)
      indexes[1] = p:query("insert into entries values ($1), ($2)", 1, 2)
      indexes[2] = p:query "select n from entries order by n"
      indexes[3] = p:query "select 1 where false"
      indexes[4] = p:query("select $1::text a, $2::int b", nil, 7)
    end))
    assert.same({ 1, 2, 3, 4 }, indexes)
    assert.same({ {}, { { n = 1 }, { n = 2 } }, {}, { { b = 7 } } }, results)
    assert.same({ command = "INSERT", affected = 2 }, infos[1])
    assert.same({ command = "SELECT", affected = 2, columns = { "n" } }, infos[2])
    assert.same({ "a", "b" }, infos[4].columns)
    assert.equal(4, #infos)
    assert.equal(1, db:stats().idle)
  end)

  it("does nothing where nothing was asked for", function()
    assert.same({}, (assert(db:pipeline(function() end))))
  end)

  it("does nothing when one fails, and says which", function()
    local results, err = db:pipeline(function(p)
      p:query "insert into entries values (1)"
      p:query "insert into entries values (2)"
      p:query "insert into entries values (1)"
      p:query "insert into entries values (3)"
    end)
    assert.is_nil(results)
    assert.equal("23505", err.code)
    assert.equal(3, err.query)
    assert.equal(0, count())
    assert.equal(1, db:stats().size)
  end)

  it("sends and reads more than any buffer holds", function()
    local text = ("x"):rep(10000)
    local results = assert(db:pipeline(function(p)
      for i = 1, 1000 do p:query("select $1::int n, $2::text t", i, text) end
    end))
    assert.equal(1000, #results)
    for i = 1, 1000 do assert(results[i][1].n == i and results[i][1].t == text) end
  end)

  it("is a part of a transaction", function()
    local ok, err = db:transaction(function(tx)
      assert(tx:query "insert into entries values (1)")
      assert(tx:pipeline(function(p)
        p:query "insert into entries values (2)"
        p:query "insert into entries values (3)"
      end))
      return nil, "no"
    end)
    assert.same({ nil, "no" }, { ok, err })
    assert.equal(0, count())
    ok, err = db:transaction(function(tx)
      tx:pipeline(function(p) p:query "select 1 / 0" end)
      return true
    end)
    assert.is_nil(ok)
    assert.equal("22012", err.code)
    assert.is_true(db:transaction(function(tx)
      assert(tx:pipeline(function(p) p:query "insert into entries values (2)" end))
      return true
    end))
    assert.equal(1, count())
  end)

  it("ends after its time, and with its fiber", function()
    local function sleeping(n)
      return #assert(db:query("select 1 from pg_stat_activity where state = 'active' "
        .. "and query = $1", ("select pg_sleep(%d)"):format(n)))
    end
    local results, err = db:pipeline({ timeout = 0.2 }, function(p)
      p:query "select 1"
      p:query "select pg_sleep(60)"
    end)
    assert.is_nil(results)
    assert.equal("timeout", err.code)
    eventually("the end of it", function() return sleeping(60) == 0 end)
    local fiber = app.spawn(function()
      db:pipeline(function(p) p:query "select pg_sleep(61)" end)
    end)
    eventually("the query", function() return sleeping(61) == 1 end)
    fiber:cancel()
    eventually("the end of it", function() return sleeping(61) == 0 end)
  end)

  it("says that the connection was lost", function()
    local results, err = db:pipeline(function(p)
      p:query "insert into entries values (1)"
      p:query "select pg_terminate_backend(pg_backend_pid())"
      p:query "insert into entries values (2)"
    end)
    assert.is_nil(results)
    assert.equal("disconnected", err.code)
    assert.equal(0, count())
  end)

  it("says how it wants to be called", function()
    assert.error_matches(function() db:pipeline() end, "db:pipeline: a function expected")
    assert.error_matches(function() db:pipeline({ time = 1 }, print) end, "option 'time'")
    assert.error_matches(function() db:pipeline(function(p) p:query(1) end) end,
      "p:query: the statement must be a string")
    assert.error_matches(function()
      db:pipeline(function(p) p:query("select $1", { 1 }) end)
    end, "write pg.json%(t%) or pg.array%(t%)")
    local kept
    assert(db:pipeline(function(p) kept = p end))
    assert.error_matches(function() kept:query "select 1" end, "has been sent")
    local _, err = db:pipeline(function(p) p:query("select $1", "\0") end)
    assert.equal("22021", err.code)
    assert.error_matches(function() db:pipeline(function(p) error("x" .. #p) end) end, "x0")
    assert.equal(1, db:stats().size)
  end)

  it("refuses what would outlive it", function()
    local results, err = db:pipeline(function(p) p:query "begin" end)
    assert.is_nil(results)
    assert.matches("use db:transaction", err.message)
    assert.equal("0A000", select(2, db:pipeline(function(p)
      p:query "copy entries to stdout"
    end)).code)
    assert.equal(0, count())
  end)
end)
