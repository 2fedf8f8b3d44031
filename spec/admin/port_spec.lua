-- The admin port: where it listens, whom it answers, and how it behaves as an HTTP server.
local admin = require "spec.support.admin"
local core = require "lunats.core"
local lfs = require "lfs"
local process = require "spec.support.process"

local SCRIPT = 'app.listen("spec.admin", function() return 1 end)'
local TOKEN = "0123456789abcdef0123456789abcdef"

after_each(process.close_all)

local function run(...) return process.run(SCRIPT, { ... }) end

local function run_at(address, ...)
  local child = run("--admin", address, ...)
  child:expect "started, connected to"
  return child, admin.url(child)
end

---The end of a process that should not start.
local function fails(...)
  local child = run(...)
  return child:wait(), child:output()
end

local function token_file(mode, text)
  local path = process.write("token", text or TOKEN .. "\n")
  os.execute(("chmod %s %s"):format(mode, path))
  return path
end

describe("the address of the admin port", function()
  it("may have a free port, which the log shows", function()
    local child, url = run_at "127.0.0.1:0"
    assert.matches("^http://127%.0%.0%.1:%d%d+$", url)
    local status, body = admin.get(url, "/livez")
    assert.equal(200, status)
    assert.equal("ok\n", body)
    assert.equal(0, child:stop())
  end)

  it("may be IPv6", function()
    local child, url = run_at "[::1]:0"
    assert.matches("^http://%[::1%]:%d+$", url)
    assert.equal(200, (admin.get(url, "/livez")))
    assert.equal(0, child:stop())
  end)

  it("may be a socket file for its owner, which is removed at the end", function()
    local path = process.path "sock"
    local child, url = run_at("unix:" .. path)
    assert.equal("unix:" .. path, url)
    assert.equal("rw-------", lfs.attributes(path, "permissions"))
    assert.equal(200, (admin.get(url, "/livez")))
    assert.equal(0, child:stop())
    assert.is_nil(lfs.attributes(path))
  end)

  it("replaces the socket file of a process that is gone, and no other one", function()
    local path = process.path "sock"
    local child = run_at("unix:" .. path)
    local status, output = fails("--admin", "unix:" .. path)
    assert.equal(1, status)
    assert.matches("another process listens there", output)
    child:signal "KILL"
    child:wait()
    assert.equal("socket", lfs.attributes(path, "mode"))
    child = run_at("unix:" .. path)
    assert.equal(0, child:stop())

    path = process.write("file", "precious")
    status, output = fails("--admin", "unix:" .. path)
    assert.equal(1, status)
    assert.matches("not a socket, and it is left alone", output)
    assert.equal("file", lfs.attributes(path, "mode"))
  end)

  it("is an error when another process has it", function()
    local child, url = run_at "127.0.0.1:0"
    local status, output = fails("--admin", url:match "//(.*)")
    assert.equal(1, status)
    assert.matches("cannot listen on 127%.0%.0%.1:%d+: address already in use: another process",
      output)
    assert.is_nil(output:find("started", 1, true))
    assert.equal(0, child:stop())
  end)

  it("is checked before anything starts", function()
    for _, address in ipairs { "8080", ":8080", "example.com:80", "127.0.0.1:99999",
      "127.0.0.1:", "[::1:80", "unix:", "127.0.0.1:8x" } do
      local status, output = fails("--admin", address)
      assert.equal(2, status, address)
      assert.matches("%-%-admin: " .. address:gsub("%p", "%%%0") .. " %l+", output)
    end
  end)

  it("is warned of when other machines get there", function()
    local child = run "--admin=0.0.0.0:0"
    child:expect "WARN .*can be reached from other machines"
    child:expect "started, connected to"
    local port = child:output():match "admin port at http://0%.0%.0%.0:(%d+)/"
    assert.equal(200, (admin.get("http://127.0.0.1:" .. port, "/livez",
      { "-H", "Host: 10.1.2.3:9090" })))
    assert.equal(403, (admin.get("http://127.0.0.1:" .. port, "/livez",
      { "-H", "Host: evil.example" })))
    assert.equal(0, child:stop())
  end)
end)

