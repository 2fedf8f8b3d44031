-- What other clients NOTIFY.
local clean_loop = require "spec.support.clean_loop"
local eventually = require "spec.support.eventually"
local own = require "spec.support.own"
local postgres = require "spec.support.postgres"
local testing = require "lunats.testing"

local pg = postgres.pg

describe("db:listen", function()
  local server, db
  if not postgres.each(function(...) server, db = ... end) then return end

  local function notify(channel, payload)
    assert(db:query("select pg_notify($1, $2)", channel, payload))
  end

  ---Listens, and waits until the server has begun.
  local function listen(channel, fn)
    local ready = false
    local listener = db:listen(channel, { on_listen = function() ready = true end }, fn)
    eventually("the server to listen", function() return ready end)
    return listener
  end

  it("calls its function for each notification, in order", function()
    local notes = {}
    listen("orders", function(note) notes[#notes + 1] = note end)
    for i = 1, 100 do notify("orders", tostring(i)) end
    eventually("all", function() return #notes == 100 end)
    for i = 1, 100 do assert.equal(tostring(i), notes[i].payload) end
    assert.equal("orders", notes[1].channel)
    assert.equal("integer", math.type(notes[1].pid))
  end)

  it("takes any name, and a payload that is empty or large", function()
    local name = 'Odd "name"; drop'
    local notes = {}
    listen(name, function(note) notes[#notes + 1] = note end)
    notify(name, "")
    notify(name, ("x"):rep(7999))
    eventually("both", function() return #notes == 2 end)
    assert.equal(name, notes[1].channel)
    assert.equal("", notes[1].payload)
    assert.equal(7999, #notes[2].payload)
    for _, wrong in ipairs { "", ("x"):rep(64), "a\0" } do
      assert.error_matches(function() db:listen(wrong, print) end, "a name of 1 to 63 bytes")
    end
  end)

  it("calls several functions, for one channel and for others", function()
    local a, b, c = 0, 0, 0
    listen("one", function() a = a + 1 end)
    listen("one", function() b = b + 1 end)
    listen("two", function() c = c + 1 end)
    notify("one", "")
    notify("two", "")
    eventually("all", function() return a == 1 and b == 1 and c == 1 end)
  end)

  it("calls one function after the other, and goes on after an error", function()
    clean_loop.expected_errors(1)
    local inside, most, done = 0, 0, {}
    listen("slow", function(note)
      inside = inside + 1
      most = math.max(most, inside)
      app.sleep(0.005)
      inside = inside - 1
      done[#done + 1] = note.payload
      if note.payload == "2" then error "on purpose" end
    end)
    for i = 1, 5 do notify("slow", tostring(i)) end
    eventually("all", function() return #done == 5 end)
    assert.same({ "1", "2", "3", "4", "5" }, done)
    assert.equal(1, most)
    assert.matches("PostgreSQL channel slow: .*on purpose", testing.errors()[1])
  end)

  it("is called no more when it was stopped", function()
    local a, b = 0, 0
    local first = listen("stop", function() a = a + 1 end)
    listen("stop", function() b = b + 1 end)
    notify("stop", "")
    eventually("both", function() return a == 1 and b == 1 end)
    first:stop()
    first:stop()
    notify("stop", "")
    eventually("the other one", function() return b == 2 end)
    assert.equal(1, a)
    local again = 0
    listen("stop", function() again = again + 1 end)
    notify("stop", "")
    eventually("the new one", function() return again == 1 end)
  end)

  it("gives its connection back when nobody listens any more", function()
    local other = pg.pool { dsn = server.dsn }
    own.keep { stop = function() other:close() end }
    local listener = listen("alone", print)
    local function sessions()
      return #assert(other:query [[select 1 from pg_stat_activity
        where backend_type = 'client backend' and pid <> pg_backend_pid()]])
    end
    eventually("the end of what tests before had", function() return sessions() == 1 end)
    listener:stop()
    eventually("its end", function() return sessions() == 0 end)
    listen("alone", print)
    assert.equal(1, sessions())
  end)

  it("does not need a connection that queries could have", function()
    local small = pg.pool { dsn = server.dsn, max = 1 }
    own.keep { stop = function() small:close() end }
    local heard = false
    small:listen("small", { on_listen = function() heard = true end }, print)
    eventually("it", function() return heard end)
    assert(small:query "select 1")
  end)

  it("comes again with the server, and says when", function()
    local svc = own.start(([[
      local db = require "lunats.pg".pool { dsn = %q }
      local begun, notes = 0, {}
      db:listen("again", { on_listen = function() begun = begun + 1 end }, function(note)
        notes[#notes + 1] = note.payload
      end)
      app.listen("ask", function() return { begun = begun, notes = app.json.array(notes) } end)
    ]]):format(server.dsn))
    local function ask() return assert(svc:request("ask", nil, { timeout = 20 })).data end
    eventually("the first time", function() return ask().begun == 1 end)
    notify("again", "before")
    eventually("it", function() return ask().notes[1] == "before" end)
    server:kill()
    eventually("the word", function() return #svc:logs "not listening" == 1 end)
    server:start()
    eventually("the second time", function() return ask().begun == 2 end)
    assert.equal(1, #svc:logs "listening again")
    notify("again", "after")
    eventually("it", function() return ask().notes[2] == "after" end)
  end)

  it("ends with its service, and with its version", function()
    local source = ([[
      local db = require "lunats.pg".pool { dsn = %q }
      local begun = false
      db:listen("life", { on_listen = function() begun = true end }, function(note)
        app.publish("heard.VERSION." .. note.payload, "")
      end)
      app.listen("begun", function() return begun end)
    ]]):format(server.dsn)
    local svc = testing.start((source:gsub("VERSION", "old")))
    local function begun()
      return eventually("it", function() return assert(svc:request "begun").data end)
    end
    begun()
    notify("life", "1")
    svc:expect "heard.old.1"
    svc:reload((source:gsub("VERSION", "new")))
    begun()
    eventually("one that listens", function()
      return #assert(db:query "select 1 from pg_stat_activity where query ~ '^listen'") == 1
    end)
    notify("life", "2")
    svc:expect "heard.new.2"
    svc:stop()
    eventually("nobody", function()
      return #assert(db:query "select 1 from pg_stat_activity where query ~ '^listen'") == 0
    end)
  end)
end)
