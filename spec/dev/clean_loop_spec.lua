-- spec/support/clean_loop.lua: what a test must not leave behind.
local process = require "spec.support.process"

---Runs tests as a spec file of this repository.
local function run(source)
  return process.lunats_to_end { "test", process.write("x_spec.lua", source) }
end

describe("clean_loop", function()
  after_each(process.close_all)

  it("lets tests pass that clean up after them, or inherit from setup", function()
    local status, output = run [[
      local testing = require "lunats.testing"
      local core = require "lunats.core"
      local source = 'app.timer(60, function() end)\n'
      local watch, svc = core.watch()
      watch:add("spec", ".lua")
      setup(function() svc = testing.start(source) end)
      teardown(function() svc:stop() end)
      it("stops", function() testing.start(source):stop() end)
      it("makes errors", function()
        require("spec.support.clean_loop").expected_errors(1)
        app.spawn(function() error "on purpose" end)
        app.sleep(0)
        testing.errors()
      end)
      it("drops", function() assert(core.watch()):add("spec", ".lua") end)
    ]]
    assert.equal(0, status, output)
    assert.truthy(output:find("3 successes / 0 failures / 0 errors", 1, true), output)
  end)

  for name, case in pairs {
    ["a service"] = { 'require("lunats.testing").start "app.timer(60, function() end)\\n"',
      'after "is dirty": handles left open: ' },
    ["a watch"] = { 'watch = require("lunats.core").watch() watch:add("spec", ".lua")',
      'after "is dirty": handles left open: 1 timer, 2 fs_event' },
    ["an error in the log"] = { 'app.log.error "boom"',
      'after "is dirty": 1 errors were logged, 0 expected; the first: boom' },
  } do
    it("fails a test that leaves " .. name, function()
      local status, output = run(([[
        require("spec.support.clean_loop").patience = 3
        it("is dirty", function() %s end)
      ]]):format(case[1]))
      assert.equal(1, status, output)
      assert.truthy(output:find(case[2], 1, true), output)
    end)
  end
end)
