-- What the log says while there is no connection: why, and each reason once.
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local testing = require "lunats.testing"

local SCRIPT = 'app.listen("spec.outage", function() return 1 end)'

after_each(process.close_all)

local function start(...)
  return process.spawn { process.lunats(), "run", process.write("svc.lua", SCRIPT), ... }
end

local function with_password(port, password)
  return process.server { port = port, args = { "--user", "alice", "--pass", password } }
end

describe("the log", function()
  it("says with --retry why nobody is there, once", function()
    local server = process.server()
    server:stop()
    local child = start("--retry", "-s", server.url)
    child:expect "waiting for a server at nats://127%.0%.0%.1:%d+: Connection refused"
    process.server { port = server.port }
    child:expect "started, connected to"
    assert.equal(1, child:count "Connection refused", child:output())
    assert.equal(0, child:count "ERROR", child:output())
    assert.equal(0, child:stop())
  end)

  it("says why a lost connection does not come back, each reason once", function()
    local server = with_password(nil, "one")
    local child = start("-s", ("nats://alice:one@127.0.0.1:%d"):format(server.port))
    child:expect "started, connected to"
    server:stop()
    child:expect "connection lost"
    child:expect "waiting for a server at nats://127%.0%.0%.1:%d+: Connection refused"
    server = with_password(server.port, "two")
    child:expect "waiting for a server at nats://127%.0%.0%.1:%d+: [^\n]*password"
    server:expect "authentication error.*authentication error" -- it has tried once more
    server:stop()
    with_password(server.port, "one")
    child:expect "connected again to"
    assert.equal(1, child:count "Connection refused", child:output())
    local _, told = child:output():gsub("waiting for a server[^\n]*password", "")
    assert.equal(1, told, child:output())
    assert.equal(0, child:count "one@", child:output())
    assert.equal(0, child:stop())
  end)

  it("says a reason again in the next outage", function()
    local server = process.server()
    local child = start("-s", server.url)
    child:expect "started, connected to"
    for i = 1, 2 do
      server:stop()
      child:expect(("connection lost.*"):rep(i) .. "Connection refused")
      server = process.server { port = server.port }
      child:expect(("connected again to.*"):rep(i))
    end
    assert.equal(2, child:count "Connection refused", child:output())
    assert.equal(0, child:stop())
  end)

  it("says that no descriptors are left, and leaves nothing behind", function()
    local broker = testing.broker()
    finally(function() broker:stop() end)
    local child = process.run("app.listen('outage.x', print)", {}, { servers = { broker.url } })
    child:expect "started, connected"
    for spare = -2, 1 do
      local outages = child:count "connected again"
      broker:kill()
      local refused = child:count "Too many open files"
      eventually("the loss", function() return child:count "connection lost" > outages end)
      local _, open = core.process({ "ls", ("/proc/%d/fd"):format(child.pid) }, true):wait()
      local _, count = open:gsub("\n", "")
      local function limit(soft)
        assert(os.execute(("prlimit --pid %d --nofile=%d:"):format(child.pid, soft)))
      end
      limit(count + spare)
      broker:restart()
      eventually("the reason", function()
        return child:count "Too many open files" > refused
      end)
      limit(256)
      eventually("the end", function() return child:count "connected again" > outages end)
    end
    assert.equal(0, child:stop())
  end)

  it("gives the advice that fits: a wrong password needs no other server", function()
    local server = with_password(nil, "one")
    local child = start("-s", ("nats://alice:two@127.0.0.1:%d"):format(server.port))
    assert.equal(3, child:wait())
    assert.equal(1, child:count "password", child:output())
    assert.equal(0, child:count "--embedded", child:output())
  end)
end)
