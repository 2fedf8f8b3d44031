-- Ten lines of spec find each kind of bug, and the message points at the line of the service.
local process = require "spec.support.process"

local SPEC = [[
local testing = require "lunats.testing"
describe("the service", function()
  it("works", function()
    local svc = testing.start(%q, { clock = %q, drain_timeout = 0.1 })
    finally(function() svc:stop() end)
    %s
  end)
end)
]]

local bugs = {
  { "raises", [[
app.listen("a", function(msg)
  local t
  return t.x
end)
]], 'assert(svc:request("a"))', "service.lua:3: attempt to index a nil value" },
  { "raises where nobody waits for an answer", [[
app.listen("event", function(msg)
  app.publish("done", "")
  error "forgotten"
end)
]], 'svc:publish("event", "x") svc:expect("done")', "service.lua:3: forgotten" },
  { "answers wrongly", [[
app.listen("sum", function(msg) return { sum = msg.data.a - msg.data.b } end)
]], 'assert.equal(5, assert(svc:request("sum", { a = 2, b = 3 })).data.sum)', "Expected" },
  { "never answers", [[
local x = 1
app.listen("a", function(msg) x = 2 end)
]], 'assert(svc:request("a", "", { timeout = 1.5 }))', "service.lua:2) has not answered" },
  { "listens to another subject", [[
app.listen("sum", print)
app.listen("stock.get", print)
]], 'assert(svc:request("stok.get"))',
    "the service listens to sum, stock.get (did you mean 'stock.get'?)" },
  { "calls what does not exist", [[
app.listen("a", function(msg)
  return app.reqest("b")
end)
]], 'assert(svc:request("a"))',
    "service.lua:2: attempt to call a nil value (field 'reqest'): app has no 'reqest' "
    .. "(did you mean 'request'?)" },
  { "is tested with what does not exist", "app.listen('a', print)",
    "app.js.publsh('a')", "app.js has no 'publsh' (did you mean 'publish'?)" },
  { "waits for ever", [[
app.listen("a", function(msg)
  app.sleep(1e6)
end)
]], 'assert(svc:request("a", "", { timeout = 1.5 }))', "service.lua:2: in function" },
  { "leaks a fiber", [[
app.listen("a", function(msg)
  app.spawn(function()
    app.sleep(1e6)
  end)
  return "ok"
end)
]], 'assert(svc:request("a")) assert.same({}, svc:fibers())', "service.lua:3: in function" },
  { "has a timer that dies", [[
app.timer(60, { delay = 60 }, function()
  error "out of paper"
end)
]], "svc:advance(120)", "service.lua:2: out of paper", clock = "manual" },
  { "has a task that dies", [[
app.task(function()
  app.sleep(5)
  error "task over"
end)
]], "svc:advance(6)", "service.lua:3: task over", clock = "manual" },
  { "sends bad JSON", [[
app.listen("a", function(msg)
  app.publish("b", "{oops")
end)
]], 'svc:publish("a", "x") assert.equal(1, svc:expect("b").data.x)',
    "b: the message is not JSON" },
  { "believes what it gets", [[
app.listen("a", function(msg) return msg.data.x end)
]], 'assert(svc:request("a", "{oops"))', "a: the message is not JSON" },
}

describe("a service that", function()
  after_each(process.close_all)

  for _, bug in ipairs(bugs) do
    it(bug[1] .. " is caught with a message that points at it", function()
      local spec = SPEC:format(bug[2], bug.clock or "real", bug[3])
      local path = process.write("bug_spec.lua", spec)
      local status, output = process.lunats_to_end { "test", "--timeout", "20", path }
      assert.equal(1, status, output)
      assert.truthy(output:find(bug[4], 1, true), output)
    end)
  end
end)
