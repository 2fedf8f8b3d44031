-- Requests of HTTP in the life of a service: a stop, a reload, limits, what is not installed.
local http_server = require "spec.support.http_server"
local own = require "spec.support.own"
local process = require "spec.support.process"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

local TEXT = { timeout = 20, data_type = "string" }

describe("a request of HTTP under way", function()
  local server
  before_each(function() server = http_server.start() end)
  after_each(function()
    own.close()
    process.close_all()
  end)

  local HANGS = [[
    app.on_start(function()
      app.spawn(function() app.http.request { url = "%s/silent/%s", timeout = math.huge } end)
    end)
  ]]

  it("ends with a stop, within its time", function()
    local child = process.run(([[
      app.listen("%s", function(msg)
        app.log.info("asks")
        local res, err = app.http.request { url = "%s/silent", timeout = math.huge }
      end)
    ]]):format(unique "stop", server.url) .. HANGS:format(server.url, "spawned"),
      { "--drain-timeout", "0.2" })
    child:expect "started, connected"
    server:expect "asked GET /silent/spawned"
    assert.equal(0, child:stop())
    server:expect "gone /silent/spawned"
  end)

  it("is waited for by a stop when it is a handler's", function()
    local name, sign = unique "stop", process.path "sign"
    local child = process.run(([[
      app.listen("%s", function()
        local lines = {}
        app.http.request { url = "%s/lines%s", stream = function(line)
          lines[#lines + 1] = line
        end }
        return table.concat(lines)
      end)
    ]]):format(name, server.url, sign))
    child:expect "started, connected"
    local asking = app.spawn(app.request, name, "", TEXT)
    server:expect "asked GET /lines"
    child:signal "TERM"
    child:expect "stop"
    assert(io.open(sign .. ".1", "w")):close()
    assert(io.open(sign .. ".2", "w")):close()
    assert.equal("line 1\nline 2\nline 3\n", assert(asking:await()).data)
    assert.equal(0, child:wait())
  end)

  it("ends with the version of the script that has made it", function()
    local svc = own.start(HANGS:format(server.url, "old"))
    server:expect "asked GET /silent/old"
    assert(svc:reload(HANGS:format(server.url, "new")))
    server:expect "asked GET /silent/new"
    server:expect "gone /silent/old"
    svc:stop()
    server:expect "gone /silent/new"
  end)

  it("is not what a handler of the old version loses by a reload", function()
    local name, sign = unique "reload", process.path "sign"
    local svc = own.start(([[
      app.listen("%s", function()
        return app.http.request { url = "%s/lines%s", data_type = "string" }.data
      end)
    ]]):format(name, server.url, sign))
    local asking = app.spawn(app.request, name, "", TEXT)
    server:expect "asked GET /lines"
    assert(svc:reload(("app.listen('%s', print)"):format(unique "reload")))
    assert(io.open(sign .. ".1", "w")):close()
    assert(io.open(sign .. ".2", "w")):close()
    local reply = assert(asking:await())
    assert.equal("line 1\nline 2\nline 3\n", reply.data)
  end)
end)

describe("app.http.request", function()
  after_each(function()
    own.close()
    process.close_all()
  end)

  it("counts what comes in the memory of the service", function()
    local server, name = http_server.start(), unique "memory"
    local svc = own.start(([[
      app.config { limits = { memory = "16M" } }
      app.listen("%s", function(msg)
        local res, err = app.http.request { url = "%s/bytes/" .. msg.data,
          max_bytes = math.huge }
        if not res then return err.code end
        return #res.body
      end)
    ]]):format(name, server.url))
    local function ask(bytes) return assert(app.request(name, bytes, TEXT)).data end
    assert.equal("1000000", ask(1000000))
    assert.equal("too_large", ask(100000000))
    for _ = 1, 10 do assert.equal("2000000", ask(2000000)) end -- it has all been given back
    assert.same({}, svc:errors())
  end)

  it("is not there with --libs safe", function()
    local name = unique "safe"
    own.start(([[
      app.listen("%s", function()
        return tostring(select(2, pcall(app.http.request, { url = "http://127.0.0.1:1/" })))
      end)
    ]]):format(name), { libs = "safe" })
    local reply = assert(app.request(name, "", TEXT))
    assert.matches("app.http.request is not available with %-%-libs safe", reply.data)
  end)

  it("says what to install where the module is missing", function()
    local path = process.write("lunats", "")
    assert(os.execute(("cp %s %s && chmod +x %s"):format(process.lunats(), path, path)))
    local child = process.spawn { path, "run", "--server", testing.server_url(),
      process.write("svc.lua",
        "app.task(function() app.http.request { url = 'http://127.0.0.1:1/' } end)") }
    child:expect("svc.lua:1: app.http.request: the module curl is not installed .*"
      .. "install the package lunats%-curl, or libcurl4%-openssl%-dev and build lunats again")
    assert.equal(0, child:stop())
  end)

  it("cannot be called at the top level", function()
    local ok, err = pcall(testing.start, "app.http.request { url = 'http://127.0.0.1:1/' }")
    assert.is_false(ok)
    assert.matches("app.http.request cannot wait at the top level", tostring(err))
  end)

  it("takes a proxy from the environment", function()
    local proxy = http_server.start()
    local child = process.run([[
      app.task(function()
        local res = assert(app.http.request { url = "http://far.invalid/echo" })
        app.log.info("by " .. res.data.headers["x-proxied"][1])
        local _, err = app.http.request { url = "http://127.0.0.1:1/" }
        app.log.info("not by it: " .. err.code)
      end)
    ]], {}, { env = { http_proxy = proxy.url, no_proxy = "127.0.0.1" } })
    child:expect "by http://far.invalid/echo"
    child:expect "not by it: connect"
    assert.equal(0, child:stop())
  end)
end)
