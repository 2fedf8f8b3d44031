-- The examples of the key-value and of the object store, run as a user runs them.
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local testing = require "lunats.testing"

local function run(path)
  return process.spawn { process.lunats(), "run", "--server", testing.server_url(), path }
end

local function ask(subject, body) return assert(app.request(subject, body)).data end

local function refused(status, subject, body)
  local reply, err = app.request(subject, body)
  assert.is_nil(reply)
  assert.equal("service_error", err.code)
  assert.equal(status, err.status)
end

describe("examples/kv_config.lua", function()
  local service, bucket
  setup(function()
    bucket = assert(app.js.create_key_value { bucket = "shop_settings", history = 5 })
    assert(bucket:put("currency", '"USD"'))
    service = run "examples/kv_config.lua"
    service:expect "kv_config: started"
  end)
  teardown(function()
    assert.equal(0, service:stop())
    assert.is_nil(service:output():match "[^\n]* ERROR [^\n]*")
    process.close_all()
    app.js.delete_key_value "shop_settings"
  end)

  it("starts with what the bucket says, and defaults for the rest", function()
    assert.same({ cents = 1000, currency = "USD" }, ask("shop.price", { cents = 1000 }))
  end)

  it("follows each change, whoever makes it", function()
    assert.truthy(ask("shop.set", { key = "discount", value = 0.1 }).revision)
    eventually("the discount", function()
      return ask("shop.price", { cents = 1000 }).cents == 900
    end)
    assert(bucket:put("discount", "0.25"))
    eventually("the discount", function()
      return ask("shop.price", { cents = 1000 }).cents == 750
    end)
    assert(bucket:delete "discount")
    eventually("the default", function()
      return ask("shop.price", { cents = 1000 }).cents == 1000
    end)
  end)

  it("refuses wrong settings", function()
    refused(404, "shop.set", { key = "colour", value = 1 })
    refused(422, "shop.set", { key = "discount", value = 2 })
    refused(400, "shop.price", { cents = "a" })
    assert(bucket:put("discount", "no json"))
    service:expect "setting refused"
    assert(bucket:put("colour", "1"))
    service:expect "unknown setting"
    assert.equal("number", type(ask("shop.settings").discount))
  end)
end)

describe("examples/object_store.lua", function()
  local service
  setup(function()
    service = run "examples/object_store.lua"
    service:expect "object_store: started"
  end)
  teardown(function()
    assert.equal(0, service:stop())
    assert.is_nil(service:output():match "[^\n]* ERROR [^\n]*")
    process.close_all()
    app.js.delete_object_store "reports"
  end)

  it("makes and reads reports larger than a message", function()
    local report = ask("reports.make", { name = "big", rows = 300000 })
    assert.is_true(report.size > 3000000)
    assert.equal("SHA-256=", report.digest:sub(1, 8))
    assert.same({ rows = 300000, sum = 300000 * 300001 // 2 },
      ask("reports.sum", { name = "big" }))
    assert.equal(0, ask("reports.make", { name = "empty", rows = 0 }).size)
    assert.same({ rows = 0, sum = 0 }, ask("reports.sum", { name = "empty" }))
    assert.same({ "big", "empty" }, { table.unpack(ask "reports.list") })
    service:expect "report is there.-name=big"
  end)

  it("tells what is wrong", function()
    refused(404, "reports.sum", { name = "none" })
    refused(400, "reports.sum", {})
    refused(400, "reports.make", { name = "x", rows = "many" })
  end)
end)
