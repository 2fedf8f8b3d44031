-- Pools: how many connections there are, and what becomes of them.
local eventually = require "spec.support.eventually"
local own = require "spec.support.own"
local postgres = require "spec.support.postgres"
local testing = require "lunats.testing"

local pg = postgres.pg

local server
if not postgres.each(function(...) server = ... end) then return end

---Ended with the test.
local function pool(opts)
  local db = pg.pool(opts)
  own.keep { stop = function() db:close() end }
  return db
end

---How many connections the server has by that name.
local function connections(name)
  local db <close> = setmetatable({ pool = pg.pool { dsn = server.dsn } },
    { __close = function(self) self.pool:close() end })
  return #assert(db.pool:query("select 1 from pg_stat_activity where application_name = $1",
    name))
end

local function named(name) return server.dsn .. "?application_name=" .. name end

describe("pg.pool", function()
  it("has no connection before the first query, and no more than it may", function()
    local db = pool { dsn = named "few", max = 3 }
    assert.same({ size = 0, idle = 0, waiting = 0, max = 3 }, db:stats())
    local fibers = {}
    for i = 1, 20 do
      fibers[i] = app.spawn(function() return db:query "select pg_sleep(0.01)" end)
    end
    eventually("all three", function() return db:stats().size == 3 end)
    for i = 1, 20 do assert(fibers[i]:await()) end
    assert.equal(3, connections "few")
    assert.same({ size = 3, idle = 3, waiting = 0, max = 3 }, db:stats())
  end)

  it("tells the server the name of the service", function()
    local db = pool { dsn = server.dsn }
    assert.equal(app.name, assert(db:query "show application_name")[1].application_name)
  end)

  it("takes what libpq takes as a place", function()
    local by_name = server.dsn:gsub("127.0.0.1", "localhost")
    local second = server.dsn:gsub("@", "@127.0.0.1:1,")
    for _, dsn in ipairs { server.socket_dsn, server.dsn, by_name, second } do
      local db = pool { dsn = dsn }
      assert.equal(1, assert(db:query "select 1 as n")[1].n, dsn)
    end
  end)

  it("serves those that wait in their order", function()
    local db = pool { dsn = server.dsn, max = 1 }
    local order, fibers = {}, {}
    for i = 1, 10 do
      fibers[i] = app.spawn(function()
        assert(db:query "select 1")
        order[#order + 1] = i
      end)
    end
    for i = 1, 10 do fibers[i]:await() end
    assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, order)
  end)

  it("lets nobody wait for ever", function()
    local db = pool { dsn = server.dsn, max = 1, wait = 0.1 }
    eventually("a connection", function() return db:query "select 1" end)
    assert(db:transaction(function()
      local rows, err = db:query "select 1"
      assert.is_nil(rows)
      assert.equal("timeout", err.code)
      assert.matches("no connection to PostgreSQL was free within 0.1 s %(max = 1%)",
        err.message)
      return true
    end))
    assert(db:query "select 1")
  end)

  it("forgets who has gone before it was served", function()
    local db = pool { dsn = server.dsn, max = 1 }
    assert(db:transaction(function()
      local waiting = app.spawn(function() return db:query "select 1" end)
      eventually("it to wait", function() return db:stats().waiting == 1 end)
      waiting:cancel()
      eventually("its end", function() return db:stats().waiting == 0 end)
      return true
    end))
    assert(db:query "select 1")
    assert.same({ size = 1, idle = 1, waiting = 0, max = 1 }, db:stats())
  end)

  it("has its connections back however queries end", function()
    local db = pool { dsn = server.dsn, max = 1 }
    local back, gone = { size = 1, idle = 1, waiting = 0, max = 1 },
      { size = 0, idle = 0, waiting = 0, max = 1 }
    for _ = 1, 2 do
      assert(db:query "select 1")
      assert.same(back, db:stats())
      assert.error_matches(function() db:query("select $1", print) end,
        "parameter %$1 is a function")
      assert.same(back, db:stats())
      assert.equal("22021", select(2, db:query("select $1", "\0")).code)
      assert.equal("42601", select(2, db:query "selekt").code)
      assert.equal("25001", select(2, db:query "begin").code)
      assert.same(gone, db:stats())
      assert(db:query "select 1")
      local _, err = db:query("select pg_sleep(60)", { timeout = 0.1 })
      assert.equal("timeout", err.code)
      assert.same(gone, db:stats())
    end
  end)

  it("serves who waits when the query before ends with its fiber", function()
    local db = pool { dsn = server.dsn, max = 1 }
    assert(db:query "select 1")
    local first = app.spawn(function() return db:query "select pg_sleep(60)" end)
    eventually("the query", function() return db:stats().idle == 0 end)
    local second = app.spawn(function() return db:query "select 2 as n" end)
    eventually("it to wait", function() return db:stats().waiting == 1 end)
    first:cancel()
    assert.same({ { n = 2 } }, (assert(second:await())))
    assert.same({ size = 1, idle = 1, waiting = 0, max = 1 }, db:stats())
  end)

  it("ends a connection behind its query when it was closed meanwhile", function()
    local db = pg.pool { dsn = named "late", max = 2 }
    assert(db:query "select 1")
    local fiber = app.spawn(function() return db:query "select pg_sleep(0.2), 3 as n" end)
    eventually("the query", function() return db:stats().idle == 0 end)
    db:close()
    assert.equal(3, assert(fiber:await())[1].n)
    assert.same({ size = 0, idle = 0, waiting = 0, max = 2 }, db:stats())
    eventually("the server", function() return connections "late" == 0 end)
  end)

  it("ends connections that nobody uses", function()
    local db = pool { dsn = named "idle", idle = 0.1 }
    assert(db:query "select 1")
    eventually("the end of it", function() return db:stats().size == 0 end)
    eventually("the server", function() return connections "idle" == 0 end)
    assert(db:query "select 1")
  end)

  it("does not keep the buffers of what was large", function()
    local db = pool { dsn = server.dsn }
    assert(db:query "select repeat('x', 10000000)")
    assert.equal(0, db:stats().size)
    assert(db:query("select length($1)", ("x"):rep(10000000)))
    assert.equal(0, db:stats().size)
    assert(db:query "select 1")
    assert.equal(1, db:stats().size)
  end)

  it("takes another connection for one that has ended meanwhile", function()
    local db = pool { dsn = named "gone" }
    assert(db:query "select 1")
    local other = pool { dsn = server.dsn }
    assert(other:query [[select pg_terminate_backend(pid) from pg_stat_activity
      where application_name = 'gone']])
    eventually("it to notice", function() return db:stats().size == 0 end)
    assert(db:query "select 1")
  end)

  it("survives a server that goes and comes again", function()
    local svc = own.start(([[
      local db = require "lunats.pg".pool { dsn = %q, wait = 0.5 }
      app.listen("ask", function()
        local rows, err = db:query "select 1 n"
        return rows or { code = err.code, message = err.message }
      end)
    ]]):format(server.dsn))
    eventually("a connection", function() return assert(svc:request "ask").data[1] end)
    assert.same({ { n = 1 } }, assert(svc:request "ask").data)
    server:kill()
    eventually("an outage", function()
      local data = assert(svc:request("ask", nil, { timeout = 20 })).data
      return data.code == "disconnected" and data.message:find "cannot be reached"
    end)
    server:start()
    eventually("its end", function()
      return assert(svc:request("ask", nil, { timeout = 20 })).data[1]
    end)
    assert.equal(1, #svc:logs "cannot be reached")
    eventually("the word", function() return #svc:logs "is there again" == 1 end)
  end)

  it("gives up where waiting does not help", function()
    local db = pool { dsn = server.dsn:gsub("/postgres$", "/nothing") }
    local rows, err = db:query "select 1"
    assert.is_nil(rows)
    assert.equal("3D000", err.code)
    assert.matches('database "nothing" does not exist', err.message)
    db = pool { dsn = server.dsn:gsub("lunats@", "nobody_at_all@") }
    rows, err = db:query "select 1"
    assert.is_nil(rows)
    assert.equal("28000", err.code)
  end)

  it("says what cannot be reached", function()
    local db = pool { dsn = "host=127.0.0.1 port=1 dbname=x user=y", wait = 0.3 }
    local rows, err = db:query "select 1"
    assert.is_nil(rows)
    assert.equal("disconnected", err.code)
    assert.matches("127.0.0.1/x cannot be reached: .*refused", err.message)
    db = pool { dsn = "host=no.such.host.invalid dbname=x user=y", wait = 0.3 }
    err = select(2, db:query "select 1")
    assert.matches("the name no.such.host.invalid cannot be resolved", err.message)
  end)

  it("says how it wants to be made, without the secrets in it", function()
    local cases = {
      { { dsn = "postgres:/secret" }, "the dsn is neither" },
      { { dsn = 1 }, "dsn" },
      { { max = 0 }, "max" },
      { { max = 1.5 }, "max" },
      { { wait = -1 }, "wait" },
      { { numeric = "float" }, 'numeric must be "string" or "number"' },
      { { timestamps = "unix" }, 'timestamps must be "string" or "seconds"' },
      { { null = 0 }, "null can only be app.json.null" },
      { { maximum = 1 }, "unknown option 'maximum'" },
      { { dsn = "service=x" }, "a service file is not read" },
    }
    for _, case in ipairs(cases) do
      local ok, err = pcall(pg.pool, case[1])
      assert.is_false(ok)
      assert.matches(case[2], tostring(err))
      assert.is_nil(tostring(err):find "secret")
    end
    local db = pool { dsn = "postgresql://me:secret@127.0.0.1:1/x" }
    assert.equal("pool 127.0.0.1/x", tostring(db))
  end)

  it("is of no use when it was closed", function()
    local db = pg.pool { dsn = named "closed" }
    assert(db:transaction(function(tx)
      db:close()
      assert.equal("closed", select(2, db:query "select 1").code)
      assert(tx:query "select 1")
      return true
    end))
    assert.same({ size = 0, idle = 0, waiting = 0, max = 8 }, db:stats())
    eventually("the server", function() return connections "closed" == 0 end)
    db:close()
  end)

  it("tells who waits when it is closed", function()
    local db = pg.pool { dsn = server.dsn, max = 1 }
    local waiting
    assert(db:transaction(function()
      waiting = app.spawn(function() return db:query "select 1" end)
      eventually("it to wait", function() return db:stats().waiting == 1 end)
      db:close()
      return true
    end))
    local rows, err = waiting:await()
    assert.is_nil(rows)
    assert.equal("closed", err.code)
  end)
end)

describe("the connections of a service", function()
  local SERVICE = [[
    local db = require "lunats.pg".pool { dsn = %q }
    app.listen("ask", function() return (assert(db:query "select 1 n")) end)
    app.listen("slow", function() return (assert(db:query "select pg_sleep(0.5), 2 n")) end)
  ]]

  it("end with it", function()
    local svc = testing.start(SERVICE:format(named "stopped"))
    assert(svc:request "ask")
    assert.equal(1, connections "stopped")
    svc:stop()
    eventually("the server", function() return connections "stopped" == 0 end)
  end)

  it("end with its version, whose queries are done to the end", function()
    local svc = own.start(SERVICE:format(named "old"))
    assert(svc:request "ask")
    local slow = app.spawn(function() return svc:request("slow", nil, { timeout = 20 }) end)
    eventually("the query", function()
      return connections "old" == 1
    end)
    svc:reload(SERVICE:format(named "new"))
    assert.equal(2, assert(slow:await()).data[1].n)
    assert(svc:request "ask")
    eventually("the server", function() return connections "old" == 0 end)
    assert.equal(1, connections "new")
  end)

  it("are none with --libs safe", function()
    local svc = own.start([[
      app.listen("try", function()
        return { tostring(select(2, pcall(require, "lunats.pg"))) }
      end)
    ]], { libs = "safe" })
    assert.matches("no modules of lunats with %-%-libs safe", assert(svc:request "try").data[1])
  end)
end)

describe("a connection that is taken out of its pool", function()
  local SERIES <const> = "select repeat('x', 99) || n as s, n from generate_series(1, 60000) n"

  local function taken()
    local db = pool { dsn = server.dsn }
    assert(db:query "select 1")
    return db[1]:take()
  end

  ---Runs fn in a finalizer when Lua has asked for some megabytes.
  local function disturb(fn)
    local runs = 0
    local function finalize()
      runs = runs + 1
      if runs == 3 then fn() else setmetatable({}, { __gc = finalize }) end
    end
    collectgarbage()
    collectgarbage "generational"
    setmetatable({}, { __gc = finalize })
  end

  for _, how in ipairs { "close", "rest" } do
    it(("may be ended by its %s while its rows are read"):format(how), function()
      finally(function() collectgarbage "incremental" end)
      local conn, ended = taken(), false
      disturb(function()
        ended = true
        conn[how](conn, 1)
      end)
      local rows, err = conn:query(20, 0, SERIES)
      assert(rows and #rows == 60000 or err.code == "disconnected", tostring(err))
      assert.is_true(ended)
      eventually("its end", function() return not conn:alive() end)
      assert.equal("disconnected", select(2, conn:query(1, 0, "select 1")).code)
    end)
  end
end)
