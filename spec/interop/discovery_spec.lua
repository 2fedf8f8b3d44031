-- Services of lunats as the service API of nats.js sees them: @nats-io/services and ajv, which
-- ./dev test installs where there is npm.
local eventually = require "spec.support.eventually"
local json = require "lunats.json"
local lfs = require "lfs"
local process = require "spec.support.process"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

local NPM = lfs.currentdir() .. "/build/interop/npm"
local found = lfs.attributes(NPM .. "/node_modules/@nats-io/services", "mode") ~= nil
  and lfs.attributes(NPM .. "/node_modules/ajv", "mode") ~= nil
local test = found and it or pending

local function node(...)
  return process.spawn { "node", "spec/interop/services.cjs", NPM, testing.server_url(), ... }
end

local function lines(run)
  local list = {}
  for line in run:output():gmatch "[^\n]+" do list[#list + 1] = json.decode(line) end
  return list
end

describe("for nats.js a service", function()
  local name, svc

  before_each(function() name = unique "interop" end)
  after_each(function()
    if svc then svc:stop() end
    svc = nil
    process.close_all()
  end)

  test("is listed, described and counted, and every answer fits the schemas", function()
    svc = testing.start(([[
      app.config { name = %q, version = "1.0.0", metadata = { a = "b" } }
      app.listen(%q, { description = "a \"test\"" }, function(msg)
        return nil, { code = 404, message = "no \"order\" \t\n" }
      end)
      app.listen("%s.>", { queue = false }, print)
    ]]):format(name, name, name))
    app.request(name, "")
    local run = node("look", name)
    assert.equal(0, run:wait(60), run:output())
    local seen = lines(run)[1]
    assert.falsy(seen.error, seen.error)
    assert.equal(1, #seen.ping)
    assert.equal(name, seen.info[1].name)
    assert.equal(2, #seen.info[1].endpoints)
    assert.equal(1, seen.stats[1].endpoints[1].num_errors)
    assert.equal('404:no "order" \t', seen.stats[1].endpoints[1].last_error)
    for kind, faults in pairs(seen.faults) do
      assert.truthy(#faults >= 2, kind)
      for _, fault in ipairs(faults) do assert.equal(json.null, fault, kind) end
    end
  end)

  test("shares the work of queue group q, each request is handled once", function()
    svc = testing.start(([[
      app.config { name = %q, queue = "q" }
      app.listen(%q, function() return "lua" end)
    ]]):format(name, name))
    local run = node("serve", name, name)
    run:expect '"ready":true'
    local answers = { lua = 0, node = 0 }
    for _ = 1, 200 do
      local who = assert(app.request(name, "")).raw
      answers[who] = answers[who] + 1
    end
    run:stop()
    assert.equal(answers.node, lines(run)[2].requests)
    assert.truthy(answers.lua > 0 and answers.node > 0)
    assert.equal(answers.lua, svc.handle:listeners()[1].received)
    eventually("the other one to be gone", function()
      return assert(app.request(name, "")).raw == "lua"
    end)
  end)
end)
