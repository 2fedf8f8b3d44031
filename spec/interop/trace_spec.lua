-- A trace that goes through services of two languages and a stream, as a collector sees it.
local collectors = require "spec.support.collector"
local eventually = require "spec.support.eventually"
local lfs = require "lfs"
local own = require "spec.support.own"
local process = require "spec.support.process"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

local NPM = lfs.currentdir() .. "/build/interop/npm"
local found = lfs.attributes(NPM .. "/node_modules/@nats-io/transport-node", "mode") ~= nil
local test = found and it or pending

describe("a trace of lunats and nats.js", function()
  after_each(function()
    own.close()
    process.close_all()
  end)

  test("is one tree, through requests by its parents, through a stream by a link", function()
    local name, stream = unique "chain", own.stream "trace"
    local collector = collectors.start()
    local function run(source, ...)
      process.run(source:format(...), { "--otlp", collector.url },
        { env = { OTEL_BSP_SCHEDULE_DELAY = "50" } }):expect "started, connected to"
    end
    run([[app.listen("%s.a", function(msg) return app.request("%s.node", msg.data) end)]],
      name, name)
    run([[app.listen("%s.b", function(msg) return app.js.publish("%s.x", msg.data) end)]],
      name, stream)
    run([[app.js.pull_subscribe("%s.>", { durable = "d" }):consume(function() end)]], stream)
    process.spawn({ "node", "spec/interop/trace.cjs", NPM, testing.server_url(), collector.url,
      name .. ".node", name .. ".b" }):expect "ready"

    assert.equal(1, assert(app.request(name .. ".a", 7)).data.seq)
    eventually("six spans", function() return #collector:spans() == 6 end)
    local spans, by_name = collector:spans()
    local chain = { "process " .. name .. ".a", "request " .. name .. ".node", "node relay",
      "process " .. name .. ".b", "publish " .. stream .. ".x", "process " .. stream }
    local root = by_name[chain[1]]
    assert.is_nil(root.parentSpanId)
    for i = 2, 5 do
      assert.equal(by_name[chain[i - 1]].spanId, by_name[chain[i]].parentSpanId, chain[i])
      assert.equal(root.traceId, by_name[chain[i]].traceId)
    end
    local stored = by_name[chain[6]]
    assert.is_nil(stored.parentSpanId)
    assert.same({ { traceId = root.traceId, spanId = by_name[chain[5]].spanId } }, stored.links)
    assert.equal(6, #spans)
  end)
end)
