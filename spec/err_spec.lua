---Errors of the host as values.
local process = require "spec.support.process"

describe("an error", function()
  after_each(process.close_all)

  it("can be concatenated even when the first one came from the JSON module", function()
    local service = process.run [[
      app.task(function()
        local _, bad = app.json.decode "{"
        local _, nobody = app.request "nobody.here"
        print("bad: " .. bad)
        print(nobody .. " :nobody")
        os.exit(7)
      end)
    ]]
    assert.equal(7, service:wait())
    service:expect "bad: [^\n]+\n"
    service:expect "nobody listens[^\n]* :nobody\n"
  end)
end)
