-- The private nats-server of `dev` and `test`: other users of the machine reach its port.
local own = require "spec.support.own"
local process = require "spec.support.process"
local testing = require "lunats.testing"

after_each(own.close)
after_each(process.close_all)

---The password in a URL, and the URL without.
local function split(url)
  local scheme, password, host = url:match "^(%a+://)lunats:(%w+)@(127%.0%.0%.1:%d+)$"
  assert(password, url)
  return password, scheme .. host
end

---Exit status of a program that connects there.
local function connect(url)
  local path = process.write("once.lua", [[print "here"]])
  return process.lunats_to_end { "lua", "-s", url, path }
end

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

---Permissions of a file, as in "600".
local function mode(path)
  local pipe <close> = assert(io.popen(("stat -c %%a '%s'"):format(path)))
  return pipe:read "l"
end

describe("a private nats-server", function()
  it("asks for a password, which its URL has", function()
    local broker = own.keep(testing.broker())
    local password, url = split(broker.url)
    assert.equal(22, #password)
    assert.equal(0, (connect(broker.url)))
    local status, output = connect(url)
    assert.equal(3, status, output)
    assert.equal(3, (connect((broker.url:gsub(password, "wrong")))))
    local other = own.keep(testing.broker())
    assert.not_equal(password, (split(other.url)))
  end)

  it("keeps it through a restart", function()
    local broker = own.keep(testing.broker())
    local url = broker.url
    assert(broker:kill())
    assert(broker:restart())
    assert.equal(url, broker.url)
    assert.equal(0, (connect(url)))
  end)

  it("is given it in a file that only its user reads, not on the command line", function()
    local broker = own.keep(testing.broker())
    local password = split(broker.url)
    local command = read(("/proc/%d/cmdline"):format(broker.pid))
    assert.is_nil(command:find(password, 1, true))
    local config = command:match "%-c%z(%Z+)"
    assert.truthy(read(config):find(password, 1, true))
    assert.equal("600", mode(config))
    assert.equal("600", mode(broker.dir .. "/nats-server.log"))
    assert.equal("700", mode(broker.dir))
  end)

  it("with a configuration asks for what that says", function()
    local broker = own.keep(testing.broker { config = "max_payload: 1000" })
    assert.matches("^nats://127%.0%.0%.1:%d+$", broker.url)
    assert.equal("600", mode(broker.dir .. "/nats-server.conf"))
  end)

  it("of this spec is reached with testing.server_url()", function()
    assert.equal(0, (connect(testing.server_url())))
    assert.matches("^nats://127%.0%.0%.1:%d+$", app.nats.connected_url)
    assert.is_nil(app.json.encode(app.nats.server_info()):find((split(testing.server_url())), 1,
      true))
  end)

  it("of `dev` is shown with its password in one line of the log, and nowhere else", function()
    for _, format in ipairs { "text", "json" } do
      local path = process.write("svc.lua", [[
        app.on_start(function()
          print(app.json.encode(app.nats.server_info()), app.nats.connected_url)
          local reply, err = app.request("nobody", "")
          app.log.info("failed", { err = err })
        end)]])
      local child = process.spawn { process.lunats(), "dev", "--log-level", "debug",
        "--log-format", format, path }
      child:expect "started"
      local url = child:expect 'private nats%-server at ([^%s"]+)'
      local password = split(url)
      assert.equal(0, (connect(url)))
      child:signal "HUP"
      child:expect "reloaded in"
      child:stop()
      assert.equal(1, child:count(password), child:output())
    end
  end)
end)
