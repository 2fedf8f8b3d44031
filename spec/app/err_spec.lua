---Errors of the host as values.
local testing = require "lunats.testing"

describe("an error", function()
  it("can be concatenated even when the first one came from the JSON module", function()
    local svc = testing.start [[
      app.task(function()
        local _, bad = app.json.decode "{"
        local _, nobody = app.request "nobody.here"
        app.publish("told", "bad: " .. bad)
        app.publish("told", nobody .. " :nobody")
      end)
    ]]
    assert.matches("^bad: .+", svc:expect("told").raw)
    assert.matches("^nobody listens.* :nobody$", svc:expect("told").raw)
    svc:stop()
  end)
end)
