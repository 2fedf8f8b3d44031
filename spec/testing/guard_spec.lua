-- A test run that is green although something failed: each case here was one.
local process = require "spec.support.process"

local HEAD = [[
local testing = require "lunats.testing"
local SERVICE = [=[
app.config { name = "svc" }
app.listen("boom", function() error "bug in a handler" end)
app.listen("later", function()
  app.spawn(function() app.sleep(0.01) error "bug in a fiber" end)
  return "ok"
end)
app.listen("ok", function() return "ok" end)
]=]
local BAD_END = SERVICE .. "app.on_stop(function() error 'bug in on_stop' end)\n"
local function start(source, opts) return testing.start(source or SERVICE, opts) end
]]

---Runs the text as a spec, in a folder without our .busted; returns the exit status, what
---busted says of each test and block - { ok =, text = } by name - and the output.
local function run(text)
  local folder = process.write("x_spec.lua", HEAD .. text):match "^(.*)/"
  local status, output = process.lunats_to_end({ "test", "--timeout", "20", "-o", "TAP",
    "x_spec.lua" }, { cwd = folder })
  local results, last = {}, nil
  for line in output:gmatch "[^\n]+" do
    local word, name = line:match "^(.-ok) %d+ %- (.*)$"
    if name then
      last = { ok = word == "ok", text = "" }
      results[name] = last
    elseif last and line:sub(1, 1) == "#" then
      last.text = last.text .. line:sub(3) .. "\n"
    end
  end
  return status, results, output
end

