---A real Prometheus reads what services count.
local admin = require "spec.support.admin"
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local prometheus = require "spec.support.prometheus"

---Skipped where there is no Prometheus.
local function test(name, fn)
  if prometheus.found then return it(name, fn) end
  return pending(name .. " (no prometheus, no promtool)")
end

after_each(process.close_all)

describe("Prometheus", function()
  local SOURCE = [[
    app.config { name = "orders" }
    app.listen("spec.rate", { name = "create" }, function() return 1 end)
  ]]

  test("tells the rate of two instances, over a reload", function()
    local children, urls = {}, {}
    for i = 1, 2 do
      children[i] = process.run(SOURCE, { "--admin", "127.0.0.1:0", "--watch" })
      children[i]:expect "started, connected to"
      urls[i] = admin.url(children[i])
    end
    local server = prometheus.start(urls)
    server:expect('count(lunats_request_seconds_count{service="orders"} == 0)', 2)
    local began = app.now()
    local REQUESTS = 300
    for i = 1, REQUESTS do
      assert(app.request("spec.rate", 1))
      if i % 10 == 0 then app.sleep(0.05) end
      if i == REQUESTS / 2 then
        local file = assert(io.open(children[1].command[#children[1].command], "w"))
        file:write(SOURCE .. "-- changed\n")
        file:close()
        children[1]:expect "orders: reloaded"
      end
    end
    server:expect("sum(lunats_requests_total)", REQUESTS)
    server:expect('sum(lunats_requests_total{code="200"})', REQUESTS)
    -- The window begins before the first request and ends after the last. Prometheus guesses
    -- what it has not seen at the end: about an interval, which a busy machine makes longer.
    local now = app.now()
    local window = math.ceil(now - began) + 2
    local rate = server:value(("sum(rate(lunats_requests_total[%ds]))"):format(window), now)
    assert.is_true(rate * window >= REQUESTS, rate * window)
    assert.is_true(rate * window <= REQUESTS * 1.5, rate * window)
    server:expect("count(sum by (instance) (lunats_requests_total) > 0)", 2)
    assert.equal(0, server:value "sum(resets(lunats_requests_total[1m]))")
    for _, child in ipairs(children) do assert.equal(0, child:stop()) end
    server:expect("max(up)", 0)
  end)
end)

describe("promtool", function()
  test("accepts the metrics of every example", function()
    local server = process.server { args = { "-js", "-sd", process.path "js" } }
    local child = process.spawn { process.lunats(), "run", "--server", server.url,
      "--admin", "127.0.0.1:0", "examples/", "examples/jetstream/", "examples/patterns/" }
    local url = admin.url(child)
    admin.expect_ready(url, 200)
    local conn = assert(app.connect { server = server.url })
    finally(function() conn.close() end)
    assert(conn.request("hello.greet", { name = "Ada" }))
    conn.request("hello.greet", {})
    local body = eventually("a message of every consumer", function()
      local _, text = admin.get(url, "/metrics")
      return text:find("lunats_js_settled_total", 1, true) and text
    end)
    local services = {}
    for name in body:gmatch 'lunats_service_info{service="([^"]*)"' do
      services[#services + 1] = name
    end
    assert.is_true(#services >= 8, table.concat(services, " "))
    local status, output = prometheus.check_metrics(body)
    assert.equal(0, status, output)
    assert.equal("", output)
  end)
end)
