-- Transactions, which end with the function that they were made for, however that ends.
local eventually = require "spec.support.eventually"
local postgres = require "spec.support.postgres"

describe("db:transaction", function()
  local db
  if not postgres.each(function(_, pool) db = pool end) then return end
  before_each(function()
    assert(db:execute [[create table if not exists accounts (id int primary key, amount int);
      truncate accounts; insert into accounts values (1, 100), (2, 0)]])
  end)

  local function amount(id)
    return assert(db:query("select amount from accounts where id = $1", id))[1].amount
  end

  local function set(tx, id, n)
    return tx:query("update accounts set amount = $2 where id = $1", id, n)
  end

  ---Nobody has a transaction that was forgotten.
  local function nothing_left()
    return #assert(db:query [[select 1 from pg_stat_activity where xact_start is not null
      and backend_type = 'client backend' and pid <> pg_backend_pid()]]) == 0
  end

  it("keeps what its function has done when that returns, and returns what it does", function()
    local a, b, c = db:transaction(function(tx)
      assert(set(tx, 1, 60))
      assert(set(tx, 2, 40))
      return "done", nil, 3
    end)
    assert.same({ "done", nil, 3 }, { a, b, c })
    assert.equal(60, amount(1))
    assert.equal(40, amount(2))
    assert.equal(0, select("#", db:transaction(function() end)))
  end)

  it("keeps nothing when its function fails, and raises what that has raised", function()
    local marker = setmetatable({}, { __tostring = function() return "marker" end })
    for _, raised in ipairs { "text", marker } do
      local ok, err = pcall(db.transaction, db, function(tx)
        assert(set(tx, 1, 0))
        error(raised, 0)
      end)
      assert.is_false(ok)
      assert.equal(raised, err)
      assert.equal(100, amount(1))
    end
    assert.is_true(nothing_left())
    assert.equal(1, db:stats().size) -- and goes on with the same connection
  end)

  for what, ends in pairs {
    ["commit"] = function(tx) return tx:query "commit" end,
    ["rollback"] = function(tx) return tx:query "rollback" end,
    ["commit and chain"] = function(tx) return tx:query "commit and chain" end,
    ["a script"] = function(tx) return tx:execute "select 1; commit" end,
    ["a script that fails behind it"] = function(tx) return tx:execute "commit; select 1/0" end,
    ["a pipeline"] = function(tx)
      return tx:pipeline(function(p)
        p:query "commit and chain"
        p:query "select 1"
      end)
    end,
  } do
    it("is not ended by a statement: " .. what, function()
      local why, afterwards
      local result, err = db:transaction(function(tx)
        local done
        done, why = ends(tx)
        assert.is_nil(done)
        afterwards = select(2, pcall(set, tx, 1, 0))
        return "done"
      end)
      assert.is_nil(result)
      assert.equal(why, err)
      assert.equal(what:find "fails" and "22012" or "2D000", err.code)
      assert.matches("the transaction has ended", tostring(afterwards))
      assert.equal(100, amount(1))
      assert.is_true(nothing_left())
      assert.equal("ok", db:transaction(function(tx)
        assert(set(tx, 1, 100))
        return "ok"
      end))
    end)
  end

  it("is not ended by a statement in a part of it", function()
    local result, err = db:transaction(function(tx)
      tx:transaction(function(part) part:query "commit" end)
      return "done"
    end)
    assert.is_nil(result)
    assert.equal("2D000", err.code)
  end)

  it("keeps nothing when its function returns nil and an error", function()
    local ok, err = db:transaction(function(tx)
      assert(set(tx, 1, 0))
      return nil, "not enough"
    end)
    assert.is_nil(ok)
    assert.equal("not enough", err)
    assert.equal(100, amount(1))
  end)

  it("keeps nothing when a statement has failed, even if nobody has looked", function()
    local ok, err = db:transaction(function(tx)
      assert(set(tx, 1, 0))
      tx:query "select 1 / 0"
      local rows, after = tx:query "select 1"
      assert.is_nil(rows)
      assert.equal("25P02", after.code)
      return "done"
    end)
    assert.is_nil(ok)
    assert.is_truthy(err.code == "22012" or err.code == "25P02")
    assert.equal(100, amount(1))
  end)

  it("ends with its fiber", function()
    local inside = false
    local fiber = app.spawn(function()
      db:transaction(function(tx)
        assert(set(tx, 1, 0))
        inside = true
        app.sleep(60)
      end)
    end)
    eventually("the transaction", function() return inside end)
    fiber:cancel()
    eventually("its end", nothing_left)
    assert.equal(100, amount(1))
    assert.is_true(db:stats().size <= 1)
  end)

  it("ends with its fiber in the middle of a query", function()
    local fiber = app.spawn(function()
      db:transaction(function(tx)
        assert(set(tx, 1, 0))
        tx:query "select pg_sleep(60)"
      end)
    end)
    eventually("the query", function()
      return #assert(db:query [[select 1 from pg_stat_activity
        where state = 'active' and query = 'select pg_sleep(60)']]) == 1
    end)
    fiber:cancel()
    eventually("its end", nothing_left)
    assert.equal(100, amount(1))
  end)

  it("ends with the coroutine that it runs in", function()
    local co = coroutine.wrap(function()
      db:transaction(function(tx)
        assert(set(tx, 1, 0))
        coroutine.yield "inside"
      end)
    end)
    assert.equal("inside", co())
    co = nil -- luacheck: ignore 311
    eventually("its end", function()
      collectgarbage()
      return nothing_left()
    end)
    assert.equal(100, amount(1))
  end)

  it("is not used behind its end, or by somebody else meanwhile", function()
    local kept
    assert(db:transaction(function(tx)
      kept = tx
      local other = app.spawn(function() return tx:query "select pg_sleep(1.5)" end)
      eventually("the other one", function()
        return #assert(db:query [[select 1 from pg_stat_activity
          where state = 'active' and query = 'select pg_sleep(1.5)']]) == 1
      end)
      assert.error_matches(function() tx:query "select 1" end, "another fiber uses")
      assert(other:await())
      return true
    end))
    assert.error_matches(function() kept:query "select 1" end, "the transaction has ended")
    assert.error_matches(function() kept:execute "select 1" end, "the transaction has ended")
    assert.error_matches(function() kept:transaction(print) end, "the transaction has ended")
  end)

  it("has parts that may fail alone", function()
    assert(db:transaction(function(tx)
      assert(set(tx, 1, 60))
      local ok, err = tx:transaction(function(inner)
        assert(set(inner, 1, 0))
        assert.error_matches(function() tx:query "select 1" end, "inside of this one")
        return nil, "no"
      end)
      assert.same({ nil, "no" }, { ok, err })
      ok, err = tx:transaction(function(inner) return inner:query "select 1 / 0" end)
      assert.is_nil(ok)
      assert.equal("22012", err.code)
      assert.is_false((pcall(tx.transaction, tx, function() error "x" end)))
      assert.equal("kept", (tx:transaction(function(inner)
        assert(inner:transaction(function(third) return set(third, 2, 40) end))
        return "kept"
      end)))
      return true
    end))
    assert.equal(60, amount(1))
    assert.equal(40, amount(2))
  end)

  it("has an isolation, and may be read only", function()
    assert(db:transaction({ isolation = "serializable" }, function(tx)
      assert.same({ { transaction_isolation = "serializable" } },
        (assert(tx:query "show transaction_isolation")))
      return true
    end))
    local ok, err = db:transaction({ read_only = true }, function(tx) return set(tx, 1, 0) end)
    assert.is_nil(ok)
    assert.equal("25006", err.code)
    assert.error_matches(function() db:transaction({ isolation = "some" }, print) end,
      'isolation must be "read committed"')
    assert.error_matches(function() db:transaction({ retry = 1 }, print) end, "retries")
    assert.error_matches(function() db:transaction() end, "db:transaction")
  end)

  local function returned(...) return ... end

  ---As assert() of Lua: that of busted raises something else.
  local function checked(rows, err) return rows or error(err, 0) end

  ---Two at a time, each of which reads what the other one writes.
  ---@param give function what is done with what a statement has returned
  local function collide(opts, give)
    local runs, both = 0, 0
    local function part(from, to)
      return app.spawn(function()
        return db:transaction(opts, function(tx)
          runs = runs + 1
          local n = checked(tx:query("select amount from accounts where id = $1", from))
          both = both + 1
          eventually("the other one", function() return both >= 2 end)
          return give(set(tx, to, n[1].amount + 1))
        end)
      end)
    end
    local first, second = part(1, 2), part(2, 1)
    local a, a_err = first:await()
    local b, b_err = second:await()
    return a and b, not a and a_err or not b and b_err or nil, runs
  end

  it("tells who was slower than others", function()
    local ok, err, runs = collide({ isolation = "serializable" }, returned)
    assert.is_falsy(ok)
    assert.equal("40001", err.code)
    assert.equal(2, runs)
  end)

  it("begins again where that is wanted", function()
    for _, give in ipairs { checked, returned } do
      local ok, err, runs = collide({ isolation = "serializable", retries = 5 }, give)
      assert.is_truthy(ok, tostring(err))
      assert.is_true(runs > 2)
    end
  end)

  it("says that it was not committed when the connection is lost", function()
    local ok, err = db:transaction(function(tx)
      assert(set(tx, 1, 0))
      assert(db:query("select pg_terminate_backend($1)",
        assert(tx:query "select pg_backend_pid() as pid")[1].pid))
      return set(tx, 2, 0)
    end)
    assert.is_nil(ok)
    assert.equal("disconnected", err.code)
    assert.equal(100, amount(1))
  end)

  it("ends when the server goes without having read all of a query", function()
    local ok, err
    assert(db:transaction(function(tx)
      assert(tx:query "lock table accounts")
      local run = app.spawn(function() -- which the server parses, and does not get further
        return db:query("select count(*), $1::text from accounts", ("x"):rep(60000))
      end)
      local pid
      eventually("a query that waits", function()
        local rows = assert(tx:query "select pid from pg_locks where not granted")
        pid = rows[1] and rows[1].pid
        return pid
      end)
      assert(tx:query("select pg_terminate_backend($1)", pid))
      ok, err = run:await(20)
      return true
    end))
    assert.is_nil(ok)
    assert.equal("disconnected", err.code)
  end)

  it("says that it is not known when the connection is lost in a commit", function()
    assert(db:execute [[
      create or replace function slow() returns trigger language plpgsql as
        'begin perform pg_sleep(60); return null; end';
      create constraint trigger slow after update on accounts deferrable initially deferred
        for each row execute function slow()]])
    local other = app.spawn(function()
      local pid
      eventually("the commit", function()
        local rows = assert(db:query [[select pid from pg_stat_activity
          where state = 'active' and query = 'commit']])
        pid = rows[1] and rows[1].pid
        return pid
      end)
      assert(db:query("select pg_terminate_backend($1)", pid))
    end)
    local ok, err = db:transaction(function(tx) return set(tx, 1, 0) end)
    assert.is_nil(ok)
    assert.is_true(err.in_doubt)
    assert.matches("not known", err.message)
    other:await()
    assert(db:execute "drop trigger slow on accounts")
  end)
end)