---Each one fails; `fails` is the name of what does, `says` stands in its message.
local CASES = {
  -- a service under test
  { "an error of the service in on_stop, in after_each", fails = "d after_each",
    says = "a service failed: on_stop: service.lua:%d+: bug in on_stop", [[
    describe("d", function()
      local svc
      before_each(function() svc = start(BAD_END) end)
      after_each(function() svc:stop() end)
      it("one", function() end)
    end)]] },
  { "an error of the service in on_stop, in finally", fails = "one",
    says = "a service failed: on_stop: service.lua:%d+: bug in on_stop", [[
    it("one", function()
      local svc = start(BAD_END)
      finally(function() svc:stop() end)
    end)]] },
  { "an error of the service in on_stop, in teardown", fails = "d teardown",
    says = "bug in on_stop", [[
    describe("d", function()
      local svc
      setup(function() svc = start(BAD_END) end)
      teardown(function() svc:stop() end)
      it("one", function() end)
    end)]] },
  { "an error of the service in before_each", fails = "d before_each",
    says = "a service failed: listener boom: service.lua:%d+: bug in a handler", [[
    describe("d", function()
      local svc
      before_each(function() svc = start() svc:publish("boom", "") end)
      after_each(function() svc:stop() end)
      it("one", function() end)
    end)]] },
  { "an error of the service in setup", fails = "d setup", says = "bug in a handler", [[
    describe("d", function()
      local svc
      setup(function() svc = start() svc:publish("boom", "") end)
      teardown(function() svc:stop() end)
      it("one", function() end)
    end)]] },
  { "an error of the service in after_each", fails = "d after_each",
    says = "bug in a handler", [[
    describe("d", function()
      local svc
      setup(function() svc = start() end)
      teardown(function() svc:stop() end)
      after_each(function() svc:publish("boom", "") end)
      it("one", function() end)
    end)]] },
  { "an event whose handler fails, at the end of a test", fails = "one",
    says = "bug in a handler", [[
    local svc
    setup(function() svc = start() end)
    teardown(function() svc:stop() end)
    it("one", function() svc:publish("boom", "") end)]] },
  { "a fiber of the service that fails during svc:stop()", fails = "one",
    says = "a service failed: service.lua:%d+: bug in a fiber", [[
    it("one", function()
      local svc = start()
      assert(svc:request "later")
      svc:stop()
    end)]] },
  { "an error after the one that was expected", fails = "one", says = "bug in a handler", [[
    it("one", function()
      local svc = start()
      finally(function() svc:stop() end)
      svc:request("boom")
      assert.equal(1, #svc:errors())
      svc:request("boom")
    end)]] },
  { "a stub with an assertion that fails", fails = "one",
    says = "a service failed: stub of b: .*Expected objects to be equal", [[
    it("one", function()
      local svc = start("app.listen('a', function() app.request('b', 1) return 1 end)\n",
        { stubs = { b = function(msg) assert.equal(2, msg.data) end } })
      finally(function() svc:stop() end)
      assert(svc:request "a")
    end)]] },
  -- another fiber of the spec
  { "an assertion in app.spawn", fails = "one",
    says = "another fiber of the spec failed: .*x_spec.lua:%d+: Expected objects", [[
    it("one", function() app.spawn(function() assert.equal(1, 2) end) end)]] },
  { "an assertion in a listener of the spec", fails = "one",
    says = "another fiber of the spec failed: listener x.y: .*Expected objects", [[
    it("one", function()
      local handle = app.listen("x.y", function(msg) assert.equal("b", msg.raw) end)
      finally(function() handle:stop() end)
      app.publish("x.y", "a")
    end)]] },
  { "an assertion in a timer of the spec", fails = "one", says = "Expected objects", [[
    it("one", function()
      local handle = app.timer(10, function() assert.equal(1, 2) end)
      finally(function() handle:stop() end)
    end)]] },
  { "an assertion in a task of the spec", fails = "one", says = "Expected objects", [[
    it("one", function() app.task(function() assert.equal(1, 2) end) end)]] },
  { "an error of another fiber in setup", fails = "d setup", says = "x_spec.lua:%d+: lost", [[
    describe("d", function()
      setup(function() app.spawn(function() error "lost" end) end)
      it("one", function() end)
    end)]] },
  -- the end of the process
  { "os.exit in a test", fails = "one", says = "x_spec.lua:%d+: os.exit%(0%) was called", [[
    it("one", function() os.exit(0) end)]] },
  { "os.exit in a test that catches the error", fails = "one",
    says = "x_spec.lua:%d+: os.exit%(%) was called", [[
    it("one", function() pcall(os.exit) end)]] },
  { "os.exit in another fiber", fails = "one", says = "os.exit%(true%) was called", [[
    it("one", function() app.spawn(function() os.exit(true) end) end)]] },
  { "os.exit outside of all tests", fails = "suite .*x_spec.lua",
    says = "os.exit%(0%) was called", [[
    it("one", function() end)
    os.exit(0)]] },
  { "a service that calls os.exit", fails = "one",
    says = "a service failed: service.lua:1: os.exit%(3%) was called", [[
    it("one", function()
      local svc = start "app.listen('a', function() os.exit(3) end)\n"
      finally(function() svc:stop() end)
      svc:publish("a", "")
    end)]] },
  -- what nobody stops
  { "a service that a test does not stop", fails = "one after_each",
    says = 'nobody has stopped the service "svc" of .*x_spec.lua:%d+: call svc:stop%(%)', [[
    it("one", function() testing.start(SERVICE) end)]] },
  { "a service of before_each that no after_each stops", fails = "d one after_each",
    says = "nobody has stopped", [[
    describe("d", function()
      before_each(function() testing.start(SERVICE) end)
      it("one", function() end)
    end)]] },
  { "a service of setup that no teardown stops", fails = "d teardown",
    says = "nobody has stopped", [[
    describe("d", function()
      setup(function() testing.start(SERVICE) end)
      it("one", function() end)
    end)]] },
}

describe("lunats test fails because of", function()
  after_each(process.close_all)

  for _, case in ipairs(CASES) do
    it(case[1], function()
      local status, results, output = run(case[2])
      assert.equal(1, status, output)
      local result
      for name, one in pairs(results) do
        if not one.ok and name:find("^" .. case.fails .. "$") then result = one end
      end
      assert.truthy(result, output)
      assert.matches(case.says, result.text)
    end)
  end
end)

describe("lunats test", function()
  after_each(process.close_all)

  it("shows what the service said when an assertion fails, and only the assertion", function()
    local status, results, output = run [[
      it("one", function()
        local svc = testing.start(SERVICE)
        svc:publish("boom", "")
        svc:request("ok")
        assert.equal("seen", nil)
        svc:stop()
      end)]]
    assert.equal(1, status, output)
    assert.matches("Expected objects to be equal.*a service failed: listener boom: .*bug in a",
      results.one.text)
    assert.is_nil(results["one after_each"], output)
  end)

  it("says only once what has failed", function()
    local _, results, output = run [[
      it("one", function()
        local svc = start()
        finally(function() svc:stop() end)
        assert(svc:request "boom")
      end)]]
    local _, count = results.one.text:gsub("listener boom: ", "")
    assert.equal(1, count, output)
  end)

  it("passes when a service ends itself without a failure, or was expected to", function()
    local status, _, output = run [[
      it("one", function()
        local svc = start "app.listen('a', function() os.exit(0) end)\n"
        svc:publish("a", "")
        assert.equal(0, svc:stop())
      end)
      it("two", function()
        local svc = start "app.listen('a', function() os.exit(3) end)\n"
        svc:publish("a", "")
        repeat app.sleep(0.005) until svc:errors()[1]
        assert.equal(3, svc:stop())
        assert.same({ "service.lua:1: os.exit(3) was called: stopping" }, svc:errors())
      end)]]
    assert.equal(0, status, output)
  end)

  it("goes on with the next test after os.exit", function()
    local status, results, output = run [[
      it("one", function() os.exit(0) end)
      it("two", function() end)]]
    assert.equal(1, status)
    assert.is_true(results.two and results.two.ok, output)
  end)

  it("starts each test without the services of the one before", function()
    local _, results, output = run [[
      local COUNTER = 'local n = 0 app.listen("next", function() n = n + 1 return n end)\n'
      for i = 1, 3 do
        it("test " .. i, function()
          assert.equal(1, assert(testing.start(COUNTER):request "next").data)
        end)
      end]]
    for i = 1, 3 do assert.is_true(results["test " .. i].ok, output) end
  end)

  it("passes when expected errors were asked for", function()
    local status, _, output = run [[
      it("of a service", function()
        local svc = testing.start(SERVICE)
        finally(function() svc:stop() end)
        svc:request("boom")
        assert.equal(1, #svc:errors())
      end)
      it("of other fibers", function()
        app.spawn(function() error "on purpose" end)
        app.sleep(0)
        local errors = testing.errors()
        assert.equal(1, #errors)
        assert.matches("x_spec.lua:%d+: on purpose", errors[1])
        assert.same({}, testing.errors())
      end)
      it("of code that wants to exit", function()
        assert.error_matches(function() os.exit(3) end, "os.exit%(3%) was called")
        assert.equal(1, #testing.errors())
      end)]]
    assert.equal(0, status, output)
  end)

  it("watches the runs of busted --lua=lunats that use lunats.testing", function()
    local folder = process.write("x_spec.lua", HEAD .. [[
      it("one", function() app.spawn(function() error "lost" end) end)]]):match "^(.*)/"
    local child = process.spawn({ "busted", "--lua=" .. process.lunats(), "x_spec.lua" },
      { cwd = folder })
    assert.equal(1, child:wait())
    assert.matches("another fiber of the spec failed: .*lost", child:output())
  end)
end)
