-- What /metrics tells of requests by HTTP.
local admin = require "spec.support.admin"
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local testing = require "lunats.testing"
local web = require "spec.support.web"

after_each(process.close_all)

---@return table child, string admin_url, string url of the routes
local function run(source, ...)
  local path = process.write("svc.lua", source)
  local child = process.spawn { process.lunats(), "run", "--server", testing.server_url(),
    "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", path, ... }
  child:expect "svc: started"
  return child, admin.url(child), web.url(child), path
end

local function labels(route, method, code)
  return ('{service="svc",route="%s",method="%s"%s}'):format(route, method,
    code and (',code="%s"'):format(code) or "")
end

---How many requests have had this answer.
local function count(found, ...) return found["lunats_http_requests_total" .. labels(...)] end

local function ask(url, method, path) return web.get(url .. path, "-X", method).status end

describe("/metrics of a service with routes", function()
  it("counts requests by route, method and status, and never by what clients write", function()
    local child, metrics, url = run [[
      app.http.get("/orders/:id", function(req)
        local code = tonumber(req.params.id)
        if code == 500 then error "broken" end
        if code ~= 200 then return nil, { code = code, message = "no" } end
        return { id = code }
      end)
      app.http.post("/orders/:id", function() return app.http.response { status = 201 } end)
      app.http.any("/any/*", function() end)]]
    for _, id in ipairs { 200, 200, 404, 500 } do ask(url, "GET", "/orders/" .. id) end
    assert.equal(200, web.get(url .. "/orders/200", "-I").status)
    ask(url, "POST", "/orders/1")
    ask(url, "BREW", "/any/coffee")
    ask(url, "DELETE", "/any/thing?x=1")
    local found, body = admin.samples(metrics)
    assert.equal(2, count(found, "/orders/:id", "GET", 200))
    assert.equal(1, count(found, "/orders/:id", "GET", 404))
    assert.equal(1, count(found, "/orders/:id", "GET", 500))
    assert.equal(1, count(found, "/orders/:id", "HEAD", 200))
    assert.equal(1, count(found, "/orders/:id", "POST", 201))
    assert.equal(1, count(found, "/any/*", "_OTHER", 204))
    assert.equal(1, count(found, "/any/*", "DELETE", 204))
    assert.is_nil(body:find("coffee", 1, true) or body:find("BREW", 1, true))
    local series = labels("/orders/:id", "GET")
    assert.equal(4, found["lunats_http_request_seconds_count" .. series])
    assert.is_true(found["lunats_http_request_seconds_sum" .. series] > 0)
    assert.equal(4, found["lunats_http_request_seconds_bucket" .. series:gsub("}$",
      ',le="+Inf"}')])
    assert.equal(0, found["lunats_http_requests_running" .. series])
    child:stop()
  end)

  it("shows routes and their counters of errors before there is a request", function()
    local child, metrics = run 'app.http.put("/a", print)'
    local found = admin.samples(metrics)
    assert.equal(0, count(found, "/a", "PUT", 200))
    assert.equal(0, count(found, "/a", "PUT", 500))
    assert.is_nil(count(found, "/a", "GET", 200))
    assert.equal(0, child:stop())
  end)

  it("goes on counting after a reload, while the old version still answers", function()
    local source = [[
      app.http.get("/a", function() return "%s" end)
      app.http.post("/wait", function() print "waiting" app.sleep(60) end)]]
    local child, metrics, url, path = run(source:format "old")
    assert.equal("old", web.get(url .. "/a").body)
    local client = process.spawn { "curl", "-s", "-X", "POST", url .. "/wait" }
    child:expect "waiting"
    local file = assert(io.open(path, "w"))
    file:write((source:format "new"))
    file:close()
    child:signal "HUP"
    child:expect "reloaded"
    assert.equal("new", web.get(url .. "/a").body)
    local found = admin.samples(metrics)
    assert.equal(2, count(found, "/a", "GET", 200))
    assert.equal(1, found["lunats_http_requests_running" .. labels("/wait", "POST")])
    client:signal "KILL"
    eventually("the client to be missed", function()
      return count(admin.samples(metrics), "/wait", "POST", 499) == 1
    end)
    assert.equal(0, admin.samples(metrics)["lunats_http_requests_running"
      .. labels("/wait", "POST")])
    child:signal "USR1"
    child:expect "HTTP GET /a %b(): running 0, requests 2, errors 0"
    assert.equal(0, child:stop())
  end)

  it("counts what no handler has got", function()
    local child, metrics, url = run 'app.http.post("/a", { max_body = 3 }, function() end)'
    ask(url, "GET", "/a")
    ask(url, "GET", "/none/1")
    ask(url, "GET", "/none/2")
    ask(url, "GET", "/%zz")
    assert.equal(413, web.get(url .. "/a", "-d", "1234").status)
    local found = admin.samples(metrics)
    local function refused(code)
      return found[('lunats_http_refused_total{code="%d"}'):format(code)]
    end
    for code, n in pairs { [404] = 2, [405] = 1, [413] = 1 } do
      assert.equal(n, refused(code), code)
    end
    assert.equal(1, refused(400) or 1) -- libmicrohttpd of 2025 refuses it before we know of it
    assert.equal(0, count(found, "/a", "POST", 200))
    assert.equal(0, child:stop())
  end)

  it("has a word on each of them, and tells services with the same route apart", function()
    local other = process.write("other.lua", 'app.http.get("/b", function() end)')
    local child, metrics, url = run('app.http.get("/a", function() end)', other)
    child:expect "other: started"
    ask(url, "GET", "/b")
    local found, body = admin.samples(metrics, "application/openmetrics-text")
    assert.equal(1,
      found['lunats_http_requests_total{service="other",route="/b",method="GET",code="204"}'])
    for name in body:gmatch "# TYPE (lunats_http_%S+)" do
      assert.matches("# HELP " .. name .. " %S", body)
    end
    assert.matches("# TYPE lunats_http_requests counter\n", body)
    if os.execute "command -v promtool >/dev/null" then
      local plain = process.write("metrics", (select(2, admin.samples(metrics))))
      local status, output = assert(core.process({ "sh", "-c",
        "promtool check metrics <" .. plain }, true)):wait()
      assert.equal(0, status, output)
      assert.equal("", output)
    end
    assert.equal(0, child:stop())
  end)
end)

