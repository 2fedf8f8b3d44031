-- Passwords and tokens in URLs: nothing that lunats writes shows them.
local process = require "spec.support.process"

local SECRET = "s3cret"
local SCRIPT = [[
  app.config { name = "secrets" }
  app.listen("spec.secrets", function() end)
  app.on_start(function()
    print(app.json.encode(app.nats.server_info and app.nats.server_info() or {}))
    print(app.nats.connected_url)
  end)
]]

after_each(process.close_all)

---A server that wants a password; stopped again when its port is all that is needed.
local function server()
  return process.server { args = { "--user", "alice", "--pass", SECRET } }
end

local function free_port()
  local one = process.server()
  one:stop()
  return one.port
end

local function assert_secret(child)
  assert.equal(0, child:count(SECRET), child:output())
end

---Runs `lunats run` to its end.
local function run(...)
  local child = process.spawn { process.lunats(), "run", ... }
  child:wait()
  return child
end

describe("a secret in a URL is not shown", function()
  for _, format in ipairs { "text", "json" } do
    for name, url in pairs {
      ["a password"] = "nats://alice:%s@127.0.0.1:%d",
      ["a password with a slash"] = "nats://alice:%s/x@127.0.0.1:%d",
      ["a password with an @"] = "nats://alice:x@%s@127.0.0.1:%d",
      ["a token"] = "nats://%s@127.0.0.1:%d",
      ["a password without a scheme"] = "alice:%s@127.0.0.1:%d",
      ["a scheme that we do not know"] = "ws://alice:%s@127.0.0.1:%d",
      ["a port that is none"] = "nats://alice:%s@127.0.0.1:x%d",
      ["a bracket that is not closed"] = "nats://alice:%s@[::1:%d",
    } do
      it(("when nobody is there: %s, %s"):format(name, format), function()
        local path = process.write("svc.lua", SCRIPT)
        local child = run("--log-format", format, "-s", url:format(SECRET, free_port()), path)
        assert.not_equal(0, child:status())
        assert_secret(child)
      end)
    end

    it("while a server is waited for: " .. format, function()
      local url = ("nats://alice:%s@127.0.0.1:%d"):format(SECRET, free_port())
      local child = process.spawn { process.lunats(), "run", "--retry", "--log-format", format,
        "--log-level", "debug", "-s", url, process.write("svc.lua", SCRIPT) }
      child:expect "waiting for a server at nats://127%.0%.0%.1:%d+"
      child:signal "TERM"
      child:wait()
      assert_secret(child)
    end)

    it("when the password is wrong: " .. format, function()
      local url = ("nats://alice:%swrong@127.0.0.1:%d"):format(SECRET, server().port)
      assert_secret(run("--log-format", format, "-s", url, process.write("svc.lua", SCRIPT)))
    end)

    it("when the connection is made, lost and made again: " .. format, function()
      local one = server()
      local child = process.spawn { process.lunats(), "run", "--log-format", format,
        "--log-level", "debug", "-s",
        ("nats://alice:%s@127.0.0.1:%d"):format(SECRET, one.port),
        process.write("svc.lua", SCRIPT) }
      child:expect "started, connected to nats://127%.0%.0%.1:%d+"
      one:stop()
      child:expect "connection lost"
      process.server { port = one.port, args = { "--user", "alice", "--pass", SECRET } }
      child:expect "connected again to nats://127%.0%.0%.1:%d+"
      child:signal "TERM"
      child:wait()
      assert_secret(child)
    end)
  end

  it("to a script that connects a client of its own", function()
    local port = free_port()
    local child = process.spawn { process.lunats(), "lua", process.write("a.lua", ([[
      local core = require "lunats.core"
      local client, err = core.connect { servers = { "nats://alice:%s@127.0.0.1:%d" } }
      print(client, err)
    ]]):format(SECRET, port)) }
    child:wait()
    assert(child:output():find("cannot connect to nats://127.0.0.1", 1, true), child:output())
    assert_secret(child)
  end)
end)
