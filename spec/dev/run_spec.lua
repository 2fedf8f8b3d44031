-- spec/run and spec/report.awk: nothing that goes wrong with a test may look like a success.
local process = require "spec.support.process"

---Runs spec/run for a shell script in the place of a test program.
---@return integer status
---@return string output
local function run(source, env, file)
  env = env or {}
  env.LN_LOGS = process.path "logs"
  local child = process.spawn({ "spec/run", file or "spec/unit/x_test.c", "20",
    "sh", "-c", source, "sh" }, { env = env })
  return child:wait(), child:output()
end

describe("spec/run", function()
  after_each(process.close_all)

  for name, case in pairs {
    ["counts a C test"] = { "echo ok a; echo 3 passed, 0 failed", 0,
      "ok     spec/unit/x_test.c: 3 passed\n" },
    ["shows what failed in a C test"] = {
      "echo ok a; echo not ok b: x.c:1; echo 1 passed, 1 failed; exit 1", 1,
      "FAILED spec/unit/x_test.c: 1 passed, 1 failed\n    not ok b: x.c:1\n" },
    ["fails without an end"] = { "echo ok a", 1,
      "FAILED spec/unit/x_test.c: 0 passed, 1 failed (ended too early)\n" },
    ["fails for an exit status"] = { "echo 1 passed, 0 failed; exit 3", 1,
      "FAILED spec/unit/x_test.c: 1 passed, 1 failed (all tests passed, exit status 3)\n" },
    ["fails for a signal"] = { "echo 1 passed, 0 failed; kill -SEGV $$", 1,
      "FAILED spec/unit/x_test.c: 1 passed, 1 failed (killed by SIGSEGV)\n" },
    ["fails for a report of a sanitizer, whose file any process may write"] = {
      [[echo 1 passed, 0 failed
        log=${ASAN_OPTIONS#*log_path=\'} log=${log%%\'*}; echo leak >$log.77]], 1,
      "FAILED spec/unit/x_test.c: 1 passed, 1 failed (sanitizer report)\n    leak\n" },
  } do
    it(name, function()
      assert.same({ case[2], case[3] }, { run(case[1]) })
    end)
  end

  it("ends what takes too long", function()
    local status, output = run("exec sleep 1000", { TIMEOUT = "1" })
    assert.equal(1, status)
    assert.equal("FAILED spec/unit/x_test.c: 0 passed, 1 failed (still running after 1 s)\n",
      output)
  end)

  it("ends its program when it is ended itself", function()
    local pid = process.path "pid"
    local child = process.spawn({ "spec/run", "spec/unit/x_test.c", "20", "sh", "-c",
      "echo $$ >" .. pid .. "; exec sleep 1000" }, { env = { LN_LOGS = process.path "logs" } })
    local eventually = require "spec.support.eventually"
    local program = eventually("a pid", function()
      local file = io.open(pid)
      local text = file and file:read "l"
      if file then file:close() end
      return text
    end)
    assert.equal(143, child:stop())
    eventually("its end", function() -- a process that nobody has waited for has no words
      local file = io.open(("/proc/%s/cmdline"):format(program))
      local words = file and file:read "a" or ""
      if file then file:close() end
      return not words:find("sleep\0001000", 1, true)
    end)
  end)

  it("gives spec files the options of busted, and counts what they skip", function()
    local status, output = run([[
      echo "args: $*"
      echo '[ SKIPPED  ] spec/x_spec.lua @ 5: is pending (0.30 ms)'
      echo '[  PASSED  ] 4 tests.'
      echo '[ SKIPPED  ] 1 test, listed below:'
      test "$*" = "-o gtest --verbose --filter a b c spec/x_spec.lua"
    ]], { LN_BUSTED = "--filter\na b c\n" }, "spec/x_spec.lua")
    assert.equal("ok     spec/x_spec.lua: 4 passed, 1 skipped\n"
      .. "    skipped spec/x_spec.lua @ 5: is pending (0.30 ms)\n", output)
    assert.equal(0, status)
  end)

  it("fails for errors outside of tests", function()
    local status, output = run([[
      echo '[  PASSED  ] 4 tests.'
      echo '[  ERROR   ] 1 error, listed below:'
      echo '[  ERROR   ] spec/x_spec.lua @ 5: setup'
      exit 1
    ]], nil, "spec/x_spec.lua")
    assert.equal(1, status)
    assert.equal("FAILED spec/x_spec.lua: 4 passed, 1 failed\n"
      .. "    [  ERROR   ] spec/x_spec.lua @ 5: setup\n", output)
  end)
end)

describe("spec/report.awk", function()
  after_each(process.close_all)

  local function report(text)
    local input = process.write("ctest.txt", text)
    local child = process.spawn { "awk", "-f", "spec/report.awk", input }
    return child:wait(), child:output()
  end

  it("adds up the tests of files that ran at the same time", function()
    local status, output = report [[
test 12
      Start 12: spec/a_spec.lua
12: Test command: /usr/bin/setpriv "spec/run" "spec/a_spec.lua"
12: Test timeout computed to be: 1260
13: ok     spec/unit/b_test.c: 2 passed in 5 s
12: ok     spec/a_spec.lua: 4 passed, 1 skipped
12:     skipped spec/a_spec.lua @ 5: is pending (0.30 ms)
 1/2 Test #12: spec/a_spec.lua ..................   Passed    0.30 sec
 2/2 Test #13: spec/unit/b_test.c ...............   Passed    5.30 sec

100% tests passed, 0 tests failed out of 2
]]
    assert.equal([[
ok     spec/a_spec.lua: 4 passed, 1 skipped
    skipped spec/a_spec.lua @ 5: is pending (0.30 ms)
ok     spec/unit/b_test.c: 2 passed in 5 s
6 passed, 0 failed, 1 skipped
]], output)
    assert.equal(0, status)
  end)

  it("counts a file that did not get to its end as a failure", function()
    local status, output = report [[
12: ok     spec/a_spec.lua: 4 passed
 1/2 Test #12: spec/a_spec.lua ..................   Passed    0.30 sec
 2/2 Test #13: spec/unit/b_test.c ...............***Timeout   5.30 sec
]]
    assert.equal([[
ok     spec/a_spec.lua: 4 passed
FAILED spec/unit/b_test.c***Timeout   5.30 sec
4 passed, 1 failed
]], output)
    assert.equal(1, status)
  end)

  it("says so when nothing ran", function()
    assert.same({ 1, "No tests were found!!!\n0 passed, 1 failed\n" },
      { report "No tests were found!!!\n" })
    assert.same({ 1, "no test ran\n0 passed, 1 failed\n" }, { report "" })
  end)
end)
