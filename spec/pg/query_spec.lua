-- Queries, what goes wrong with them, and what becomes of those that nobody waits for any more.
local eventually = require "spec.support.eventually"
local postgres = require "spec.support.postgres"
local process = require "spec.support.process"
local unique = require "spec.support.unique"

local server, db
if not postgres.each(function(...) server, db = ... end) then return end

---What the server does just now that looks like this.
local function active(pattern)
  local rows = assert(db:query("select pid from pg_stat_activity "
    .. "where state = 'active' and query ~ $1 and pid <> pg_backend_pid()", pattern))
  return #rows
end

describe("db:query", function()
  it("returns the rows, and what else there is to say", function()
    local rows, info = assert(db:query "select n, n * n as square from generate_series(1, 3) n")
    assert.same({ { n = 1, square = 1 }, { n = 2, square = 4 }, { n = 3, square = 9 } }, rows)
    assert.same({ command = "SELECT", affected = 3, columns = { "n", "square" } }, info)
  end)

  -- libpq reads some at once, and the server sends eight kilobytes at a time.
  it("reads answers that come at once, and in pieces", function()
    for _, count in ipairs { 0, 1, 50, 100, 150, 200, 300, 400, 1000, 20000 } do
      local rows, info = assert(db:query("select n, repeat('x', 30) as text, "
        .. "case when n % 2 = 0 then '' end as even from generate_series(1, $1) n", count))
      assert.equal(count, #rows)
      assert.equal(count, info.affected)
      for n, row in ipairs(rows) do
        if row.n ~= n or #row.text ~= 30 or row.even ~= (n % 2 == 0 and "" or nil) then
          assert.same({ n = n, text = ("x"):rep(30), even = n % 2 == 0 and "" or nil }, row)
        end
      end
    end
  end)

  it("has as many columns as there are", function()
    local list = {}
    for i = 1, 200 do list[i] = ("%d as c%d"):format(i, i) end
    local rows, info = assert(db:query("select " .. table.concat(list, ", ")
      .. " from generate_series(1, 2)"))
    assert.equal(200, #info.columns)
    for i = 1, 200 do assert.equal(i, rows[2]["c" .. i]) end
  end)

  it("says how many rows were changed", function()
    assert(db:transaction(function(tx)
      local rows, info = assert(tx:query "create temporary table changed (n int)")
      assert.same({}, rows)
      assert.same({ command = "CREATE TABLE" }, info)
      info = select(2, assert(tx:query "insert into changed values (1), (2)"))
      assert.same({ command = "INSERT", affected = 2 }, info)
      rows, info = assert(tx:query("delete from changed where n > $1 returning n", 1))
      assert.same({ { n = 2 } }, rows)
      assert.same({ command = "DELETE", affected = 1, columns = { "n" } }, info)
      info = select(2, assert(tx:query "update changed set n = 3 where n = 99"))
      assert.equal(0, info.affected)
      return true
    end))
  end)

  it("has columns of a result without rows", function()
    local rows, info = assert(db:query "select 1 as a, 2 as b where false")
    assert.same({}, rows)
    assert.same({ "a", "b" }, info.columns)
    assert.equal("[]", app.json.encode(rows))
    assert.same({}, (assert(db:query "")))
  end)

  it("does no more than one statement", function()
    local rows, err = db:query "select 1; select 2"
    assert.is_nil(rows)
    assert.equal("42601", err.code)
  end)

  it("says what PostgreSQL says of a mistake", function()
    assert(db:execute [[
      create table orders (id int primary key,
        amount int constraint positive check (amount > 0));
      insert into orders values (1, 1)]])
    local rows, err = db:query "select * from order"
    assert.is_nil(rows)
    assert.equal("42601", err.code)
    assert.equal("42601", err.sqlstate)
    assert.equal(15, err.position)
    assert.equal('syntax error at or near "order"', err.message)
    err = select(2, db:query "insert into orders values (1, 5)")
    assert.equal("23505", err.code)
    assert.equal("orders_pkey", err.constraint)
    assert.equal("orders", err.table)
    assert.equal("public", err.schema)
    assert.equal("Key (id)=(1) already exists.", err.detail)
    err = select(2, db:query "insert into orders values (2, 0)")
    assert.equal("23514", err.code)
    assert.equal("positive", err.constraint)
    err = select(2, db:query "select amuont from orders")
    assert.equal("42703", err.code)
    assert.matches("amount", err.hint)
    err = select(2, db:query("select $1::int", "many"))
    assert.equal("22P02", err.code)
    assert.matches("many", err.message)
    assert.equal(1, #assert(db:query "select * from orders"))
    assert.equal(1, db:stats().size)
    assert(db:query "drop table orders")
  end)

  it("keeps rows that came before the mistake to itself", function()
    local rows, err = db:query "select 10 / (5 - n) from generate_series(1, 9) n"
    assert.is_nil(rows)
    assert.equal("22012", err.code)
    assert.same({ { n = 1 } }, (assert(db:query "select 1 n")))
  end)

  it("refuses what would outlive it", function()
    local rows, err = db:query "begin"
    assert.is_nil(rows)
    assert.matches("use db:transaction", err.message)
    assert.equal("0A000", select(2, db:query "copy pg_class to stdout").code)
    assert.equal("0A000", select(2, db:execute "copy pg_class to stdout").code)
    assert.same({ { n = 1 } }, (assert(db:query "select 1 n")))
  end)

  it("reads results that are larger than any buffer", function()
    local rows = assert(db:query
      "select n, repeat('x', 100) t from generate_series(1, 20000) n")
    assert.equal(20000, #rows)
    for i = 1, #rows do assert(rows[i].n == i and #rows[i].t == 100) end
    rows = assert(db:query "select repeat('x', 20000000) t")
    assert.equal(20000000, #rows[1].t)
  end)

  it("sends what is larger than any buffer", function()
    local text = ("0123456789"):rep(1000000)
    assert.equal(#text, assert(db:query("select length($1) n", text))[1].n)
  end)

  it("has one connection for many fibers that ask one after the other", function()
    for i = 1, 50 do assert.equal(i, assert(db:query("select $1::int n", i))[1].n) end
    assert.equal(1, db:stats().size)
  end)

  it("gives each of many fibers what it has asked for", function()
    local fibers = {}
    for i = 1, 200 do
      fibers[i] = app.spawn(function()
        local rows = assert(db:query("select $1::int n, pg_sleep(random() * 0.002)::text s", i))
        return rows[1].n
      end)
    end
    for i = 1, 200 do assert.equal(i, fibers[i]:await()) end
    assert.is_true(db:stats().size <= 8)
  end)

  it("ends after its time, on the server as well", function()
    assert(db:query "select 1") -- so that it has a connection
    local rows, err = db:query("select pg_sleep(60)", { timeout = 0.2 })
    assert.is_nil(rows)
    assert.equal("timeout", err.code)
    assert.matches("cancelled", err.message)
    eventually("the end of the query", function() return active "^select pg_sleep" == 0 end)
    err = select(2, db:query("select pg_sleep($1)", 60, { timeout = 0.2 }))
    assert.equal("timeout", err.code)
    assert.error_matches(function() db:query("select 1", { timout = 1 }) end, "timeout")
  end)

  it("ends with its fiber, on the server as well", function()
    local fiber = app.spawn(function() db:query "select pg_sleep(61)" end)
    eventually("the query", function() return active "pg_sleep.61" == 1 end)
    fiber:cancel()
    eventually("the end of the query", function() return active "pg_sleep.61" == 0 end)
    eventually("one connection", function() return db:stats().size == 1 end)
  end)

  it("ends with app.timeout", function()
    local ok, err = pcall(function()
      return select(2, app.timeout(0.1, db.query, db, "select pg_sleep(62)"))
    end)
    assert.is_truthy(ok and err or err)
    eventually("the end of the query", function() return active "pg_sleep.62" == 0 end)
  end)

  it("says in which places it cannot wait", function()
    assert.error_matches(function()
      string.gsub("x", "x", function() db:query "select 1" end)
    end, "cannot wait here")
    assert(db:query "select 1")
    assert.error_matches(function()
      string.gsub("x", "x", function() db:query "select 1" end)
    end, "cannot wait here")
    assert.equal(1, db:stats().idle)
  end)

  it("says how it wants to be called", function()
    assert.error_matches(function() db:query() end, "^db:query: the statement")
    assert.error_matches(function() db:query(1) end, "^db:query: the statement")
    assert.error_matches(function() db.query "select 1" end, "db")
    assert.equal("22021", select(2, db:query "select 1\0").code)
  end)
end)

describe("db:execute", function()
  it("does several statements, all or none", function()
    assert.is_true(db:execute "create table many (n int); insert into many values (1)")
    local ok, err = db:execute "insert into many values (2); insert into many values ('x')"
    assert.is_nil(ok)
    assert.equal("22P02", err.code)
    assert.same({ { n = 1 } }, (assert(db:query "select n from many")))
    assert.is_true(db:execute "drop table many")
  end)

  it("takes a time", function()
    local ok, err = db:execute("select pg_sleep(60)", { timeout = 0.1 })
    assert.is_nil(ok)
    assert.equal("timeout", err.code)
  end)
end)

describe("what a query returns", function()
  it("counts in the memory of the service", function()
    local prefix = unique "pg"
    local child = process.run(([[
      local db = require "lunats.pg".pool { dsn = %q }
      app.listen("%s.ask", { data_type = "string" }, function(msg)
        local rows, err = db:query(msg.data)
        return rows and #rows or { err.code, err.message }
      end)
    ]]):format(server.dsn, prefix), { "--errors", "full", "--memory", "30M" })
    child:expect "started"
    local function ask(sql)
      local reply, err = app.request(prefix .. ".ask", sql, { timeout = 60 })
      return reply and reply.data, err
    end
    assert.equal(1, ask "select 1")
    -- Many rows are tables of Lua.
    local data, err = ask "select repeat('x', 1000) from generate_series(1, 40000)"
    assert.is_nil(data)
    assert.matches("not enough memory", err.message)
    -- One row is a buffer of libpq before it is a value; it may have come all at once.
    data, err = ask "select repeat('x', 60000000)"
    assert.matches("memory", data and data[2] or err.message)
    assert.equal("disconnected", data and data[1] or "disconnected")
    assert.equal(1, ask "select 1")
    assert.equal(0, child:stop())
  end)
end)
