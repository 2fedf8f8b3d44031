-- What `cmake --install` puts somewhere works there.
local lfs = require "lfs"
local process = require "spec.support.process"
local testing = require "lunats.testing"

local prefix

setup(function()
  local build = process.lunats():match "^(.*)/[^/]*$"
  prefix = os.tmpname()
  os.remove(prefix)
  local child = process.spawn({ "cmake", "--install", build, "--prefix", "/opt/x" },
    { env = { DESTDIR = prefix } })
  assert(child:wait() == 0, child:output())
  process.close_all()
  -- Nothing may have kept where it was first.
  os.execute(("mv %s/opt/x %s/moved"):format(prefix, prefix))
end)
teardown(function() os.execute("rm -rf " .. prefix) end)
after_each(process.close_all)

local function there(path) return lfs.attributes(prefix .. "/moved/" .. path, "mode") end

describe("an installed lunats", function()
  it("consists of the program, its modules, declarations, units, pages and examples", function()
    for _, path in ipairs { "bin/lunats", "share/lunats/types/app.d.lua",
      "share/lunats/prometheus/lunats.rules.yml", "share/lunats/grafana/lunats.json",
      "lib/systemd/system/lunats@.service", "lib/systemd/system/lunats-worker@.service",
      "lib/sysusers.d/lunats.conf", "share/doc/lunats/README.md",
      "share/doc/lunats/docs/api.md", "share/doc/lunats/examples/hello.lua",
      "share/doc/lunats/examples/kubernetes/lunats.yaml" } do
      assert.equal("file", there(path), path)
    end
  end)

  it("finds its modules and declarations where it was moved", function()
    local service = process.write("svc.lua", "app.listen('spec.install', function() end)")
    local child = process.spawn { prefix .. "/moved/bin/lunats", "run", "-s",
      testing.server_url(), "--admin", "127.0.0.1:0", service }
    child:expect "admin port at http"
    assert.equal(0, child:stop())
    local folder = process.path "new"
    assert(lfs.mkdir(folder))
    child = process.spawn({ prefix .. "/moved/bin/lunats", "new", "greeter" }, { cwd = folder })
    assert.equal(0, child:wait(), child:output())
    local file = assert(io.open(folder .. "/greeter/.luarc.json"))
    local text = file:read "a"
    file:close()
    assert.truthy(text:find(prefix .. "/moved/share/lunats/types", 1, true), text)
  end)
end)
