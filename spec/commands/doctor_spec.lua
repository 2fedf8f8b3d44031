-- lunats doctor: what is there, what is missing, and what to do about it.
local core = require "lunats.core"
local lfs = require "lfs"
local json_in = require "spec.support.json_in"
local own = require "spec.support.own"
local process = require "spec.support.process"
local testing = require "lunats.testing"

after_each(function()
  process.close_all()
  own.close()
end)

---@return integer status
---@return table<string, { state: string, text: string }> findings  by what they are about
local function doctor(env, ...)
  local child = process.spawn({ process.lunats(), "doctor", "--json", ... }, { env = env })
  local status, findings = child:wait(), {}
  for _, one in ipairs(json_in(child:output())) do findings[one.about] = one end
  return status, findings
end

---Finds all programs but those of a name.
local function path_without(name)
  local folder = process.path "bin"
  assert(os.execute(("mkdir %q"):format(folder)))
  for path in os.getenv("PATH"):gmatch "[^:]+" do
    assert(os.execute(("ln -s %q/* %q/ 2>/dev/null; rm -f %q/%s"):format(path, folder, folder,
      name)))
  end
  return folder
end

describe("lunats doctor", function()
  it("finds nothing wrong where nothing is", function()
    local broker = own.keep(testing.broker())
    local status, found = doctor(nil, "-s", broker.url)
    for about, one in pairs(found) do
      assert.is_true(one.state ~= "bad", about .. ": " .. one.text)
    end
    assert.equal(0, status)
    assert.matches("nats%-server 2%.%d+.* answers in [%d.]+ ms", found.server.text)
    assert.matches("0 streams", found.JetStream.text)
    assert.matches("OpenSSL", found.lunats.text)
  end)

  it("prints a line for each, and no password", function()
    local broker = own.keep(testing.broker())
    local status, output = process.lunats_to_end { "doctor", "-s", broker.url }
    assert.equal(0, status, output)
    assert.matches("ok    lunats", output)
    local password = broker.url:match ":([^:@]+)@"
    if password then assert.is_nil(output:find(password, 1, true)) end
  end)

  it("says what to do where no server is", function()
    local status, found = doctor(nil, "-s", "nats://127.0.0.1:" .. core.free_port())
    assert.equal(1, status)
    assert.equal("bad", found.server.state)
    assert.matches("Connection refused.*nats%-server %-js.*%-%-server URL", found.server.text)
    assert.is_nil(found.JetStream)
  end)

  it("advises nobody to start a server where one is that cannot be used", function()
    local _, found = doctor(nil, "-s", (testing.server_url():gsub("^nats", "tls")))
    assert.equal("bad", found.server.state)
    assert.matches("offers no TLS.*nothing was sent$", found.server.text)
  end)

  it("goes where the environment says", function()
    local status, found = doctor { NATS_URL = "nats://127.0.0.1:" .. core.free_port() }
    assert.equal(1, status)
    assert.matches("127.0.0.1:%d+", found.server.text)
  end)

  it("says what to do about a wrong password", function()
    local broker = own.keep(testing.broker {
      config = 'authorization { users = [ { user: "a", password: "right" } ] }',
    })
    local status, found = doctor(nil, "-s", broker.url, "--user", "a", "--password", "wrong")
    assert.equal(1, status)
    assert.matches("%-%-user, %-%-token", found.server.text)
    assert.is_nil(found.server.text:find("wrong", 1, true))
  end)

  it("notes that there is no JetStream", function()
    local broker = own.keep(testing.broker { config = [[
      accounts { A { users = [ { user: a, password: b } ] } }]] })
    local status, found = doctor(nil, "-s", broker.url, "--user", "a", "--password", "b")
    assert.equal(0, status)
    assert.equal("note", found.JetStream.state)
    assert.matches("not enabled", found.JetStream.text)
  end)

  it("tells what a user may not do", function()
    local broker = own.keep(testing.broker { config = [[
      authorization { users = [
        { user: a, password: b, permissions: { subscribe: { deny: ["$SRV.>"] } } } ] }]] })
    local status, found = doctor(nil, "-s", broker.url, "--user", "a", "--password", "b")
    assert.equal(1, status)
    assert.matches("%$SRV", found.permissions.text)
    assert.matches("lunats check %-%-permissions", found.permissions.text)
  end)

  it("notes programs that are missing, and says what to install", function()
    local env = { NATS_SERVER = "/no/such/nats-server", LUA_PATH = "/no/such/?.lua" }
    local status, found = doctor(env, "-s", testing.server_url())
    assert.equal(0, status)
    for name, package in pairs { ["nats-server"] = "nats-server", busted = "lua-busted" } do
      assert.equal("note", found[name].state)
      assert.matches("apt-get install " .. package, found[name].text, 1, true)
    end
  end)

  it("finds nats-server where lunats dev does", function()
    if not lfs.attributes "/usr/sbin/nats-server" then
      return pending "needs /usr/sbin/nats-server"
    end
    local env = { PATH = path_without "nats-server" }
    local _, found = doctor(env, "-s", testing.server_url())
    assert.equal("ok", found["nats-server"].state)
  end)

  it("takes no arguments", function()
    local status, output = process.lunats_to_end { "doctor", "orders.lua" }
    assert.equal(2, status)
    assert.matches("takes options only", output)
  end)
end)
