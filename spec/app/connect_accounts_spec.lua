-- A service with two connections to one server, as two users.
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local testing = require "lunats.testing"

describe("app.connect", function()
  local svc

  after_each(function()
    if svc then svc:stop() end
    svc = nil
  end)

  it("bridges two accounts of one server", function()
    local broker = testing.broker { config = [[accounts {
      A { users: [ { user: a, password: a } ] }
      B { users: [ { user: b, password: b } ] }
    }]] }
    local b
    finally(function()
      svc:stop()
      svc = nil
      b.handle:close()
      broker:stop()
    end)
    local url = broker.url:gsub("//[^@/]*@", "//")
    b = assert(core.connect { servers = { url }, user = "b", password = "b" })
    svc = testing.start(([[
      app.on_start(function()
        local other = assert(app.connect { server = %q, user = "b", password = "b" })
        app.listen("ask.b", function(msg)
          return assert(other.request("answer", msg.raw)).raw
        end)
      end)]]):format(url), { server = url, user = "a", password = "a" })
    b.listen("answer", nil, function(msg) return "b says " .. msg.raw end)
    assert(b.flush())
    assert.equal("b says hi", assert(svc:request("ask.b", "hi")).raw)
  end)

  it("tells a refused subscription in the log, with the name of the connection", function()
    local broker = testing.broker { config = [[authorization { users: [
      { user: u, password: p, permissions: { subscribe: { deny: "closed.>" } } } ] }]] }
    finally(function()
      svc:stop()
      svc = nil
      broker:stop()
    end)
    svc = testing.start(([[
      app.on_start(function()
        local other = assert(app.connect { server = %q, user = "u", password = "p",
          name = "strict" })
        other.listen("closed.x", function() end)
      end)]]):format((broker.url:gsub("//[^@/]*@", "//"))))
    eventually("the line", function()
      return svc:logs("^connection strict: listener closed.x: .*Permissions Violation")[1]
    end)
  end)
end)
