-- The command line: help, mistakes, test, run, dev.
local process = require "spec.support.process"
local testing = require "lunats.testing"

after_each(process.close_all)

describe("help", function()
  for _, arguments in ipairs { { "--help" }, { "-h" }, { "help" } } do
    it("of everything is shown by " .. arguments[1], function()
      local status, output = process.lunats_to_end(arguments)
      assert.equal(0, status)
      for _, word in ipairs { "run", "dev", "test", "check", "lua", "record", "new",
        "request", "pub", "sub", "Exit status" } do
        assert.truthy(output:find(word, 1, true), word)
      end
    end)
  end

  for _, command in ipairs { "run", "dev", "test", "check", "lua", "record", "new", "request",
    "pub", "sub" } do
    it("of " .. command .. " shows its usage, options and examples", function()
      local status, output = process.lunats_to_end { command, "--help" }
      assert.equal(0, status)
      assert.matches("^Usage: lunats " .. command, output)
      assert.matches("Options:.*Examples:", output)
      assert.same({ 0, output }, { process.lunats_to_end { "help", command } })
    end)
  end

  it("is not confused with the version", function()
    for _, arguments in ipairs { { "--version" }, { "version" } } do
      local status, output = process.lunats_to_end(arguments)
      assert.equal(0, status)
      assert.matches("^lunats %d+%.%d+%.%d+.*nats%.c.*libuv.*Lua 5%.4", output)
    end
  end)
end)

describe("a mistake", function()
  for _, case in ipairs {
    { "no command", {}, "no command given" },
    { "an unknown command", { "rnu", "x.lua" }, "unknown command rnu; did you mean run%?" },
    { "an unknown option", { "run", "--sever", "x" }, "did you mean %-%-server%?" },
    { "an option of another command", { "check", "--watch", "x.lua" }, "%-%-watch" },
    { "an option of another command", { "run", "--jobs", "x.lua" }, "does not take %-%-jobs" },
    { "no script", { "run" }, "no SCRIPT given" },
    { "no file", { "lua" }, "no FILE, %-e CODE or %-i given" },
    { "a command that is almost one", { "rqeuest", "x" }, "did you mean request%?" },
    { "a longer word for a command", { "publish", "x" }, "did you mean pub%?" },
    { "a shorter one", { "req", "x" }, "did you mean request%?" },
    { "a file that is not there", { "no.lua" }, "there is no file no%.lua" },
    { "a folder", { "/tmp" }, "is a directory; `lunats run /tmp` or `lunats dev /tmp` serves" },
    { "a missing script", { "run", "no.lua" },
      "cannot open the script no%.lua: No such file or directory\n" },
    { "a misspelt one", { "run", "examples/helo.lua" }, "%(did you mean hello%.lua%?%)" },
    { "a wrong number", { "run", "--drain-timeout", "soon", "x" }, "soon is not a number" },
  } do
    it("like " .. case[1] .. " ends with status 2 and advice", function()
      local status, output = process.lunats_to_end(case[2])
      assert.equal(2, status)
      assert.matches(case[3], output)
      assert.matches("See `lunats.*%-%-help`", output)
    end)
  end
end)

describe("specs", function()
  local SPEC = [[
    describe("inner", function()
      it("waits", function() app.sleep(0.001) assert.is_true(%s) end)
      it("asks", function()
        local handle = app.listen("inner.spec", function() return 1 end)
        assert.equal(1, assert(app.request "inner.spec").data)
        handle:stop()
      end)
    end)
  ]]

  it("that pass end with status 0", function()
    local path = process.write("inner_spec.lua", SPEC:format "true")
    local status, output = process.lunats_to_end { "test", path }
    assert.equal(0, status)
    assert.matches("2 successes / 0 failures", output)
  end)

  it("that fail end with the status of busted", function()
    local path = process.write("inner_spec.lua", SPEC:format "false")
    local status, output = process.lunats_to_end { "test", path }
    assert.equal(1, status)
    assert.matches("1 success / 1 failure", output)
    assert.matches("inner_spec.lua", output)
  end)

  it("can be filtered and use a given server", function()
    local path = process.write("inner_spec.lua", SPEC:format "false")
    local status, output = process.lunats_to_end { "test", "-s", testing.server_url(), path,
      "--filter", "asks" }
    assert.equal(0, status)
    assert.matches("1 success / 0 failures", output)
  end)

  it("run with busted --lua=lunats, without a server", function()
    local path = process.write("inner_spec.lua", SPEC:format "true")
    local child = process.spawn { "busted", "--lua=" .. process.lunats(), "--filter", "waits",
      path }
    assert.equal(0, child:wait())
    assert.matches("1 success / 0 failures", child:output())
  end)
end)

describe("lunats run", function()
  it("takes a directory: each of its scripts is a service", function()
    local path = process.write("one.lua", "app.task(function() app.log.info 'one runs' end)")
    local folder = path:gsub("/[^/]+$", "")
    for name, text in pairs { ["two.lua"] = "app.task(function() app.log.info 'two runs' end)",
      ["two_spec.lua"] = "error 'a spec is no service'" } do
      local file = assert(io.open(folder .. "/" .. name, "w"))
      file:write(text)
      file:close()
    end
    local child = process.spawn { process.lunats(), "run", "-s", testing.server_url(),
      folder }
    child:expect "one: one runs"
    child:expect "two: two runs"
    assert.equal(0, child:stop())
  end)

  it("takes its options from the environment, too", function()
    local path = process.write("env.lua", "app.task(function() app.log.debug 'shown' end)")
    local child = process.spawn({ process.lunats(), "run", path },
      { env = { NATS_URL = testing.server_url(), LUNATS_LOG_LEVEL = "debug" } })
    child:expect "shown"
    assert.equal(0, child:stop())
  end)
end)

describe("lunats dev", function()
  it("runs a script with a server of its own", function()
    local path = process.write("dev.lua", [[
      app.task(function() app.js.account_info() end)
      app.listen("dev.x", function() end)
    ]])
    local child = process.spawn { process.lunats(), "dev", path }
    child:expect "private nats%-server at nats://lunats:%w+@127%.0%.0%.1:%d+\n"
    child:expect "dev: started"
    assert.equal(0, child:stop())
  end)
end)
