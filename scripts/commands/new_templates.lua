---The files that `lunats new` writes. @NAME@ is the service, @TYPES@ where declarations are.
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
  { path = ".busted", text = [[
return {
  default = { ROOT = { "spec" }, verbose = true },
}
]] },
  { path = ".luacheckrc", text = [[
std = "lua54"
globals = { "app" }
files["spec"] = { std = "lua54+busted" }
]] },
  { path = ".luarc.json", text = [[
{
  "$schema": "https://raw.githubusercontent.com/LuaLS/vscode-lua/master/setting/schema.json",
  "runtime.version": "Lua 5.4",
  "workspace.library": ["@TYPES@", "${3rd}/busted/library", "${3rd}/luassert/library"],
  "workspace.checkThirdParty": false,
  "diagnostics.globals": ["app"]
}
]] },
  { path = ".gitignore", text = [[
luacov.*
*.jsonl
]] },
  { path = "README.md", text = [[
# @NAME@

A service for [NATS](https://nats.io), written in Lua for lunats.

    lunats dev @NAME@.lua        # run it with a private nats-server, reload when a file changes
    lunats test                  # run spec/; --watch runs it again when a file changes
    lunats check @NAME@.lua      # find mistakes without a server, list what it declares
    lunats run -s nats://127.0.0.1:4222 @NAME@.lua

| Subject | Message | |
| --- | --- | --- |
| `@NAME@.greet` | `{ "name": "Ada" }` | answers `{ "text": "Hello, Ada!" }` |
| `@NAME@.greeted` | `{ "name": "Ada" }` | sent for each greeting |
| `@NAME@.report` | `{ "greeted": 1 }` | sent once a minute |

`.luarc.json` tells the Lua language server where the declarations of lunats are. If it names
`${env:LUNATS_TYPES}`, set that variable to the folder with `app.d.lua`.
]] },
}
