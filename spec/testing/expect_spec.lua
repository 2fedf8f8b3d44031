-- What svc:expect() says when its message does not come.
local eventually = require "spec.support.eventually"
local testing = require "lunats.testing"

describe("svc:expect", function()
  local svc

  after_each(function() svc:stop() end)

  local function failure(pattern, opts)
    opts = opts or {}
    opts.timeout = opts.timeout or 0.05
    local ok, err = pcall(svc.expect, svc, pattern, opts)
    assert.is_false(ok)
    return tostring(err)
  end

  ---A service that has sent these, in their order.
  local function sending(...)
    svc = testing.start [[
      app.listen("go", function(msg) app.publish(msg.data[1], msg.data[2]) end)
    ]]
    for _, one in ipairs { ... } do svc:publish("go", one) end
    if select("#", ...) > 0 then svc:expect(select(select("#", ...), ...)[1]) end
  end

  it("says that nothing came", function()
    sending()
    assert.matches("no message on orders.created came within 0.05 s:\n"
      .. "the service has sent nothing since it started$", failure "orders.created")
  end)

  it("shows what came instead", function()
    sending({ "orders.craeted", { id = 7 } }, { "metrics", "1" }, { "audit", "" })
    assert.matches("came within 0.05 s:\nsince it started the service has sent\n"
      .. '  orders.craeted {"id":7}\n  metrics 1\n  audit (empty)',
      failure "orders.created", 1, true)
  end)

  it("shows what was returned before, and what 'where' has refused", function()
    sending({ "orders.created", { id = 7 } }, { "orders.created", { id = 8 } },
      { "last", "x" })
    assert.equal(7, svc:expect "orders.created".data.id)
    assert.matches('  orders.created {"id":7} (returned before)\n'
      .. '  orders.created {"id":8} (refused by \'where\')\n', failure("orders.created",
      { where = function(msg) return msg.data.id == 9 end }), 1, true)
  end)

  it("shows the five that are nearest, and how many there are", function()
    local list = {}
    for i = 1, 20 do list[i] = { "noise." .. i, i } end
    list[3] = { "orders.craeted", "early" }
    sending(table.unpack(list))
    assert.matches("has sent\n  orders.craeted early\n  noise.17 17\n  noise.18 18\n"
      .. "  noise.19 19\n  noise.20 20\n  and 15 more", failure "orders.created", 1, true)
  end)

  it("shows the beginning of what is long, and bytes that are no text", function()
    svc = testing.start [[
      app.listen("go", function()
        app.publish("a", ("x"):rep(5000))
        app.publish("b", "one\ntwo\0\xff ü")
      end)
    ]]
    svc:publish "go"
    svc:expect "b"
    local text = failure "c"
    assert.matches("  a " .. ("x"):rep(200) .. "... (5000 bytes)\n", text, 1, true)
    assert.matches("  b one\\x0Atwo\\x00\\xFF ü", text, 1, true)
  end)

  it("says that the spec itself has sent it", function()
    sending()
    svc:publish("orders.created", "x")
    assert.matches("the spec itself has sent to 'orders.created': svc:expect waits for what "
      .. "the service sends", failure "orders.>", 1, true)
  end)

  it("says that a subject is not captured", function()
    sending()
    for _, pattern in ipairs { "$JS.API.>", "_INBOX.>", "lunats.events.>" } do
      assert.matches("is its own traffic and not captured", failure(pattern), 1, true)
    end
  end)

  it("says that the clock stands still", function()
    svc = testing.start('app.timer(60, { delay = 60 }, function() app.publish("tick") end)\n',
      { clock = "manual" })
    assert.matches("svc:advance() lets timers and sleeps go on", failure "tick", 1, true)
    svc:advance(60)
    svc:expect "tick"
  end)

  it("says what the service has failed with", function()
    svc = testing.start 'app.listen("go", function() error "ouch" end)\n'
    svc:publish "go"
    eventually("the error", function()
      return failure("done"):find "ouch\nstack traceback:.*the service has sent nothing"
    end)
    svc:errors()
  end)

  it("says so when the service has ended", function()
    svc = testing.start [[
      app.listen("go", function() app.publish("last", "words") os.exit(0) end)
    ]]
    svc:publish "go"
    local text = failure("done", { timeout = 5 })
    assert.matches("came: the service has ended\n", text, 1, true)
    assert.matches("  last words", text, 1, true)
  end)

  it("refuses what is no subject at once", function()
    sending()
    for _, wrong in ipairs { "orders created", "orders.", "", 7 } do
      assert.matches(("svc:expect: '%s' is no subject"):format(wrong),
        failure(wrong, { timeout = 60 }), 1, true)
    end
  end)
end)
