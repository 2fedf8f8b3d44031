-- What requests by HTTP, and answers that are not read, have of the memory of their service.
local admin = require "spec.support.admin"
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local web = require "spec.support.web"

local sockets = {}
after_each(function()
  for _, socket in ipairs(sockets) do socket:close() end
  sockets = {}
  process.close_all()
end)

local function run(memory, source)
  local child = process.run(("app.config { limits = { memory = '%s' } }\n"):format(memory)
    .. source, { "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0" })
  child:expect "started, connected to"
  return child, web.url(child), admin.url(child)
end

---A client that asks, and reads nothing.
local function ask(url, path)
  local socket = assert(app.tcp.connect(url:match "//([^:]+)", tonumber(url:match "%d+$")))
  assert(socket:write(("GET %s HTTP/1.1\r\nHost: x\r\n\r\n"):format(path)))
  sockets[#sockets + 1] = socket
  return socket
end

---Bytes that the service has of messages, bodies and the like.
local function used(metrics)
  return admin.samples(metrics)['lunats_memory_bytes{service="svc",part="messages"}']
end

describe("the memory of a service", function()
  it("has room for bodies of a quarter of it; a longer one is 413", function()
    local child, url = run("16M", [[
      app.http.post("/", { max_body = "32M" }, function(req) return #req.body end)]])
    local function post(bytes)
      local path = process.write("body", ("x"):rep(bytes))
      return web.get(url .. "/", "--data-binary", "@" .. path)
    end
    assert.equal("4000000", post(4000000).body)
    local res = post(4500000)
    assert.same({ 413, '{"code":413,"message":"the body is too long"}' },
      { res.status, res.body })
    assert.equal("4000000", post(4000000).body)
    assert.equal(0, child:stop())
  end)

  it("has half of it for bodies that are under way; one more is 503, and told", function()
    local child, url, metrics = run("16M", [[
      app.http.post("/", { max_body = "4M", cors = "https://x.y" }, function(req)
        if req.query.wait then
          print("waiting " .. #req.body)
          rawset(req, "body", nil)
          while not app.state.go do app.sleep(0.01) end
        end
      end)
      app.http.post("/go", function() app.state.go = true end)]])
    local path = process.write("body", ("x"):rep(2500000))
    local before = used(metrics)
    local clients = {}
    for i = 1, 3 do
      clients[i] = process.spawn { "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}",
        "--data-binary", "@" .. path, url .. "/?wait=1" }
      child:expect(("waiting 2500000.-"):rep(i))
    end
    assert.is_true(used(metrics) - before >= 7500000)
    local res = web.get(url .. "/", "--data-binary", "@" .. path, "-H", "Origin: https://x.y")
    assert.same({ 503, "1", "https://x.y" }, { res.status, res.headers["retry-after"],
      res.headers["access-control-allow-origin"] })
    child:expect "WARN .*HTTP POST /: too many bodies of requests are under way"
    assert.equal(204, web.get(url .. "/", "-d", "small").status)
    assert.equal(1, admin.samples(metrics)['lunats_http_refused_total{code="503"}'])
    web.get(url .. "/go", "-d", "")
    for i = 1, 3 do
      clients[i]:wait()
      assert.equal("204", (clients[i]:output()))
    end
    assert.equal(204, web.get(url .. "/", "--data-binary", "@" .. path).status)
    eventually("the memory to be free", function() return used(metrics) - before < 10000 end)
    assert.equal(0, child:stop())
  end)

  it("has the answers that clients do not read; one that does not fit is 503", function()
    local big = 7000000 -- more than sockets hold
    local child, url, metrics = run("32M", [[
      local big = ("x"):rep(7000000)
      app.http.get("/", function() return big end)]])
    local before = used(metrics)
    for i = 1, 2 do
      ask(url, "/")
      eventually("answer " .. i, function() return used(metrics) - before >= i * big end)
    end
    local res = web.get(url .. "/")
    assert.same({ 503, '{"code":503,"message":"not enough memory"}' }, { res.status, res.body })
    child:expect "ERROR .*HTTP GET /: the answer does not fit into the memory of the service"
    for _, socket in ipairs(sockets) do socket:close() end
    eventually("the memory to be free", function() return used(metrics) - before < 10000 end)
    assert.equal(big, #web.get(url .. "/").body)
    assert.equal(0, child:stop())
  end)

  it("has the streams that clients do not read; writing more fails", function()
    local child, url, metrics = run("4M", [[
      app.http.get("/", function()
        return app.http.response { stream = function(write)
          local piece, ok, err = ("x"):rep(32768), true, nil
          while ok do ok, err = write(piece) end
          print("failed: " .. err.code)
        end }
      end)
      app.http.get("/small", function() return "small" end)]])
    local before = used(metrics)
    for _ = 1, 40 do ask(url, "/") end
    child:expect "failed: no_memory"
    local more = used(metrics) - before
    assert.is_true(more > 100000 and more <= 2 * 2^20, more)
    assert.equal("small", web.get(url .. "/small").body)
    for _, socket in ipairs(sockets) do socket:close() end
    eventually("the memory to be free", function() return used(metrics) - before < 10000 end)
    assert.equal(0, child:stop())
  end)

  it("that a handler needs more of than there is fails the request, not the process", function()
    local child, url = run("16M", [[
      app.http.get("/", function() return ("x"):rep(100000000) end)
      app.http.get("/small", function() return "small" end)]])
    for _ = 1, 3 do assert.equal(500, web.get(url .. "/").status) end
    child:expect "HTTP GET /: .*not enough memory"
    assert.equal("small", web.get(url .. "/small").body)
    assert.equal(0, child:stop())
  end)
end)