describe("/status.json of a service with routes", function()
  it("has each of them, by method", function()
    local child, metrics, url = run [[
      app.http.get("/orders/:id", function(req) return req.params.id end)
      app.http.any("/fails", function() return nil, { code = 500, message = "no" } end)]]
    ask(url, "GET", "/orders/1")
    ask(url, "GET", "/orders/2")
    ask(url, "PUT", "/fails")
    local _, body = admin.get(metrics, "/status.json")
    local one = app.json.decode(body).services[1]
    assert.equal(2, one.route_count)
    local routes = {}
    for _, route in ipairs(one.routes) do
      routes[route.method .. " " .. route.route] = route
    end
    local orders, fails = routes["GET /orders/:id"], routes["PUT /fails"]
    assert.same({ 2, 0, 0 }, { orders.requests, orders.errors, orders.running })
    assert.same({ 1, 1, 0 }, { fails.requests, fails.errors, fails.running })
    local sum = 0
    for _, n in ipairs(orders.buckets) do sum = sum + n end
    assert.equal(2, sum)
    assert.equal(0, child:stop())
  end)
end)

describe("/metrics of a service without routes", function()
  it("says nothing of HTTP", function()
    local child, metrics = run 'app.listen("spec.nothing", print)'
    local _, body = admin.samples(metrics)
    assert.is_nil(body:find("lunats_http_", 1, true))
    assert.equal(0, child:stop())
  end)
end)
