-- Who may look at a consumer, and may not ask it for messages.
local own = require "spec.support.own"
local testing = require "lunats.testing"

describe("Without permission to ask a consumer for messages", function()
  local broker

  setup(function()
    broker = testing.broker { config = [[
      authorization { users = [ { user: all, password: x }, { user: some, password: x,
        permissions: { publish: { deny: ["$JS.API.CONSUMER.MSG.NEXT.S.c"] } } } ] }
    ]] }
    local all = assert(app.connect { server = broker.url, user = "all", password = "x" })
    assert(all.js.add_stream { name = "S", subjects = { "s.>" }, storage = "memory" })
    for _, name in ipairs { "c", "d" } do
      assert(all.js.add_consumer { stream = "S", durable_name = name })
    end
    all.close()
  end)

  teardown(function() broker:stop() end)
  after_each(own.close)

  ---A service of the one who may not. What it says of its errs comes back.
  local function ask(source)
    local svc = own.start(([[
      local psub = app.js.pull_subscribe("s.>", { stream = "S", durable = "c" })
      local other = app.js.pull_subscribe("s.>", { stream = "S", durable = "d" })
      local function told(err) return { err.code, err.message } end
      app.listen("ask", function() %s end)
    ]]):format(source), { server = broker.url, user = "some", password = "x" })
    return assert(svc:request("ask", "", { timeout = 60 })).data, svc
  end

  local DENIED = "Publish to \"$JS.API.CONSUMER.MSG.NEXT.S.c\""

  local function denied(answer, svc)
    assert.equal("permission", answer[1])
    assert.truthy(answer[2]:find(DENIED, 1, true), answer[2])
    for _, line in ipairs(svc:errors()) do assert.truthy(line:find(DENIED, 1, true), line) end
  end

  it("a fetch ends with an err that names the subject, long before its time is up", function()
    denied(ask [[
      local list, err = psub:fetch(1, { timeout = 1000 })
      assert(list == nil)
      return told(err)
    ]])
  end)

  it("a consume ends, and on_error is told", function()
    denied(ask [[
      local seen
      local handle = psub:consume({ on_error = function(err) seen = err end }, print)
      while not seen do app.sleep(0.01) end
      assert(handle.error == seen)
      return told(seen)
    ]])
  end)

  it("a consume without on_error ends with an error in the log", function()
    local answer, svc = ask [[
      local handle = psub:consume(print)
      while not handle.error do app.sleep(0.01) end
      return told(handle.error)
    ]]
    assert.equal("permission", answer[1])
    local ended = 0
    for _, line in ipairs(svc:errors()) do
      if line:find "psub:consume has ended: " then ended = ended + 1 end
      assert.truthy(line:find(DENIED, 1, true), line)
    end
    assert.equal(1, ended)
  end)

  it("who is told may end all others that are told", function()
    denied(ask [[
      local seen
      local handles = {}
      for i = 1, 5 do
        local reader = app.js.pull_subscribe("s.>", { stream = "S", durable = "c" })
        handles[i] = reader:consume({ on_error = function(err)
          seen = seen or err
          for k, handle in ipairs(handles) do
            if k ~= i then handle:stop() end
          end
        end }, print)
      end
      for _, handle in ipairs(handles) do handle:closed(30) end
      while not seen do app.sleep(0.01) end
      return told(seen)
    ]])
  end)

  it("others go on", function()
    local answer, svc = ask [[
      local seen
      local handle = other:consume(function() seen = true end)
      assert(select(2, psub:fetch(1, { timeout = 1000 })).code == "permission")
      assert(app.js.publish("s.a", 1))
      while not seen do app.sleep(0.01) end
      handle:stop()
      return { "permission", select(2, psub:fetch(1, { timeout = 1000 })).message }
    ]]
    denied(answer, svc)
  end)
end)
