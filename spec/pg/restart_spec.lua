-- A server that goes and comes again while many ask it.
local eventually = require "spec.support.eventually"
local own = require "spec.support.own"
local postgres = require "spec.support.postgres"
local testing = require "lunats.testing"

---Twenty fibers write numbers, each of them until it is there, and one listens. That none of
---four connections was free for a second is nothing odd on a busy machine.
local SERVICE = [[
  local db = require "lunats.pg".pool { dsn = %q, max = 4, wait = 1 }
  local next_number, done, odd, heard, begun, stop = 0, 0, {}, {}, 0, false
  local lost = 0

  db:listen("written", { on_listen = function() begun = begun + 1 end }, function(note)
    heard[note.payload] = true
  end)

  local function write(n)
    repeat
      local rows, err = db:query("with new as (insert into numbers values ($1) "
        .. "on conflict do nothing returning n) "
        .. "select pg_notify('written', n::text) from new", n)
      if not rows then lost = lost + 1 end
      if not rows and err.code ~= "disconnected" and err.code ~= "timeout" then
        odd[#odd + 1] = err.code .. ": " .. err.message
      end
    until rows
    done = done + 1
  end

  app.task(function()
    for _ = 1, 20 do
      app.spawn(function()
        while not stop do
          next_number = next_number + 1
          write(next_number)
        end
      end)
    end
  end)

  app.listen("stop", function() stop = true end)
  app.listen("ask", function()
    return { next = next_number, done = done, odd = app.json.array(odd), begun = begun,
      lost = lost, pool = db:stats() }
  end)
  app.listen("heard", { data_type = "string" }, function(msg)
    return heard[msg.data] == true
  end)
]]

describe("a PostgreSQL that is restarted under load", function()
  local server, db
  if not postgres.each(function(...) server, db = ... end) then return end

  it("loses nothing that it has acknowledged; pool and listener go on", function()
    assert(db:execute "create table numbers (n int primary key)")
    local svc = own.keep(testing.start(SERVICE:format(server.dsn)))
    local function ask() return assert(svc:request("ask", nil, { timeout = 20 })).data end
    for round = 1, 2 do
      eventually("the listener in round " .. round, function() return ask().begun >= round end)
      local before = ask().done
      eventually("some work", function() return ask().done > before + 50 end)
      server:kill()
      local lost = ask().lost
      eventually("the outage to be felt", function() return ask().lost > lost end)
      server:start()
    end
    local before = ask().done
    eventually("work afterwards", function() return ask().done > before + 50 end)
    svc:publish("stop", "")
    local last = eventually("the last of them", function()
      local now = ask()
      return now.done == now.next and now
    end)
    assert.same({}, last.odd)
    assert.equal(last.done, assert(db:query "select count(*) n from numbers")[1].n)
    assert.is_true(last.pool.size <= 4 and last.pool.idle == last.pool.size)
    assert.equal(0, last.pool.waiting)
    eventually("the listener", function() return ask().begun >= 3 end)
    assert(db:query "select pg_notify('written', 'afterwards')")
    eventually("what is notified afterwards", function()
      return assert(svc:request("heard", "afterwards")).data
    end)
    assert.is_true(#svc:logs "cannot be reached" >= 2)
    assert.is_true(#svc:logs "listening again" >= 2)
  end)
end)
