-- lunats logs, as an operator uses it.
local process = require "spec.support.process"
local testing = require "lunats.testing"

after_each(process.close_all)

local SERVICE = [[
  app.config { name = "chatty", version = "1.0.0" }
  app.listen("chatty.say", function(msg)
    app.log.debug("deep", { n = 1 })
    app.log.info(msg.data.text, msg.data.fields)
    return true
  end)
  app.listen("chatty.raise", function() error "oops" end)
]]

local function serve(...)
  local child = process.run(SERVICE, { ... })
  child:expect "started, connected"
  return child
end

local function logs(...)
  local child = process.spawn { process.lunats(), "logs", "-s", testing.server_url(), ... }
  child:expect "listening to "
  return child
end

local function lunats(...)
  return process.lunats_to_end { (...), "-s", testing.server_url(), select(2, ...) }
end

local function say(text, fields)
  assert(app.request("chatty.say", { text = text, fields = fields }))
end

---What it has printed, without the line that says that it listens.
local function printed(child) return (child:output():gsub("^listening to [^\n]*\n", "")) end

describe("lunats logs", function()
  it("shows the lines of a service as its standard error has them", function()
    serve("--log-subject", "lunats.logs")
    local child = logs("chatty", "--count", "2")
    say("first", { word = "a", text = "a b", list = { 1, 2 } })
    app.request("chatty.raise", "x")
    assert.equal(0, child:wait())
    assert.matches('^%d+%-%d+%-%d+T[%d:.]+Z INFO  chatty/%w%w%w%w%w%w: first list=%[1,2%] '
      .. 'listener=chatty%.say subject=chatty%.say text="a b" word=a\n'
      .. '%S+ ERROR chatty/%w+: [^\n]*oops[^\n]*\n    stack traceback:\n    \t', printed(child))
  end)

  it("shows nothing that a terminal would obey", function()
    serve("--log-subject", "lunats.logs")
    local child = logs("chatty", "--count", "2")
    say("a\27[2J\nb\27]0;x\7", { ["k\27"] = "v\u{202e}\u{9b}" })
    app.publish("lunats.logs.chatty.x", "no line \27[2J")
    assert.equal(0, child:wait())
    assert.is_nil(printed(child):find "[%z\1-\9\11-\31]")
    assert.is_nil(printed(child):find("\u{202e}", 1, true))
    assert.matches(": a %[2J .*\n    b %]0;x", printed(child))
  end)

  it("shows them as JSON", function()
    serve("--log-subject", "lunats.logs")
    local child = logs("chatty", "--json", "--count", "1")
    say("first")
    assert.equal(0, child:wait())
    local line = app.json.decode(printed(child))
    assert.same({ "info", "chatty", "first" }, { line.level, line.service, line.message })
  end)

  it("shows one instance, or those of another subject", function()
    serve("--log-subject", "ops.log")
    local all = logs("--log-subject", "ops.log", "--count", "1")
    say "first"
    assert.equal(0, all:wait())
    local list = app.json.decode((select(2, lunats("ps", "chatty", "--json"))))
    local one = logs("chatty/" .. list[1].id, "--log-subject", "ops.log", "--count", "1")
    local other = logs("chatty/other", "--log-subject", "ops.log")
    say "second"
    assert.equal(0, one:wait())
    assert.matches("INFO  chatty/%w+: second", printed(one))
    assert.equal("", printed(other))
  end)

  it("shows what is no line as it is", function()
    local child = logs("--count", "2")
    app.publish("lunats.logs.x.y", "text")
    app.publish("lunats.logs.x.y", { message = 1 })
    assert.equal(0, child:wait())
    assert.equal('lunats.logs.x.y text\nlunats.logs.x.y {"message":1}\n', printed(child))
  end)

  it("changes the level of all instances of a service, and back", function()
    local first, second = serve "--control", serve "--control"
    local status, output = lunats("logs", "chatty", "--level", "debug")
    assert.equal(0, status)
    local line = "chatty/%w+: debug, its %-%-log%-level is info\n"
    assert.matches("^" .. line .. line .. "$", output)
    for _, child in ipairs { first, second } do
      child:expect "the log level is debug from now on"
    end
    assert.equal(0, (lunats("logs", "chatty", "--level", "reset")))
    for _, child in ipairs { first, second } do child:expect "the log level is info" end
  end)

  it("says which instances cannot be changed, and why", function()
    serve()
    local status, output = lunats("logs", "chatty", "--level", "debug")
    assert.equal(1, status)
    assert.matches("^lunats logs: chatty/%w+: it cannot be changed: .*%-%-control", output)
  end)

  for _, case in ipairs {
    { { "--level", "loud", "chatty" }, 2, "'loud' is not a log level" },
    { { "--level", "info" }, 2, "needs a SERVICE" },
    { { "--level", "info", "nobody" }, 1, "no service answers" },
    { { "a", "b" }, 2, "takes one NAME" },
    { { "a b" }, 2, "'a b' is not the name of a service" },
  } do
    it("explains a mistake: " .. table.concat(case[1], " "), function()
      local status, output = lunats("logs", table.unpack(case[1]))
      assert.equal(case[2], status)
      assert.matches(case[3], output)
    end)
  end
end)
