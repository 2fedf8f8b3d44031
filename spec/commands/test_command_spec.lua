-- lunats test: in parallel, again and again, with the reporters of busted.
local eventually = require "spec.support.eventually"
local lfs = require "lfs"
local process = require "spec.support.process"

after_each(process.close_all)

local GOOD = [[
describe("inner", function()
  it("has a server", function() assert.is_true(app.flush()) end)
end)
]]
local BAD = 'describe("inner", function() it("fails", function() error "ouch" end) end)'

local function put(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

---A folder with spec/<name>_spec.lua.
local function project(specs)
  local folder = process.path "project"
  assert(lfs.mkdir(folder))
  assert(lfs.mkdir(folder .. "/spec"))
  for name, text in pairs(specs) do put(("%s/spec/%s_spec.lua"):format(folder, name), text) end
  return folder
end

local function test(folder, ...)
  local child = process.spawn({ process.lunats(), "test", ... }, { cwd = folder })
  return child:wait(), child:output()
end

---A spec that sleeps for ever; the second result waits until it does.
local function sleeper()
  local sign = process.path "asleep"
  local text = ('it("x", function() assert(io.open(%q, "w")):close() app.sleep(1000) end)')
    :format(sign)
  return text, function()
    eventually("a spec that sleeps", function() return lfs.attributes(sign) end)
  end
end

describe("lunats test", function()
  it("waits as long as --timeout says, in each process", function()
    local impatient = [[
      local testing = require "lunats.testing"
      it("waits", function()
        local svc = testing.start "app.listen('never', function() app.sleep(1000) end)"
        finally(function() svc:stop() end)
        local began = app.now()
        local _, err = svc:request("never", "")
        assert.equal("timeout", err.code)
        assert.error_matches(function() svc:expect "done" end, "came within 0.5 s")
        assert.is_true(app.now() - began < 3.5) -- twice 2 s if nobody says so
      end)
    ]]
    local folder = project { one = impatient, two = impatient }
    for _, jobs in ipairs { "1", "2" } do
      local status, output = test(folder, "--timeout", "0.5", "-j", jobs)
      assert.equal(0, status, output)
    end
  end)

  it("finds spec/ and honours .busted", function()
    local folder = project { one = GOOD, two = BAD }
    put(folder .. "/.busted", "return { default = { pattern = 'one_spec', verbose = true } }")
    local status, output = test(folder)
    assert.equal(0, status, output)
    assert.matches("1 success / 0 failures", output)
  end)

  it("says what to do where there is no folder spec/", function()
    local folder = process.path "empty"
    assert(lfs.mkdir(folder))
    for _, option in ipairs { "-j2", "--watch", "--" } do
      local status, output = test(folder, option)
      assert.equal(1, status, output)
      assert.equal("lunats test: there is no folder spec/ here: name spec files, or begin with "
        .. "`lunats new NAME`\n", output)
    end
  end)

  it("fails when there is no test to run", function()
    local folder = project { one = "local x = 1", two = GOOD }
    local status, output = test(folder, "spec/one_spec.lua")
    assert.equal(1, status, output)
    assert.matches("lunats test: there is no test: a spec calls it%(%) inside of describe%(%)",
      output)
    for _, words in ipairs { { "--filter", "nothing" }, { "--filter", "nothing", "-j2" },
      { "--tags=nothing" } } do
      status, output = test(folder, "spec/two_spec.lua", table.unpack(words))
      assert.equal(1, status, output)
      assert.matches("lunats test: no test matches: see %-%-filter, .*%-%-tags", output)
    end
    status, output = test(folder, "--list", "spec/two_spec.lua")
    assert.equal(0, status, output)
  end)

  it("names a fiber that still runs at the end: what it would assert is not known", function()
    local folder = project { one = [[
      it("spawns", function()
        app.spawn(function() app.sleep(1000) assert.equal(1, 2) end)
      end)]] }
    local status, output = test(folder)
    assert.equal(0, status, output)
    assert.matches("lunats test: the run has ended while a fiber still ran, started at .*"
      .. "one_spec.lua:2, and cuts it off", output)
  end)

  for reporter, pattern in pairs { TAP = "not ok 1", junit = "<testsuites.*</testsuites>",
    gtest = "%[  ERROR   %]", json = '"errors":%[{', utfTerminal = "1 error" } do
    it("prints the reporter " .. reporter .. " unchanged", function()
      local status, output = test(project { bad = BAD }, "-o", reporter)
      assert.equal(1, status, output)
      assert.matches(pattern, output)
    end)
  end

  for signal, expected in pairs { INT = 130, TERM = 143, HUP = 129 } do
    it("that is interrupted by SIG" .. signal .. " ends with " .. expected, function()
      local text, asleep = sleeper()
      local child = process.spawn({ process.lunats(), "test" },
        { cwd = project { one = text } })
      asleep()
      child:signal(signal)
      assert.equal(expected, child:wait())
    end)
  end

  it("says what --coverage needs", function()
    if pcall(require, "luacov.runner") then return pending "luacov is installed" end
    local status, output = test(project { one = GOOD }, "--coverage")
    assert.equal(1, status)
    assert.matches("%-%-coverage needs luacov %(luarocks", output)
  end)
end)

describe("lunats test --coverage", function()
  it("counts the lines of services under test, handlers included", function()
    if not pcall(require, "luacov.runner") then return pending "no luacov" end
    local folder = project { one = [[
      local testing = require "lunats.testing"
      it("answers", function()
        local svc = testing.start("svc.lua")
        assert(svc:request("covered.echo", "x"))
        svc:stop()
      end)
    ]] }
    put(folder .. "/svc.lua",
      'app.listen("covered.echo", function(msg)\n  return msg.raw\nend)')
    local status, output = test(folder, "--coverage")
    assert.equal(0, status, output)
    local file = assert(io.open(folder .. "/luacov.stats.out"))
    local stats = file:read "a"
    file:close()
    assert.matches("3:svc.lua\n%d+ 1 ", stats)
  end)
end)

describe("lunats test -j", function()
  it("runs each file in a process with a server of its own, and counts", function()
    local folder = project { one = GOOD, two = GOOD, three = GOOD }
    local status, output = test(folder, "-j", "2")
    assert.equal(0, status, output)
    assert.matches("ok     spec/one_spec.lua: 1 success / 0 failures", output)
    assert.matches("3 files in [%d.]+ s: 3 successes / 0 failures / 0 errors", output)
  end)

  it("shows the output of files that fail, and which", function()
    local status, output = test(project { one = GOOD, two = BAD }, "-j2")
    assert.equal(1, status, output)
    assert.matches("FAILED spec/two_spec.lua", output)
    assert.matches("spec/two_spec.lua:1: ouch", output)
    assert.matches("1 successes / 0 failures / 1 errors.*failed: spec/two_spec.lua", output)
  end)

  it("takes files and options of busted", function()
    local folder = project { one = GOOD, two = BAD }
    local status, output = test(folder, "--filter", "has a", "spec/one_spec.lua", "-j", "3",
      "spec/two_spec.lua")
    assert.equal(0, status, output)
    assert.matches("2 files", output)
  end)

  it("fails when a file is missing", function()
    local status, output = test(project { one = GOOD }, "-j2", "spec/no_spec.lua")
    assert.equal(1, status, output)
    assert.matches("there is no spec/no_spec.lua", output)
  end)

  it("tells when a file ends too early", function()
    local text = 'require("lunats.core").exit(3)' -- not even os.exit() does
    local status, output = test(project { one = text }, "-j2")
    assert.equal(1, status, output)
    assert.matches("FAILED spec/one_spec.lua: exit status 3", output)
  end)

  it("ends when it is told to", function()
    local text, asleep = sleeper()
    local folder = project { one = text }
    local child = process.spawn({ process.lunats(), "test", "-j", "2" }, { cwd = folder })
    asleep()
    assert.equal(143, child:stop())
  end)
end)

describe("lunats test --watch", function()
  it("runs again when a spec or a source changes, and ends in order", function()
    local folder = project { one = 'it("x", function() assert(require "unit" == 1) end)' }
    put(folder .. "/unit.lua", "return 2")
    local child = process.spawn({ process.lunats(), "test", "--watch" }, { cwd = folder })
    child:expect "failed with status 1; waiting"
    put(folder .. "/unit.lua.new", "return 1")
    assert(os.rename(folder .. "/unit.lua.new", folder .. "/unit.lua"))
    child:expect "unit.lua has changed.*1 success.*passed; waiting"
    put(folder .. "/spec/two_spec.lua", 'it("y", function() end)')
    child:expect "spec/two_spec.lua has changed.*2 successes.*passed; waiting"
    assert.equal(143, child:stop())
  end)

  it("looks for itself with --watch-poll", function()
    local folder = project { one = 'it("x", function() assert(require "unit" == 1) end)' }
    put(folder .. "/unit.lua", "return 2")
    local child = process.spawn({ process.lunats(), "test", "--watch-poll", "0.05" },
      { cwd = folder })
    child:expect "failed with status 1; waiting"
    put(folder .. "/unit.lua", "return 1")
    child:expect "unit.lua has changed.*1 success.*passed; waiting"
    put(folder .. "/spec/two_spec.lua", 'it("y", function() end)')
    child:expect "spec has changed.*2 successes.*passed; waiting"
    assert.equal(143, child:stop())
  end)

  it("does not wait for a run that is out of date", function()
    local text, asleep = sleeper()
    local folder = project { one = text }
    local child = process.spawn({ process.lunats(), "test", "--watch" }, { cwd = folder })
    asleep()
    put(folder .. "/spec/one_spec.lua", 'it("x", function() end)')
    child:expect "has changed.*1 success.*passed; waiting"
    assert.equal(143, child:stop())
  end)
end)
