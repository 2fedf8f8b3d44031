-- The port of app.http: --http, several services, reloads, stops, and clients of all kinds.
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local lfs = require "lfs"
local process = require "spec.support.process"
local testing = require "lunats.testing"
local web = require "spec.support.web"

after_each(process.close_all)

local HELLO = 'app.http.get("/%s", function() return "%s" end)'

local function run(source, ...)
  local child = process.run(source, { "--http", "127.0.0.1:0", ... })
  child:expect "started, connected to"
  return child, web.url(child)
end

---Several services in one process.
local function run_all(scripts, ...)
  local command = { process.lunats(), "run", "--server", testing.server_url(), ... }
  for name, source in pairs(scripts) do
    command[#command + 1] = process.write(name .. ".lua", source)
  end
  return process.spawn(command)
end

describe("--http", function()
  it("says where the port is", function()
    local child, url = run(HELLO:format("a", "hello"))
    assert.matches("^http://127%.0%.0%.1:%d%d+$", url)
    local res = web.get(url .. "/a")
    assert.same({ 200, "hello" }, { res.status, res.body })
    assert.equal(0, child:stop())
  end)

  it("may be a socket file, which goes at the end", function()
    local path = process.path "sock"
    local child = process.run(HELLO:format("a", "hello"), { "--http", "unix:" .. path })
    child:expect "started, connected to"
    assert.equal("hello", web.get("http://localhost/a", "--unix-socket", path).body)
    assert.equal(0, child:stop())
    assert.is_nil(lfs.attributes(path))
  end)

  it("that is taken, or nonsense, keeps the services from starting", function()
    local _, url = run(HELLO:format("a", "hello"))
    local child = process.run("local x", { "--http", url:match "//(.*)" })
    assert.equal(1, child:wait())
    assert.matches("--http: .*address already in use", child:output())
    local status, output = process.lunats_to_end { "run", "--http", "nowhere", "x.lua" }
    assert.equal(2, status)
    assert.matches("--http: nowhere ", output, 1, true)
  end)

  it("is missed by a service that has routes", function()
    local child = process.run(HELLO:format("a", "hello"))
    child:expect "there is no port for what app.http declares: %-%-http HOST:PORT"
    assert.equal(0, child:stop())
  end)

  it("is there of itself under lunats dev, when a route is", function()
    local child = process.spawn { process.lunats(), "dev", "--admin", "off",
      process.write("svc.lua", HELLO:format("a", "hello")) }
    assert.equal("hello", web.get(web.url(child) .. "/a").body)
    assert.equal(0, child:stop())
    child = process.spawn { process.lunats(), "dev", "--admin", "off",
      process.write("svc.lua", 'app.listen("a", print)') }
    child:expect "started, connected to"
    assert.equal(0, child:stop())
    assert.is_nil(child:output():find "HTTP")
  end)

  it("is shared by the services of the process", function()
    local child = run_all({ one = HELLO:format("one", "1"), two = HELLO:format("two", "2") },
      "--http", "127.0.0.1:0")
    child:expect "one: started"
    child:expect "two: started"
    local url = web.url(child)
    assert.equal("1", web.get(url .. "/one").body)
    assert.equal("2", web.get(url .. "/two").body)
    assert.equal(0, child:stop())
  end)

  it("has one service for each path", function()
    local child = run_all({ one = HELLO:format("a", "1"), two = HELLO:format("a", "2") },
      "--http", "127.0.0.1:0")
    assert.equal(1, child:wait())
    assert.matches("GET /a is declared by the service %w+ already; services of one process "
      .. "share", child:output())
  end)
end)

describe("a request by HTTP", function()
  it("keeps its connection for the next one", function()
    local child, url = run(HELLO:format("a", "hello"))
    local output = web.curl("-s", "-w", " %{http_code} %{num_connects};", url .. "/a",
      url .. "/none", url .. "/a")
    assert.matches("^hello 200 1;.* 404 0;hello 200 0;$", output)
    assert.equal(0, child:stop())
  end)

  it("with a body that is too long is 413", function()
    local child, url = run [[
      app.http.post("/", { max_body = 10 }, function(req) return req.body end)]]
    assert.equal("0123456789", web.get(url .. "/", "-d", "0123456789").body)
    local res = web.get(url .. "/", "-d", "01234567890")
    assert.same({ 413, '{"code":413,"message":"the body is too long"}' },
      { res.status, res.body })
    assert.equal(0, child:stop())
  end)

  it("is answered by the version that got it, and no connection is lost at a reload", function()
    local source = 'app.http.get("/%s", function() print "asked" app.sleep(%g) return "%s" end)'
    local path = process.write("svc.lua", source:format("a", 1, "old"))
    local child = process.spawn { process.lunats(), "run", "--server", testing.server_url(),
      "--http", "127.0.0.1:0", path }
    child:expect "started, connected to"
    local url = web.url(child)
    local old = app.spawn(function() return web.get(url .. "/a").body end)
    child:expect "asked"
    local file = assert(io.open(path, "w"))
    file:write(source:format("a", 0, "new"))
    file:close()
    child:signal "HUP"
    child:expect "reloaded"
    assert.equal("new", web.get(url .. "/a").body)
    assert.equal("old", old:await())
    assert.equal(0, child:stop())
  end)

  it("that runs at a stop is answered, a new one is told to come again", function()
    local go
    local gate = app.listen("spec.http.gate", function()
      return eventually("the late one", function() return go end)
    end)
    finally(function() gate:stop() end)
    local child, url = run [[
      app.http.get("/a", function()
        print "asked"
        assert(app.request("spec.http.gate", "", { timeout = 20 }))
        return "done"
      end)]]
    local running = app.spawn(function() return web.get(url .. "/a").body end)
    child:expect "asked"
    child:signal "TERM"
    child:expect "stopping"
    local late = web.get(url .. "/a")
    assert.equal(503, late.status)
    assert.equal("1", late.headers["retry-after"])
    go = true
    assert.equal("done", running:await())
    assert.equal(0, child:wait())
  end)

  it("does not tell what an error was, but where to find it", function()
    local child, url = run 'app.http.get("/", function() error "secret" end)'
    local res = web.get(url .. "/")
    assert.equal(500, res.status)
    local id = res.body:match '"internal error (%w+)"'
    child:expect("HTTP GET /: internal error " .. id .. ": .*secret")
    assert.equal(0, child:stop())
  end)

  it("whose client goes away has no handler any more", function()
    local child, url = run [[
      app.http.get("/", function()
        print "begun"
        local _ <close> = setmetatable({}, { __close = function() print "over" end })
        app.sleep(100)
      end)]]
    local client = process.spawn { "curl", "-s", url .. "/" }
    child:expect "begun"
    client:signal "KILL"
    child:expect "over"
    assert.equal(0, child:stop())
  end)

  it("may be of any size, in both directions", function()
    local child, url = run [[
      app.http.post("/", { max_body = "8M" }, function(req) return req.body end)]]
    local path = process.write("big", ("0123456789abcdef"):rep(300000))
    local res = web.get(url .. "/", "--data-binary", "@" .. path)
    assert.same({ 200, 4800000 }, { res.status, #res.body })
    assert.equal(0, child:stop())
  end)
end)

describe("a stream", function()
  it("arrives piece by piece", function()
    local child, url = run [[
      app.http.get("/", function()
        local headers = { ["Content-Type"] = "text/csv" }
        return app.http.response { headers = headers, stream = function(write)
          local _, err = pcall(write, nil)
          assert(err:find("write: the bytes must be a string, not a nil", 1, true), err)
          assert(write "one\n")
          while not app.state.go do app.sleep(0.01) end
          assert(write "two\n")
        end }
      end)
      app.http.post("/go", function() app.state.go = true end)]]
    local client = process.spawn { "curl", "-sNi", url .. "/" }
    client:expect "text/csv.*\none\n"
    assert.is_nil(client:output():find "two")
    web.get(url .. "/go", "-d", "")
    assert.equal(0, client:wait())
    assert.matches("\none\ntwo\n$", (client:output()))
    assert.equal(0, child:stop())
  end)

  it("waits for a client that reads slowly", function()
    local child, url = run [[
      app.http.get("/", function()
        return app.http.response { stream = function(write)
          for i = 1, 400 do assert(write((("x"):rep(65536)))) app.state.n = i end
        end }
      end)
      app.http.get("/n", function() return app.state.n or 0 end)]]
    local gate = process.path "gate"
    os.execute("mkfifo " .. gate)
    local client = process.spawn { "sh", "-c",
      ("curl -sN %s/ | { read -r _ <%s; wc -c; }"):format(url, gate) }
    local function count() return tonumber(web.get(url .. "/n").body) end
    repeat local before = count() app.sleep(0.05) until before > 0 and count() == before
    assert.is_true(count() < 400)
    local file = assert(io.open(gate, "w"))
    file:write "\n"
    file:close()
    client:wait()
    assert.matches("^26214400", client:output())
    assert.equal(0, child:stop())
  end)

  it("that fails is seen by its client", function()
    local child, url = run [[
      app.http.get("/", function()
        return app.http.response { stream = function(write) write "some" error "boom" end }
      end)]]
    local client = process.spawn { "curl", "-s", url .. "/" }
    assert.equal(18, client:wait()) -- a part of the answer is missing
    assert.equal("some", (client:output()))
    child:expect "boom"
    assert.equal(0, child:stop())
  end)

  it("of events is what browsers read, and ends with the service", function()
    local child, url = run [[
      app.http.events("/", function(send, req)
        assert(send { n = req.query.n })
        assert(send("a\nb", { id = 7, event = "text", retry = 2.5 }))
        app.sleep(100)
      end)]]
    local client = process.spawn { "curl", "-sNi", url .. "/?n=1" }
    client:expect('text/event%-stream.*data: {"n":"1"}\n\n'
      .. "event: text\nid: 7\nretry: 2500\ndata: a\ndata: b\n\n")
    local began = core.hrtime()
    assert.equal(0, child:stop())
    assert.is_true(core.hrtime() - began < 5)
    client:wait()
  end)

  it("of events shows that it is alive", function()
    local child, url = run [[
      app.http.events("/", { heartbeat = 0.1 }, function(send) app.sleep(100) end)]]
    local client = process.spawn { "curl", "-sN", url .. "/" }
    client:expect ":\n\n:\n\n:\n\n"
    assert.equal(0, child:stop())
  end)
end)

describe("routes", function()
  it("are listed by lunats check, and when SIGUSR1 asks", function()
    local path = process.write("svc.lua", HELLO:format("a", "hello"))
    local status, output = process.lunats_to_end { "check", path }
    assert.equal(0, status)
    assert.matches("HTTP      GET /a  [^\n]*svc.lua:1\n", output)
    local child, url = run(HELLO:format("a", "hello"))
    web.get(url .. "/a")
    child:signal "USR1"
    child:expect "routes: 1\n%s*HTTP GET /a %([^)]*svc.lua:1%): running 0, requests 1, errors 0"
    assert.equal(0, child:stop())
  end)
end)

---Of a process, in hundredths of a second.
local function processor_time(pid)
  local file <close> = assert(io.open(("/proc/%d/stat"):format(pid)))
  local user, system = file:read "a":match("%) %a" .. (" %-?%d+"):rep(10) .. " (%d+) (%d+)")
  return user + system
end

describe("what is no request", function()
  -- libmicrohttpd wants to run again at once as long as the bytes of such a client wait in it.
  it("holds up nobody, and costs next to nothing, while its line does not end", function()
    local child, url = run(HELLO:format("a", "hello"))
    local host, port = url:match "//(.*):(%d+)$"
    for _, rest in ipairs { "1;" .. ("x"):rep(200000), "0\r\n" .. ("x"):rep(200000) } do
      local s = assert(app.tcp.connect(host, tonumber(port), { timeout = 0.5 }))
      s:write("POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" .. rest)
      local before = processor_time(child.pid)
      assert.equal("hello", web.get(url .. "/a").body)
      app.sleep(1)
      assert.equal("hello", web.get(url .. "/a").body)
      assert.truthy(processor_time(child.pid) - before < 50)
      s:close()
    end
    assert.equal(0, child:stop())
  end)

  it("is refused, and harms nobody", function()
    local child, url = run(HELLO:format("a", "hello"))
    for _, bytes in ipairs { "GET /a HTTP/0.9\r\n\r\n", "GET\r\n\r\n",
      "GET /a HTTP/1.1\r\n\r\n",
      "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12",
      "GET /a HTTP/1.1\r\nHost: x\r\n folded: 1\r\n\r\n" } do
      assert.is_nil(web.raw(url, bytes):find "hello", bytes)
    end
    assert.equal("hello", web.get(url .. "/a").body)
    assert.equal(0, child:stop())
  end)
end)

describe("a request with many parts", function()
  local COUNT = [[
    app.http.get("/", function(req)
      local count, cookies = 0, req.headers.cookie or ""
      for _ in pairs(req.query) do count = count + 1 end
      return ("%d %d"):format(count, select(2, cookies:gsub("=", "")))
    end)
  ]]

  ---Like "k1=v1&k2=v2"
  local function list(count, separator)
    local parts = {}
    for i = 1, count do parts[i] = ("k%d=value%d"):format(i, i) end
    return table.concat(parts, separator)
  end

  -- libmicrohttpd has the memory of a connection for its records of them, too.
  it("is answered", function()
    local child, url = run(COUNT)
    assert.equal("1000 0", web.get(url .. "/?" .. list(1000, "&")).body)
    assert.equal("0 200", web.get(url .. "/", "-H", "Cookie: " .. list(200, "; ")).body)
    assert.equal(414, web.get(url .. "/?" .. list(5000, "&")).status)
    assert.equal(431, web.get(url .. "/", "-H", "X-Long: " .. ("x"):rep(40000)).status)
    assert.equal(0, child:stop())
  end)
end)
