---Scripts that never let go of the processor, beside another one in the same process.
local process = require "spec.support.process"
local testing = require "lunats.testing"

after_each(process.close_all)

local NEIGHBOUR = [[
  app.config { name = "neighbour" }
  app.listen("spec.neighbour", function()
    app.sleep(0.001) -- so its turn comes twice
    return { here = true }
  end)
]]

local WORK = [[
  app.config { name = "busy" }
  local function work(seconds)
    local till = os.clock() + seconds
    while os.clock() < till do end
  end
]]

local scripts = {
  ["hundreds of fibers that compute and sleep for no time"] = [[
    app.on_start(function()
      for _ = 1, 400 do
        app.spawn(function()
          while true do
            work(0.05)
            app.sleep(0)
          end
        end)
      end
    end)
  ]],
  ["fibers that wait for each other"] = [[
    app.on_start(function()
      app.spawn(function() while true do app.spawn(work, 0.001):await() end end)
    end)
  ]],
  ["hundreds of timers that compute"] = [[
    for _ = 1, 300 do app.timer(0.001, function() work(0.05) end) end
  ]],
  ["fibers that start fibers"] = [[
    local function go()
      work(0.001)
      app.spawn(go)
    end
    app.on_start(function() app.spawn(go) end)
  ]],
}

for name, source in pairs(scripts) do
  describe("a service of " .. name, function()
    it("does not keep another one of its process waiting", function()
      local neighbour = process.write("neighbour.lua", NEIGHBOUR)
      local child = process.run(WORK .. source, { "--drain-timeout", "0", neighbour })
      child:expect "neighbour: started"
      local conn = assert(app.connect { server = testing.server_url(), connect_timeout = 60 })
      finally(function() conn.close() end)
      for _ = 1, 3 do
        local asked = {}
        for i = 1, 50 do
          asked[i] = app.spawn(conn.request, "spec.neighbour", 1, { timeout = 60 })
        end
        for i = 1, 50 do assert.is_true(assert(asked[i]:await()).data.here) end
      end
      assert.is_nil(child:status()) -- it still runs
    end)
  end)
end
