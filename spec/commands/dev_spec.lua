-- `lunats dev` and its private server: port, store, configuration; what the environment says of
-- other servers.
local core = require "lunats.core"
local process = require "spec.support.process"
local testing = require "lunats.testing"

after_each(process.close_all)

local function write(path, text)
  local file <close> = assert(io.open(path, "wb"))
  file:write(text)
end

---Permissions of a file, as in "600".
local function mode(path)
  local pipe <close> = assert(io.popen(("stat -c %%a '%s'"):format(path)))
  return pipe:read "l"
end

---Counts its starts in a stream.
local COUNTER = [[
  app.on_start(function()
    assert(app.js.add_stream { name = "STARTS", subjects = { "starts" } })
    app.log.info("start", { number = assert(app.js.publish("starts", "")).seq })
  end)
]]

local function dev(options, source, opts)
  local command = { process.lunats(), "dev" }
  table.move(options, 1, #options, 3, command)
  command[#command + 1] = process.write("svc.lua", source or "app.listen('x', function() end)")
  return process.spawn(command, opts)
end

describe("lunats dev", function()
  it("serves the scripts of its folder when none is named", function()
    local folder = process.write("svc.lua", "app.listen('x', function() end)"):match "^(.*)/"
    write(folder .. "/module.lua", "return {}")
    local child = process.spawn({ process.lunats(), "dev" }, { cwd = folder })
    child:expect "svc: started"
    write(folder .. "/late.lua", "app.listen('y', function() end)")
    child:expect "late: started"
    assert.equal(0, child:stop())
    child = process.spawn({ process.lunats(), "dev" }, { cwd = folder .. "/.." })
    assert.equal(2, child:wait())
    child:expect "no SCRIPT given, and there are no scripts %(%*%.lua%) here"
  end)

  it("listens on the port that is asked for", function()
    local port = core.free_port()
    local child = dev { "--port", tostring(port) }
    child:expect(("private nats%%-server at nats://lunats:%%w+@127.0.0.1:%d\n"):format(port))
    child:expect "svc: started"
    assert.equal(0, child:stop())
  end)

  it("says that its port is in use", function()
    local port = tostring(testing.server_url():match ":(%d+)$")
    local child = dev { "--port", port }
    assert.equal(3, child:wait())
    assert.matches("ERROR the port " .. port .. " of 127.0.0.1 is in use: another server " ..
      "listens on it; choose another one with %-%-port\n", child:output())
  end)

  it("keeps its store from one run to the next, in a folder for its user only", function()
    local folder = process.path "parent" .. "/store"
    for run = 1, 2 do
      local child = dev({ "--store", folder }, COUNTER)
      child:expect("start number=" .. run)
      assert.equal(0, child:stop())
    end
    assert.equal("700", mode(folder))
  end)

  it("says that its store is in use", function()
    local folder = process.path "store"
    local first = dev { "--store", folder }
    first:expect "svc: started"
    local second = dev { "--store", folder }
    assert.equal(3, second:wait())
    assert.matches("ERROR the folder %S+ is in use: another nats%-server stores in it; " ..
      "choose another one with %-%-store\n", second:output())
    assert.equal(0, first:stop())
  end)

  it("says why it cannot store in a folder", function()
    local path = process.write("file", "")
    local child = dev { "--store", path }
    assert.equal(3, child:wait())
    assert.matches("cannot store in " .. path .. ": not a directory\n", child:output())
  end)

  it("takes a configuration for its server, without giving up the password", function()
    local config = process.write("server.conf", "include 'more.conf'\n")
    write(config:gsub("[^/]+$", "more.conf"), "max_payload: 1000\n")
    local child = dev({ "--server-config", config }, [[
      app.on_start(function() app.log.info("limit", { bytes = app.nats.max_payload }) end)]])
    child:expect "limit bytes=1000\n"
    child:expect "nats://lunats:%w+@127"
    assert.equal(0, child:stop())
  end)

  it("shows what its server says about a configuration", function()
    local config = process.write("server.conf", "max_payload: 1000\nno_such_field: 1\n")
    local child = dev { "--server-config", config }
    assert.equal(3, child:wait())
    assert.matches("nats%-server exited with status 1, configured by %S+server%.conf\n",
      child:output())
    assert.matches('server%.conf:2:1: unknown field "no_such_field"', child:output())
  end)

  it("is a user of the configuration where that has users", function()
    local config = process.write("server.conf",
      "authorization { users = [{ user: ada, password: turing }] }\n")
    local child = dev { "--server-config", config }
    assert.equal(3, child:wait())
    assert.matches("server%.conf has users of its own, %-%-user and %-%-password",
      child:output())
    child = dev { "--server-config", config, "--user", "ada", "--password", "turing" }
    child:expect "svc: started"
    assert.equal(0, child:stop())
    assert.equal(0, child:count "turing")
  end)
end)

describe("lunats run --embedded", function()
  it("has the same port and store", function()
    local port = core.free_port()
    local child = process.run(COUNTER, { "--embedded", "--port", tostring(port), "--store",
      process.path "store" }, { servers = {} })
    child:expect(("127.0.0.1:%d\n"):format(port))
    child:expect "start number=1\n"
    assert.equal(0, child:stop())
  end)
end)

describe("what the environment says about servers", function()
  local FOREIGN = { NATS_URL = "nats://127.0.0.1:1", NATS_USER = "x", NATS_PASSWORD = "y",
    NATS_CREDS = "/none", NATS_NKEY = "/none", NATS_TOKEN = "z", NATS_CA = "/none",
    NATS_CERT = "/none", NATS_KEY = "/none", NATS_CONTEXT = "none", LUNATS_CREDS = "/none",
    LUNATS_TLSCA = "/none", LUNATS_TLS_FIRST = "1", LUNATS_JS_DOMAIN = "elsewhere" }

  it("moves no service of `dev`", function()
    local child = dev({}, COUNTER, { env = FOREIGN })
    child:expect "start number=1"
    child:expect "svc: started, connected to nats://127.0.0.1:%d%d+\n"
    assert.equal(0, child:stop())
  end)

  it("moves no spec", function()
    local path = process.write("a_spec.lua", [[
      it("stores", function()
        assert(app.js.add_stream { name = "S", subjects = { "s" } })
        assert.equal(1, assert(app.js.publish("s", "")).seq)
      end)]])
    for _, words in ipairs { { "test", path }, { "test", "-j", "1", path } } do
      local status, output = process.lunats_to_end(words, { env = FOREIGN })
      assert.equal(0, status, output)
    end
  end)

  it("moves no program of `lunats lua`", function()
    local path = process.write("a.lua", "print(app.nats.connected_url)")
    local status, output = process.lunats_to_end({ "lua", path }, { env = FOREIGN })
    assert.equal(0, status)
    assert.equal("nil\n", output)
    status, output = process.lunats_to_end({ "lua", "--embedded", path }, { env = FOREIGN })
    assert.equal(0, status, output)
    assert.matches("\nnats://127.0.0.1:%d+\n", output)
  end)
end)
