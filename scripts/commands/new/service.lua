---`lunats new NAME`: a service that answers, and tells others.
return {
  { path = "NAME.lua", text = [[
-- @NAME@: one service. Run it with `lunats dev @NAME@.lua`, test it with `lunats test`.
app.config { name = "@NAME@", version = "0.1.0" }

local greeted = 0

-- A request on @NAME@.greet gets what the handler returns; `nil, error` is an error reply.
app.listen("@NAME@.greet", function(msg)
  local name = type(msg.data) == "table" and msg.data.name
  if type(name) ~= "string" then
    return nil, { code = 400, message = "the request needs a name" }
  end
  greeted = greeted + 1
  app.publish("@NAME@.greeted", { name = name })
  return { text = ("Hello, %s!"):format(name) }
end)

-- Once a minute others learn how busy we were.
app.timer(60, { delay = 60, name = "report" }, function()
  app.publish("@NAME@.report", { greeted = greeted })
  greeted = 0
end)
]] },
  { path = "spec/NAME_spec.lua", text = [[
local testing = require "lunats.testing"

describe("@NAME@", function()
  local svc

  before_each(function() svc = testing.start("@NAME@.lua", { clock = "manual" }) end)
  after_each(function() svc:stop() end)

  it("greets and tells others about it", function()
    local reply = assert(svc:request("@NAME@.greet", { name = "Ada" }))
    assert.equal("Hello, Ada!", reply.data.text)
    assert.equal("Ada", svc:expect("@NAME@.greeted").data.name)
  end)

  it("refuses requests without a name", function()
    local _, err = svc:request("@NAME@.greet", {})
    assert.equal(400, err.status)
  end)

  it("reports once a minute", function()
    assert(svc:request("@NAME@.greet", { name = "Ada" }))
    svc:advance(120)
    local reports = svc:calls("@NAME@.report")
    assert.same({ 1, 0 }, { reports[1].data.greeted, reports[2].data.greeted })
  end)
end)
]] },
  about = [[
A service for [NATS](https://nats.io), written in Lua for lunats.]],
  table = [[
| Subject | Message | |
| --- | --- | --- |
| `@NAME@.greet` | `{ "name": "Ada" }` | answers `{ "text": "Hello, Ada!" }` |
| `@NAME@.greeted` | `{ "name": "Ada" }` | sent for each greeting |
| `@NAME@.report` | `{ "greeted": 1 }` | sent once a minute |
]],
}
