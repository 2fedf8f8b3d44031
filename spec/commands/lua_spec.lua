-- lunats lua: files, code on the command line, the standard input, lines that are typed in.
local process = require "spec.support.process"
local testing = require "lunats.testing"

after_each(process.close_all)

describe("lunats lua", function()
  local ARGUMENTS = [[
    print(arg[0]:match "[^/]+$", #arg, ...)
    app.sleep(0.001)
    print "slept"
  ]]

  for name, command in pairs { ["lunats lua FILE"] = { "lua" }, ["lunats FILE"] = {} } do
    it(name .. " runs a file with its arguments; it may wait", function()
      local path = process.write("tool.lua", ARGUMENTS)
      local words = { path, "a b", "--server", "-x" }
      table.move(words, 1, #words, #command + 1)
      table.move(command, 1, #command, 1, words)
      local status, output = process.lunats_to_end(words)
      assert.equal(0, status)
      assert.equal("tool.lua\t3\ta b\t--server\t-x\nslept\n", output)
    end)
  end

  for _, case in ipairs {
    { "0 at its end", "", 0, "^$" },
    { "1 for an error, with the line", "\nerror 'failed'", 1, "tool.lua:2: failed" },
    { "1 for a syntax error", "x = = 1", 1, "tool.lua:1:" },
    { "what os.exit gets", "os.exit(42)", 42, "^$" },
    { "what os.exit gets after waiting", "app.sleep(0.001) os.exit(4)", 4, "^$" },
    { "0 when a fiber still runs, which is named", "\napp.spawn(app.sleep, 1000)", 0,
      "tool.lua has ended while a fiber still ran, started at .*tool.lua:2, .*f:await%(%)" },
    { "0 when its fibers have ended", "app.spawn(print):await() app.spawn(app.sleep, 0)"
      .. " app.sleep(0.01)", 0, "^\n$" },
    { "0 when what it has started is stopped", "app.timer(1, print):stop()", 0, "^$" },
    { "1 when it sends without a server", "app.publish('x', 1)", 1, "no connection" },
  } do
    it("ends with status " .. case[1], function()
      local status, output = process.lunats_to_end { "lua", process.write("tool.lua", case[2]) }
      assert.equal(case[3], status)
      assert.matches(case[4], output)
    end)
  end

  for signal, expected in pairs { INT = 130, TERM = 143, HUP = 129 } do
    it("that is interrupted by SIG" .. signal .. " ends with " .. expected, function()
      local path = process.write("tool.lua", "print 'asleep' io.stdout:flush() app.sleep(1000)")
      local child = process.spawn { process.lunats(), "lua", path }
      child:expect "asleep"
      child:signal(signal)
      assert.equal(expected, child:wait())
    end)
  end

  it("starts programs that SIGPIPE ends, as a shell does", function()
    local path = process.write("tool.lua", [[
      local file = io.popen "grep SigIgn /proc/self/status"
      local ignored = tonumber(file:read "a":match "(%x+)%s*$", 16)
      file:close()
      print(ignored & 1 << 12)
    ]])
    local status, output = process.lunats_to_end { "lua", "-s", testing.server_url(), path }
    assert.equal(0, status, output)
    assert.matches("^0\n", output)
  end)

  it("connects when a server is given", function()
    local path = process.write("tool.lua", [[
      local echo = app.listen("tool.echo", function(msg) return msg.data end)
      print(app.request("tool.echo", 5).data)
      echo:stop()
    ]])
    local status, output = process.lunats_to_end { "lua", "-s", testing.server_url(), path }
    assert.equal(0, status)
    assert.matches("^5\n", output)
  end)
end)

describe("a service", function()
  local SERVICES = {
    config = 'app.config { name = "x" }',
    listener = 'app.listen("x", print)',
    timer = "app.timer(1, print)",
    task = "app.task(print)",
    on_start = "app.on_start(print)",
    on_stop = "app.on_stop(print)",
    on_reload = "app.on_reload(print)",
    subscription = 'app.js.subscribe("x", print)',
  }
  for name, source in pairs(SERVICES) do
    it("with a " .. name .. " is no file for lunats lua, which names run and dev", function()
      local path = process.write("orders.lua", "-- orders\n" .. source .. "\n")
      for _, words in ipairs { { "lua", path }, { path } } do
        local status, output = process.lunats_to_end(words)
        assert.equal(2, status)
        assert.matches("orders%.lua is a service: it has [^\n]*orders%.lua:2%)", output)
        assert.truthy(output:find("`lunats run " .. path .. "`", 1, true), output)
        assert.truthy(output:find("`lunats dev " .. path .. "`", 1, true), output)
        assert.is_nil(output:find "traceback")
      end
    end)
  end

  it("is noticed with a server, too", function()
    local path = process.write("orders.lua", 'app.listen("lua.orders", function() end)')
    local status, output = process.lunats_to_end { "lua", "-s", testing.server_url(), path }
    assert.equal(2, status)
    assert.matches("it has a listener %([^\n]*orders%.lua:1%)", output)
  end)

  it("that ends itself has the status it wants", function()
    local path = process.write("orders.lua", "app.on_stop(function() end) os.exit(0)")
    assert.equal(0, (process.lunats_to_end { path }))
  end)
end)

---Runs `lunats lua` in a shell with this text as its standard input.
local function with_input(text, ...)
  local path = process.write("input", text)
  local words = { process.lunats(), "lua", ... }
  for i, word in ipairs(words) do words[i] = "'" .. word:gsub("'", "'\\''") .. "'" end
  local command = "exec " .. table.concat(words, " ") .. " <" .. path
  local child = process.spawn { "sh", "-c", command }
  return child:wait(), child:output()
end

describe("lunats lua -e", function()
  it("runs code that may wait, several times, before the file", function()
    local path = process.write("tool.lua", "print(x, y, ...)")
    local status, output = process.lunats_to_end { "lua", "-e", "x = 1", "-e",
      "app.sleep(0.001) y = 2", path, "-e", "b" }
    assert.same({ 0, "1\t2\t-e\tb\n" }, { status, output })
  end)

  it("works without a file and with a server", function()
    local status, output = process.lunats_to_end { "lua", "-s", testing.server_url(), "-e",
      "print(app.nats.status(), arg[0]:match '[^/]*$', arg[1])" }
    assert.same({ 0, "connected\tlunats\tlua\n" }, { status, output })
  end)

  for _, case in ipairs {
    { "x = = 1", 1, "%(command line%):1: unexpected symbol near '='" },
    { "error 'failed'", 1, "%(command line%):1: failed\n%s+stack traceback:" },
    { "error { message = 'a table' }", 1, "a table" },
    { "os.exit(7)", 7, "^$" },
    { "os.exit(false)", 1, "^$" },
    { "", 0, "^$" },
  } do
    it(("ends with %d for %q"):format(case[2], case[1]), function()
      local status, output = process.lunats_to_end { "lua", "-e", case[1], "-e", "print()" }
      if case[2] == 0 then case[3] = "^\n$" end
      assert.equal(case[2], status)
      assert.matches(case[3], output)
    end)
  end

  it("shows no frames of ours below the user's", function()
    local _, output = process.lunats_to_end { "lua", "-e", "error 'failed'" }
    assert.is_nil(output:find "lunats/commands")
  end)
end)

describe("lunats lua -", function()
  it("runs the standard input with arguments", function()
    local status, output = with_input("#!/usr/bin/lunats\nprint(arg[0], arg[1], arg[-1], ...)",
      "-", "a", "b")
    assert.same({ 0, "-\ta\tlua\ta\tb\n" }, { status, output })
  end)

  it("ends with 1 for an error, with the line", function()
    local status, output = with_input("\nerror 'failed'", "-")
    assert.equal(1, status)
    assert.matches("stdin:2: failed", output)
  end)
end)

describe("lunats lua -i", function()
  it("prints the results of each line and goes on after errors", function()
    local status, output = with_input(
      "1 + 1\nx = 3\n=x, 'a'\nerror 'failed'\nx = = 1\nnil\nlocal y = 1\ny\n", "-i")
    assert.equal(0, status)
    assert.matches("^2\n3\ta\nlunats: stdin:1: failed\nstack traceback:.-"
      .. "\nlunats: stdin:1: [^\n]*near '='\nnil\nnil\n$", output)
    assert.is_nil(output:find "> ")
  end)

  it("takes several lines for one statement or expression", function()
    local status, output = with_input(
      "for i = 1, 2 do\nprint(i)\nend\nx = 3 x +\nx +\n4\n#{ 1,\n2 }\nif x then", "-i")
    assert.equal(0, status)
    assert.matches("^1\n2\nlunats: [^\n]+\n", output)
    assert.matches("\n2\nlunats: stdin:1: 'end' expected near <eof>\n$", output)
  end)

  it("has an app that may wait, and serves between the lines", function()
    local fifo = process.path "fifo"
    assert(os.execute("mkfifo " .. fifo))
    local child = process.spawn { "sh", "-c", ("exec %s lua -s %s -i <%s"):format(
      process.lunats(), testing.server_url(), fifo) }
    local input <close> = assert(io.open(fifo, "w"))
    input:setvbuf "no"
    input:write('app.listen("repl.echo", function(msg) return msg.data end) app.flush()\n',
      'app.request("repl.echo", 42).data\n')
    child:expect "42\n"
    assert.equal(7, assert(app.request("repl.echo", 7)).data)
    input:write "os.exit(5)\n"
    assert.equal(5, child:wait())
  end)

  it("runs a file first, which may be a service", function()
    local path = process.write("svc.lua", "x = 5 app.on_stop(function() end)")
    assert.same({ 0, "5\n" }, { with_input("x", "-i", path) })
  end)

  it("has prompts on a terminal and ends with Ctrl-D", function()
    local command = "printf '1+\\n1\\n\\004' | script -qec '%s lua -i' /dev/null"
    local child = process.spawn({ "sh", "-c", command:format(process.lunats()) },
      { env = { HOME = process.path "home", TERM = "xterm" } })
    assert.equal(0, child:wait())
    local output = child:output()
    assert.matches("lunats %d[^\n]* Ctrl%-D ends%.", output)
    assert.matches("> .*>> .*2\r\n\r> ", output)
  end)
end)
