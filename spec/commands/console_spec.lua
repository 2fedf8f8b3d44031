-- lunats console, as an operator uses it.
local process = require "spec.support.process"
local read = require "spec.support.read"
local terminal = require "spec.support.terminal"
local testing = require "lunats.testing"

after_each(process.close_all)

local SERVICE = [[
  app.config { name = "counter", version = "1.0.0" }
  count = 5
  function double(n) print "double" return 2 * n end
  app.listen("counter.get", function() return count end)
]]

local function serve(...)
  local child = process.run(SERVICE, { ... })
  child:expect "started, connected"
  return child
end

local function console(...)
  return process.lunats_to_end { "console", "-s", testing.server_url(), ... }
end

---Types into `lunats console` through a pipe.
local function piped(text)
  local path = process.write("commands", text)
  local child = process.spawn { "sh", "-c", ("exec %s console -s %s counter <%s"):format(
    process.lunats(), testing.server_url(), path) }
  return child:wait(), child:output()
end

local function instances()
  local _, output = process.lunats_to_end { "ps", "-s", testing.server_url(), "--json" }
  local ids = {}
  for i, one in ipairs(app.json.decode(output)) do ids[i] = one.id end
  return ids
end

describe("lunats console", function()
  it("runs Lua in the service and prints what it prints and returns", function()
    local svc = serve "--console"
    local status, output = console("counter", "-e", "count, double(4), nil",
      "-e", "print('a', 1)", "-e", "count = count + 1", "-e", "app.sleep(0.01) return count",
      "-e", "_G.count")
    assert.equal("5\t8\tnil\na\t1\n6\n6\n", output)
    assert.equal(0, status)
    assert.equal("6", assert(app.request("counter.get", "")).raw)
    svc:expect "double\n" -- what functions of the service print goes where it always goes
  end)

  it("shows what is in a table that is returned, as far as a person reads it", function()
    serve "--console"
    local status, output = console("counter",
      "-e", "{ 1, 'two\\n', { n = 3.5 }, last = true, ['a b'] = app.json.null, [7] = {} }",
      "-e", "local t = { deep = { { { { 1 } } } } } t.self = t return t",
      "-e", "setmetatable({}, { __tostring = function() return 'mine' end }), {}",
      "-e", "local t = {} for i = 1, 1000 do t[i] = i end return t",
      "-e", "setmetatable({}, { __pairs = function() error 'no' end })")
    assert.equal('{ 1, "two\\n", { n = 3.5 }, [7] = {}, ["a b"] = null, last = true }\n'
      .. "{ deep = { { { {...} } } }, self = {...} }\nmine\t{}\n", output:match "^.-mine.-\n")
    assert.matches("\n{ 1, 2, 3, .- 50, ... }\n", output)
    assert.matches("error calling 'tostring'.*no", output)
    assert.equal(1, status)
  end)

  it("reads commands line by line, over several lines if need be", function()
    serve "--console"
    local status, output = piped "for i = 1, 2 do\n  print(i)\nend\n= count\n1 +\n+ 2\n"
    assert.equal(0, status)
    assert.matches("^1\n2\n5\n", output)
    assert.matches("lunats: stdin:1: unexpected symbol", output)
  end)

  it("shows errors, which do the service no harm", function()
    local svc = serve "--console"
    local status, output = console("counter", "-e", "error('oops')")
    assert.equal(1, status)
    assert.matches("^lunats: console:1: oops\nstack traceback:\n\t%[C%]: in function 'error'\n"
      .. "\tconsole:1: in main chunk\n$", output)
    status, output = console("counter", "-e", "return setmetatable({}, { __tostring = error })")
    assert.equal(1, status)
    assert.matches("error calling 'tostring'", output)
    status, output = console("counter", "-e", "app.nothing.x = 1")
    assert.equal(1, status)
    assert.matches("attempt to index a nil value", output)
    assert.equal("5", assert(app.request("counter.get", "")).raw)
    assert.equal(0, svc:count "ERROR")
  end)

  it("stops what waits for too long, and what computes for too long", function()
    serve "--console"
    local status, output = console("counter", "--timeout", "1.5", "-e", "app.sleep(60)")
    assert.equal(1, status)
    assert.equal("lunats: this has not ended within 1.5 s\n", output)
    for _, code in ipairs { "while true do end",
      "while true do pcall(function() while true do end end) end" } do
      status, output = console("counter", "-e", code)
      assert.equal(1, status)
      assert.matches("^lunats: this has computed for 1 s without a wait", output)
      assert.is_nil(output:find "lunats/console")
    end
    assert.equal("5", assert(app.request("counter.get", "")).raw)
  end)

  it("tells who ends the service that it stops", function()
    local svc = serve "--console"
    local status, output = console("counter", "-e", "os.exit(7)")
    assert.same({ 1, "lunats: the service is stopping\n" }, { status, output })
    assert.equal(7, svc:wait())
    assert.equal(0, svc:count "ERROR", svc:output())
  end)

  it("lets a command compute that leaves others their turn", function()
    serve "--console"
    local status, output = console("counter", "-e", [[
      for _ = 1, 4 do
        local began = app.now()
        while app.now() - began < 0.3 do end
        app.sleep(0.1)
      end
      return "done"]])
    assert.same({ 0, "done\n" }, { status, output })
  end)

  it("prints bytes that are no text, and not without end", function()
    serve "--console"
    local status, output = console("counter", "-e", "print('a\\xff')",
      "-e", "for _ = 1, 300 do print(('x'):rep(1023)) end")
    assert.equal(0, status)
    assert.matches("^a\u{fffd}\nx", output)
    assert.matches("\n%.%.%. %(cut%)\n$", output)
    assert.is_true(#output < 300 * 1024)
  end)

  it("is written into the log of the service, with who and what", function()
    local svc = serve "--console"
    console("counter", "-e", "count = 7")
    svc:expect "WARN  counter: console: count = 7 client=%S+@%S+ inbox=_INBOX%."
    svc:expect "whoever may publish to lunats%.console%.counter%.> can run code"
  end)

  it("goes on with the next version of the script", function()
    local svc = serve "--console"
    assert.equal(0, (console("counter", "-e", "count = 7")))
    svc:signal "HUP"
    svc:expect "reloaded, version"
    local status, output = console("counter", "-e", "count")
    assert.same({ 0, "5\n" }, { status, output })
  end)

  it("wants to know which of several instances", function()
    serve "--console"
    serve "--console"
    local status, output = console("counter", "-e", "count")
    assert.equal(1, status)
    assert.matches("counter has 2 instances: say which, as counter/INSTANCE", output)
    local id = instances()[2]
    assert.truthy(output:find("counter/" .. id, 1, true))
    status, output = console("counter/" .. id, "-e", "app.instance_id")
    assert.same({ 0, id .. "\n" }, { status, output })
  end)

  it("says that a service has no console, or does not run", function()
    local svc = serve()
    local status, output = console("counter", "-e", "count")
    assert.equal(1, status)
    assert.matches("counter runs, but without a console: .*%-%-console", output)
    status, output = console "other"
    assert.equal(1, status)
    assert.matches("there is no service other at nats://.*, but: counter", output)
    assert.equal(2, (console()))
    assert.is_nil(svc:output():find "lunats%.console")
  end)

  it("leaves a script that declares nothing what it is", function()
    local child = process.run("local x = 1\nreturn x", { "--console" })
    assert.not_equal(0, child:wait())
    assert.is_nil(child:output():find "started")
  end)

  it("answers what is no command with an error", function()
    serve "--console"
    local reply, err = app.request("lunats.console.counter." .. instances()[1], "no JSON")
    assert.is_nil(reply)
    assert.equal(400, err.status)
  end)

  describe("on a terminal", function()
    local home

    local function open(...)
      home = process.path "home"
      os.execute("mkdir -p " .. home)
      return terminal.open({ "console", "-s", testing.server_url(), "counter", ... }, nil,
        { HOME = home })
    end

    it("edits lines, remembers them, and gives the terminal back", function()
      serve "--console"
      local term = open()
      term:next "counter> "
      term:type "cound\127t + 1\1 \5\n" -- backspace, to the beginning, to the end
      term:next "\n6\r\n"
      term:next "counter> "
      term:type "\27[A\27[D2\n" -- up, left: count + 21
      term:next "count %+ 21.*\n26\r\n"
      term:type "nonsense((\3count\n" -- Ctrl-C gives up the line
      term:next "%^C\r\n.*\n5\r\n"
      term:type "ab cd\23\23'\u{e4}\u{f6}'\27[D\127\27[C\n" -- two words, a letter of two bytes
      term:next "\n\u{e4}\r\n"
      term:type "\4"
      assert.same({ 0, true }, { term:wait() })
      assert.equal(" count + 1\n count + 21\ncount\n'\u{e4}'\n",
        read(home .. "/.lunats_history"))
    end)

    it("takes statements over several lines, and lines that are pasted", function()
      serve "--console"
      local term = open()
      term:next "counter> "
      term:type "for i = 1, 3 do\nprint(i)\nend\ncount\n"
      term:next "       >> .*\n1\r\n2\r\n3\r\n.*\n5\r\n"
      term:type "\4"
      assert.equal(0, (term:wait()))
    end)

    it("ends at a Ctrl-D that was typed while a command ran", function()
      serve "--console"
      local term = open()
      term:next "counter> "
      term:type "print 'running' app.sleep(1)\n"
      term:wait_for_lines()
      term:type "\4"
      assert.equal(0, (term:wait()))
      assert.truthy(term:output():find("running\r\n", 1, true))
    end)

    it("asks which of several instances", function()
      serve "--console"
      serve "--console"
      local term = open()
      local id = term:next "  2  counter/(%w+)  %S+/%d+\r\n.*which one%? 1 to 2: "
      term:type "x\n2\n"
      term:next "counter> "
      term:type "app.instance_id\n"
      term:next("\n" .. id .. "\r\n")
      term:type "\4"
      assert.equal(0, (term:wait()))
    end)

    for name, status in pairs { TERM = 143, HUP = 129 } do
      it("gives the terminal back when SIG" .. name .. " ends it", function()
        serve "--console"
        local term = open()
        term:next "counter> "
        term:signal(name)
        assert.same({ status, true }, { term:wait() })
      end)
    end
  end)
end)
