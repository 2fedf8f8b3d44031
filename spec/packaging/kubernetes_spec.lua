-- The example for Kubernetes: its script runs with its arguments, on files as a node lays them
-- out, and a change of the ConfigMap is a reload.
local eventually = require "spec.support.eventually"
local lfs = require "lfs"
local process = require "spec.support.process"
local read = require "spec.support.read"
local testing = require "lunats.testing"

local example = read "packaging/kubernetes/lunats.yaml"

after_each(process.close_all)

---The ConfigMap as files: orders.lua -> ..data/orders.lua, ..data -> ..VERSION.
local function lay_out(folder, version, text)
  assert(lfs.mkdir(("%s/..%s"):format(folder, version)))
  local file = assert(io.open(("%s/..%s/orders.lua"):format(folder, version), "w"))
  file:write(text)
  file:close()
  assert(lfs.link(".." .. version, folder .. "/..data_tmp", true))
  assert(os.rename(folder .. "/..data_tmp", folder .. "/..data"))
end

local function script()
  local text = example:match "\n  orders%.lua: |\n(.-)\n%-%-%-\n"
  return (("\n" .. text):gsub("\n    ", "\n"):sub(2))
end

describe("the example for Kubernetes", function()
  it("serves, and reloads when its ConfigMap changes", function()
    local folder = process.path "services"
    assert(lfs.mkdir(folder))
    lay_out(folder, "2026_1", script())
    assert(lfs.link("..data/orders.lua", folder .. "/orders.lua", true))
    local command = { process.lunats() }
    local values = { ["0.0.0.0:8222"] = "127.0.0.1:0", ["/services"] = folder, ["2"] = "0.2" }
    for word in example:match("args: (%b[])"):sub(2, -2):gmatch "[^,%s]+" do
      word = word:gsub('"', "")
      command[#command + 1] = values[word] or word
    end
    local child = process.spawn(command, { env = { LUNATS_SERVER = testing.server_url() } })
    child:expect "started, connected"
    assert.is_true(assert(app.request("orders.ping", "")).data.pong)
    lay_out(folder, "2026_2", (script():gsub("pong = true", "pong = 2")))
    eventually("the new version", function()
      local reply = app.request("orders.ping", "")
      return reply and reply.data.pong == 2
    end)
    assert.equal(0, child:stop())
    assert.equal(1, child:count '"reloaded')
  end)

  it("has more time to stop than lunats takes", function()
    local grace = tonumber(example:match "terminationGracePeriodSeconds: (%d+)")
    local drain = tonumber(example:match '%-%-drain%-timeout, "(%d+)"')
    assert.is_true(grace > drain + 10)
  end)
end)
