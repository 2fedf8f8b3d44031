---A process whose handlers compute while more and more messages come: it still does all else.
local admin = require "spec.support.admin"
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local testing = require "lunats.testing"

after_each(process.close_all)

---Messages that take far longer than a turn of the loop.
local MESSAGES = 150
local OTHER = 'app.listen("spec.aside", function() return 1 end)'
local SOURCE = [[
  app.listen("spec.busy", { name = "busy", concurrency = CONCURRENCY }, function()
    local till = os.clock() + 0.02
    while os.clock() < till do end
  end)
]]

for _, concurrency in ipairs { "256", "1" } do
  describe("a service that computes, with concurrency " .. concurrency .. ",", function()
    it("answers the admin port, and other services of its process work", function()
      local other = process.write("other.lua", OTHER)
      local child = process.run(SOURCE:gsub("CONCURRENCY", concurrency),
        { "--admin", "127.0.0.1:0", "--drain-timeout", "0", other })
      local url = admin.url(child)
      admin.expect_ready(url, 200)
      local conn = assert(app.connect { server = testing.server_url(), connect_timeout = 15 })
      finally(function() conn.close() end)
      for _ = 1, MESSAGES do assert(conn.publish("spec.busy", 1)) end
      assert(conn.flush())
      local function handled()
        local _, body = admin.get(url, "/metrics")
        return tonumber(body:match 'seconds_count{service="svc",endpoint="busy"} (%d+)')
      end
      eventually("the first of them", function() return handled() > 0 end)
      assert(conn.request("spec.aside", 1, { timeout = 15 }))
      assert.equal(200, (admin.get(url, "/livez")))
      local said = assert(conn.request("$SRV.STATS.svc", "", { timeout = 15 }))
      assert.is_true(said.data.endpoints[1].num_requests < MESSAGES)
      assert.is_true(handled() < MESSAGES)
      eventually("all of them", function() return handled() == MESSAGES end, 60)
      assert.equal(0, child:stop())
    end)
  end)
end

describe("a service with more than it can do in front of it", function()
  ---A connection on which it has got all of them.
  local function flood(subject)
    local conn = assert(app.connect { server = testing.server_url(), connect_timeout = 15 })
    finally(function() conn.close() end)
    for _ = 1, MESSAGES do assert(conn.publish(subject, 1)) end
    assert(conn.flush())
    return conn
  end

  for name, work in pairs {
    ["computes"] = "",
    ["has waited"] = "app.sleep(0.1)",
  } do
    it("says how it is before it goes on, where it " .. name, function()
      local child = process.run(([[
        app.listen("spec.busy", function()
          %s
          local till = os.clock() + 0.02
          while os.clock() < till do end
        end)
      ]]):format(work), { "--drain-timeout", "0" })
      child:expect "started"
      local conn = flood "spec.busy"
      for _, verb in ipairs { "PING", "INFO", "STATS", "STATS" } do
        local said = assert(conn.request("$SRV." .. verb .. ".svc", "", { timeout = 15 })).data
        if verb == "STATS" then
          assert.is_true(said.endpoints[1].num_requests < MESSAGES / 2)
        end
      end
      assert.equal(0, child:stop())
    end)
  end

  it("takes orders before it goes on", function()
    local child = process.run([[
      app.listen("spec.busy", function()
        local till = os.clock() + 0.02
        while os.clock() < till do end
      end)
    ]], { "--control", "--drain-timeout", "0" })
    child:expect "started"
    local conn = flood "spec.busy"
    local id = assert(conn.request("$SRV.PING.svc", "", { timeout = 15 })).data.id
    local level = assert(conn.request("lunats.control.svc." .. id .. ".log_level", "debug",
      { timeout = 15 }))
    assert.truthy(level)
    local said = assert(conn.request("$SRV.STATS.svc", "", { timeout = 15 })).data
    assert.is_true(said.endpoints[1].num_requests < MESSAGES / 2)
    assert.equal(0, child:stop())
  end)
end)
