-- msg.deadline: how long the sender of a request waits, in its handler and in what that asks.
local testing = require "lunats.testing"

describe("msg.deadline", function()
  local svc

  before_each(function() svc = nil end)
  after_each(function() if svc then svc:stop() end end)

  local SERVICE = [[
    local function left(msg) return { left = msg.deadline or false } end
    app.listen("deadline.left", left)
    app.listen("deadline.nested", function(msg)
      local reply = assert(app.request("deadline.left", "", { timeout = 60 }))
      return reply.data
    end)
    app.listen("deadline.spawned", function(msg)
      local fiber = app.spawn(app.request, "deadline.left", "", { timeout = 60 })
      return assert(fiber:await()).data
    end)
    app.listen("deadline.header", function(msg)
      return { text = msg:header "Request-Timeout-Ms" or "none" }
    end)
    local late
    app.listen("deadline.slow", function(msg)
      app.sleep(3)
      local reply, err = app.request("deadline.left", "")
      late = { left = msg.deadline, code = err and err.code, message = err and err.message }
    end)
    app.listen("deadline.late", function() return late or false end)
  ]]

  local function start() svc = testing.start(SERVICE, { clock = "manual" }) end

  local function ask(subject, opts) return assert(svc:request(subject, "", opts)).data end

  it("is nil where the sender has not said it", function()
    start()
    assert.is_false(ask("deadline.left").left)
    assert.is_false(ask("deadline.left", { timeout = 3, deadline = false }).left)
    assert.equal("none", ask("deadline.header").text)
  end)

  it("is the rest of the time-out of a request that says it", function()
    start()
    local left = ask("deadline.left", { timeout = 7, deadline = true }).left
    assert.is_true(left > 2 and left <= 7, left)
    assert.equal("7000", ask("deadline.header", { timeout = 7, deadline = true }).text)
  end)

  it("is passed on to what the handler asks, and what it spawns", function()
    start()
    for _, subject in ipairs { "deadline.nested", "deadline.spawned" } do
      local left = ask(subject, { timeout = 7, deadline = true }).left
      assert.is_true(left and left > 2 and left <= 7, tostring(left))
      assert.is_false(ask(subject).left)
    end
  end)

  it("is 0 when the sender has given up, and what is asked then fails at once", function()
    start()
    local fiber = app.spawn(svc.request, svc, "deadline.slow", "",
      { timeout = 2, deadline = true })
    while true do
      local late = ask "deadline.late"
      if late then
        assert.same({ 0, "timeout" }, { late.left, late.code })
        assert.matches("deadline.left: not sent, as the sender", late.message)
        break
      end
      svc:advance(1)
    end
    fiber:await()
  end)

  it("takes no nonsense", function()
    start()
    for _, text in ipairs { "x", "-1", "1e3", "7s", ("9"):rep(40) } do
      assert.is_false(ask("deadline.left",
        { headers = { ["Request-Timeout-Ms"] = text } }).left, text)
    end
    assert.equal(0, ask("deadline.left", { headers = { ["Request-Timeout-Ms"] = "0" } }).left)
  end)

  it("is not told to streams and to the server", function()
    start()
    assert(app.js.add_stream { name = "DEADLINE", subjects = { "deadline.stored" },
      storage = "memory" })
    finally(function() app.js.delete_stream "DEADLINE" end)
    local other = testing.start [[
      app.listen("deadline.publish", function()
        assert(app.js.publish("deadline.stored", "x", { timeout = 2 }))
        return app.js.get_msg("DEADLINE", { seq = 1 }).headers
      end)
    ]]
    finally(function()
      other:stop()
      app.js.delete_stream "DEADLINE"
    end)
    local headers = assert(other:request("deadline.publish", "", { deadline = true })).data
    assert.is_nil(headers["Request-Timeout-Ms"])
  end)

  it("refuses an option that is no boolean", function()
    local _, err = pcall(app.request, "deadline.x", "", { deadline = 3 })
    assert.matches("option 'deadline' must be a boolean", tostring(err))
  end)
end)