describe("the admin port", function()
  local child, url

  local function get(path, ...) return admin.get(url, path, { ... }) end

  before_each(function()
    child, url = run_at("127.0.0.1:0", "--admin-token", token_file "600")
  end)
  after_each(function() assert.equal(0, child:stop()) end)

  it("answers who names it as itself, against pages that have turned their name to it",
    function()
      local port = url:match ":(%d+)$"
      for host, wanted in pairs {
        ["127.0.0.1:" .. port] = 200, ["localhost:" .. port] = 200, ["[::1]:" .. port] = 200,
        ["LOCALHOST"] = 200, ["localhost:1"] = 200, -- forwarded from another port
        ["evil.example"] = 403, ["evil.example:" .. port] = 403, ["10.0.0.1"] = 403,
        ["127.0.0.1.evil.example"] = 403, ["localhost.evil.example"] = 403,
      } do
        assert.equal(wanted, (get("/livez", "-H", "Host: " .. host)), host)
      end
      assert.equal(400, (get("/livez", "-H", "Host:")))
      assert.equal(400, (get("/livez", "--http1.0", "-H", "Host:")))
      local _, output = assert(core.process({ "bash", "-c", ([[
        exec 3<>/dev/tcp/127.0.0.1/%s
        printf 'GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n'>&3
        read -r line <&3; echo "$line"]]):format(port) }, true)):wait()
      assert.matches("^HTTP/1.1 400 ", output)
    end)

  it("knows its pages, and the methods that they take", function()
    local status, body = get "/"
    assert.equal(200, status)
    assert.matches("/readyz", body)
    assert.equal(404, (get "/nope"))
    assert.equal(404, (get "/livez/"))
    assert.equal(200, (get "/livez?verbose"))
    local head, nothing, headers = get("/livez", "-I")
    assert.equal(200, head)
    assert.equal("", nothing)
    assert.equal("3", headers["content-length"])
    local refused
    refused, nothing, headers = get("/livez", "-X", "DELETE", "-H",
      "Authorization: Bearer " .. TOKEN)
    assert.equal(405, refused)
    assert.equal("", nothing)
    assert.equal("GET, HEAD", headers.allow)
  end)

  it("lets nobody change anything without the token, or from another page", function()
    local port = url:match ":(%d+)$"
    local bearer = "Authorization: Bearer " .. TOKEN
    assert.equal(401, (get("/", "-X", "POST")))
    assert.equal(401, (get("/", "-X", "POST", "-H", "Authorization: Bearer " .. TOKEN .. "x")))
    assert.equal(401, (get("/", "-X", "POST", "-H", "Authorization: Bearer ")))
    assert.equal(405, (get("/", "-X", "POST", "-H", bearer)))
    assert.equal(403, (get("/", "-X", "POST", "-H", bearer, "-H",
      "Origin: http://evil.example")))
    assert.equal(403, (get("/", "-X", "POST", "-H", bearer, "-H", "Origin: null")))
    assert.equal(405, (get("/", "-X", "POST", "-H", bearer, "-H",
      "Origin: http://127.0.0.1:" .. port)))
  end)

  it("keeps connections open", function()
    local command = { "curl", "-s", "-w", "%{num_connects}" }
    for _ = 1, 5 do command[#command + 1] = url .. "/livez" end
    local _, output = assert(core.process(command, true)):wait()
    assert.equal("ok\n1ok\n0ok\n0ok\n0ok\n0", output)
  end)

  it("refuses headers and bodies that are too long, and lives", function()
    assert.equal(431, (get("/livez", "-H", "X-Long: " .. ("x"):rep(20000))))
    local bearer = "Authorization: Bearer " .. TOKEN
    local large = process.write("large", ("x"):rep(500000))
    assert.equal(413, (get("/", "-X", "POST", "-H", bearer, "--data-binary", "@" .. large)))
    assert.equal(413, (get("/", "-X", "POST", "-H", bearer, "-H", "Transfer-Encoding: chunked",
      "--data-binary", "@" .. large)))
    assert.equal(200, (get "/livez"))
  end)

  it("stops at once, whoever is still connected", function()
    local port = url:match ":(%d+)$"
    local ready = process.path "ready"
    process.spawn { "bash", "-c", ([[exec 3<>/dev/tcp/127.0.0.1/%s; printf 'GET /li' >&3
      exec 4<>/dev/tcp/127.0.0.1/%s; printf 'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n' >&4
      read -r line <&4; echo "$line" >%s; read -r line <&3; read -r -t 20 line <&4]]):format(
      port, port, ready) }
    require "spec.support.eventually"("an answer", function() return lfs.attributes(ready) end)
    local began = core.hrtime()
    assert.equal(0, child:stop())
    assert.is_true(core.hrtime() - began < 15)
  end)
end)

describe("the token of the admin port", function()
  it("is in a file that nobody else can read", function()
    local path = token_file "644"
    local status, output = fails("--admin", "127.0.0.1:0", "--admin-token", path)
    assert.equal(1, status)
    assert.matches("others can read the token in .*chmod 600", output)
  end)

  it("is long enough", function()
    for _, text in ipairs { "short", "", ("x"):rep(300), "with a blank in the middle" } do
      local status, output = fails("--admin", "127.0.0.1:0", "--admin-token",
        token_file("600", text))
      assert.equal(1, status)
      assert.matches("openssl rand %-hex 32", output)
    end
  end)

  it("needs the port", function()
    local status, output = fails("--admin-token", token_file "600")
    assert.equal(2, status)
    assert.matches("%-%-admin%-token needs %-%-admin", output)
  end)

  it("is what changes need, so without one there are none", function()
    local child, url = run_at "127.0.0.1:0"
    local status, body = admin.get(url, "/", { "-X", "POST" })
    assert.equal(403, status)
    assert.matches("without %-%-admin%-token", body)
    assert.equal(0, child:stop())
  end)
end)

describe("lunats dev", function()
  local function dev(...)
    return process.spawn { process.lunats(), "dev", process.write("svc.lua", SCRIPT), ... }
  end

  it("has an admin port of its own accord", function()
    local child = dev()
    local url = admin.url(child)
    assert.matches("^http://127%.0%.0%.1:%d+$", url)
    child:expect "started, connected to"
    assert.equal(200, (admin.get(url, "/readyz")))
    assert.equal(0, child:stop())
  end)

  it("has none with --admin off", function()
    local child = dev("--admin", "off")
    child:expect "started, connected to"
    assert.equal(0, child:count "admin port", child:output())
    assert.equal(0, child:stop())
  end)
end)
