-- What users of NATS do with their own tools, and find where they look for it.
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

describe("who knows NATS", function()
  after_each(process.close_all)

  it("sees on lunats.events.> that services start, reload and stop", function()
    local name = unique "native"
    local seen = {}
    local listener = app.listen("lunats.events.>", { queue = false }, function(msg)
      local service, id, what = msg.subject:match "^lunats%.events%.([^.]+)%.([^.]+)%.([^.]+)$"
      if service ~= name then return end
      seen[#seen + 1] = what
      assert.same({ service = name, instance = id, version = "1.2.0" }, msg.data)
    end)
    finally(function() listener:stop() end)
    assert(app.flush())
    local child = process.run(([[
      app.config { name = %q, version = "1.2.0" }
      app.listen(%q, function() end)]]):format(name, name))
    eventually("its start", function() return #seen == 1 end)
    child:signal "HUP"
    eventually("its reload", function() return #seen == 2 end)
    assert.equal(0, child:stop())
    eventually("its stop", function() return #seen == 3 end)
    assert.same({ "started", "reloaded", "stopped" }, seen)
  end)

  it("calls an endpoint by the name and the subject that discovery gives it", function()
    local name = unique "native"
    local svc = testing.start(([[
      app.config { name = %q }
      app.listen("%s.all.>", { name = "watch", queue = false }, function() end)
      app.listen("%s.create", { name = "create" }, function(msg) return { got = msg.data } end)
    ]]):format(name, name, name))
    finally(function() svc:stop() end)
    local info = assert(app.request("$SRV.INFO." .. name, "{}",
      { headers = { ["Accept-Encoding"] = "snappy" } })).data
    local subject
    for _, endpoint in ipairs(info.endpoints) do
      subject = subject or endpoint.name == "create" and endpoint.subject
    end
    assert.equal(name .. ".create", subject)
    assert.same({ got = 7 }, assert(app.request(subject, 7)).data)
  end)
end)
