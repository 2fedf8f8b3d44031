-- Values of options that stand in files: LUNATS_PASSWORD_FILE, and the credentials of systemd.
local lfs = require "lfs"
local process = require "spec.support.process"

after_each(process.close_all)

local SERVICE = 'app.listen("spec.secret", function() return 1 end)'

local function server()
  return process.server { args = { "--user", "orders", "--pass", "top secret" } }
end

---@return process  a service that runs, or says why not
local function run(url, env)
  local path = process.write("svc.lua", SERVICE)
  return process.spawn({ process.lunats(), "run", "-s", url, path }, { env = env })
end

---A folder like $CREDENTIALS_DIRECTORY.
local function credentials(files)
  local folder = process.path "credentials"
  assert(lfs.mkdir(folder))
  for name, text in pairs(files) do
    local file = assert(io.open(folder .. "/" .. name, "w"))
    file:write(text)
    file:close()
  end
  return folder
end

local function refused(env)
  local child = run("nats://127.0.0.1:1", env)
  assert.equal(2, child:wait())
  return child:output()
end

describe("a variable with the path of a file", function()
  it("gives the value that stands in it, without the end of its line", function()
    local broker = server()
    local child = run(broker.url,
      { LUNATS_USER = "orders", LUNATS_PASSWORD_FILE = process.write("pw", "top secret\n") })
    child:expect "started, connected"
    child:expect "connection settings from LUNATS_USER, LUNATS_PASSWORD_FILE"
    assert.is_nil(child:output():find("top secret", 1, true))
  end)

  it("works for every option: also where it is no secret", function()
    local broker = server()
    local url = broker.url:gsub("//", "//orders:top%%20secret@")
    local child = process.spawn(
      { process.lunats(), "run", process.write("svc.lua", SERVICE) },
      { env = { LUNATS_SERVER_FILE = process.write("url", url),
        LUNATS_LOG_FORMAT_FILE = process.write("format", "json") } })
    child:expect '"level":"info"[^\n]*started, connected'
  end)

  it("is refused where it can mean nothing", function()
    local path = process.write("pw", "x")
    assert.truthy(refused { LUNATS_PASSWORD = "x", LUNATS_PASSWORD_FILE = path }:find(
      "LUNATS_PASSWORD and LUNATS_PASSWORD_FILE exclude each other", 1, true))
    assert.truthy(refused { LUNATS_CREDS_FILE = path }:find(
      "LUNATS_CREDS_FILE: LUNATS_CREDS is the path of a file already", 1, true))
    assert.truthy(refused { LUNATS_TOKEN_FILE = "/nowhere" }:find(
      "LUNATS_TOKEN_FILE: cannot read /nowhere: ", 1, true))
    assert.truthy(refused { LUNATS_TOKEN_FILE = process.write("t", "\n") }:find(
      "LUNATS_TOKEN_FILE must not be empty", 1, true))
  end)

  it("gives way to the command line", function()
    local broker = server()
    local child = process.spawn({ process.lunats(), "run", "-s", broker.url, "--user", "orders",
      "--password", "top secret", process.write("svc.lua", SERVICE) },
      { env = { LUNATS_PASSWORD_FILE = "/nowhere" } })
    child:expect "started, connected"
  end)
end)

describe("a credential of systemd", function()
  it("gives the value of the option of its name, unless it is blank", function()
    local broker = server()
    local folder = credentials {
      ["lunats.password"] = "top secret\n", ["lunats.creds"] = " ", other = "x" }
    local child = run(broker.url,
      { LUNATS_USER = "orders", CREDENTIALS_DIRECTORY = folder })
    child:expect "started, connected"
    child:expect "settings from LUNATS_USER, the credential lunats.password\n"
  end)

  it("is the file itself for options that are paths", function()
    local child = run("nats://127.0.0.1:1",
      { CREDENTIALS_DIRECTORY = credentials { ["lunats.creds"] = "no credentials" } })
    assert.not_equal(0, child:wait())
    assert.truthy(child:output():find("credentials/?[^\n]*lunats.creds")
      or child:output():find("the credential lunats.creds", 1, true), child:output())
  end)

  it("gives way to variables", function()
    local broker = server()
    local child = run(broker.url, { LUNATS_USER = "orders", LUNATS_PASSWORD = "top secret",
      CREDENTIALS_DIRECTORY = credentials { ["lunats.password"] = "wrong" } })
    child:expect "started, connected"
  end)

  it("moves no private server", function()
    local status, output = process.lunats_to_end({ "test", "--version" },
      { env = { CREDENTIALS_DIRECTORY = credentials { ["lunats.creds"] = "x" } } })
    assert.equal(0, status, output)
  end)
end)
