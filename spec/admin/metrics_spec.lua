-- /metrics: what Prometheus reads, and what scripts count themselves.
local admin = require "spec.support.admin"
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"

after_each(process.close_all)

local function run(source, ...)
  local child = process.run(source, { "--admin", "127.0.0.1:0", ... })
  child:expect "started, connected to"
  return child, admin.url(child)
end

local samples = admin.samples

local SIMPLE = 'app.listen("spec.metrics", function() return 1 end)\n'

describe("/metrics", function()
  it("is what promtool accepts", function()
    if not os.execute "command -v promtool >/dev/null" then return pending "no promtool" end
    local child, url = run([[
      app.metrics.counter { name = "orders_total", help = "Orders\nby \\ state.",
        labels = { "state" } }:inc { state = 'a "b"\n\\c' }
      app.metrics.histogram { name = "order_seconds", help = "Time." }:observe(0.2)
      app.metrics.gauge { name = "queue_length", help = "Length." }:set(-1.5)
      app.timer(1000, function() end)
      app.cache("promtool"):set("a", 1)
      app.health("x", function() return true end)]] .. "\n" .. SIMPLE)
    app.request("spec.metrics", 1)
    local _, body, headers = samples(url)
    assert.equal("text/plain; version=0.0.4; charset=utf-8", headers["content-type"])
    local path = process.write("metrics", body)
    local status, output = assert(core.process({ "sh", "-c",
      "promtool check metrics <" .. path }, true)):wait()
    assert.equal(0, status, output)
    assert.equal("", output)
    for name in body:gmatch "# TYPE (%S+)" do
      assert.matches("# HELP " .. name .. " %S", body)
      assert.is_truthy(name:find "^lunats_" or name:find "^order" or name == "queue_length")
    end
    assert.equal(0, child:stop())
  end)

  it("is OpenMetrics for those who prefer it", function()
    local child, url = run(SIMPLE
      .. 'app.metrics.counter { name = "orders_total", help = "Orders." }:inc()')
    local prometheus = "application/openmetrics-text;version=1.0.0,"
      .. "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    local found, body, headers = samples(url, prometheus)
    assert.equal("application/openmetrics-text; version=1.0.0; charset=utf-8",
      headers["content-type"])
    assert.matches("\n# EOF\n$", body)
    assert.matches("# TYPE orders counter\n", body)
    assert.equal(1, found['orders_total{service="svc"}'])
    for _, accept in ipairs { "text/plain", "*/*", "application/openmetrics-text;q=0",
      "application/openmetrics-text;q=0.3,text/plain;q=0.4" } do
      _, body, headers = samples(url, accept)
      assert.matches("^text/plain", headers["content-type"], accept)
      assert.is_nil(body:find("# EOF", 1, true))
    end
    assert.equal(0, child:stop())
  end)

  it("tells of the process and of its services", function()
    local path = process.write("other.lua", SIMPLE)
    local child, url = run(SIMPLE .. [[
      app.timer(0.01, { name = "tick" }, function() collectgarbage() end)]], path)
    child:expect "svc: started"
    child:expect "other: started"
    local found = samples(url)
    for _, service in ipairs { "svc", "other" } do
      assert.equal(1, found[('lunats_connection_up{service="%s"}'):format(service)])
      assert.equal(1, found[('lunats_service_ready{service="%s"}'):format(service)])
      assert.is_true(found[('lunats_lua_memory_bytes{service="%s"}'):format(service)] > 10000)
      assert.is_true(found[('lunats_subscriptions{service="%s"}'):format(service)] >= 1)
    end
    assert.equal(1, found['lunats_fibers{service="svc",kind="background"}'])
    assert.is_true(math.abs(found["lunats_start_time_seconds"] - app.now()) < 60)
    assert.is_true(found["lunats_resident_memory_bytes"] > 1e6)
    assert.is_true(found["lunats_cpu_seconds_total"] > 0)
    assert.is_true(found["lunats_open_fds"] > 3)
    assert.is_true(found["lunats_loop_lag_seconds_count"] > 0)
    local collections = 'lunats_lua_collections_total{service="svc"}'
    local before = found[collections]
    eventually("collections", function() return samples(url)[collections] > before + 1 end)
    assert.equal(0, child:stop())
  end)

  it("tells of the caches of the process, which belong to no service", function()
    local child, url = run(SIMPLE .. [[
      local cache = app.cache('sessions "a"', { max_bytes = 50000 })
      for i = 1, 1000 do cache:set(i, "0123456789") end
      for i = 1, 1000 do cache:get(i) end]])
    local found = samples(url)
    local function value(name) return found[name .. '{cache="sessions \\"a\\""}'] end
    assert.equal(50000, value "lunats_cache_max_bytes")
    assert.is_true(value "lunats_cache_bytes" > 49000)
    assert.equal(1000, value "lunats_cache_entries" + value "lunats_cache_evictions_total")
    assert.equal(value "lunats_cache_entries", value "lunats_cache_hits_total")
    assert.equal(value "lunats_cache_evictions_total", value "lunats_cache_misses_total")
    assert.equal(0, value "lunats_cache_expirations_total")
    assert.equal(0, child:stop())
  end)

  it("tells whether a service is ready", function()
    local child, url = run('app.health("x", function() return nil, "no" end)\n' .. SIMPLE)
    admin.expect_ready(url, 503)
    assert.equal(0, samples(url)['lunats_service_ready{service="svc"}'])
    assert.equal(0, child:stop())
  end)

  it("shows the counters of errors before there is one", function()
    local child, url = run(SIMPLE .. 'app.timer(60, { name = "tick" }, function() end)')
    local found = samples(url)
    assert.equal(0,
      found['lunats_requests_total{service="svc",endpoint="spec_metrics",code="500"}'])
    assert.equal(0,
      found['lunats_timer_ticks_total{service="svc",timer="tick",result="error"}'])
    assert.equal(0, child:stop())
  end)

  it("counts what listeners handle, by code, with the time that it took", function()
    local child, url = run([[
      app.listen("spec.codes.*", { name = "codes" }, function(msg)
        local code = tonumber(msg.subject:match "%d+$")
        if code == 500 then error "broken" end
        if code ~= 200 then return nil, { code = code, message = "no" } end
        return 1
      end)
      app.listen("spec.wait", function() app.sleep(30) return 1 end)]], "--drain-timeout", "0")
    for _, code in ipairs { 200, 200, 200, 404, 404, 500 } do
      app.request("spec.codes." .. code, 1)
    end
    app.publish("spec.wait", 1)
    local found = eventually("a handler that runs", function()
      local now = samples(url)
      return now['lunats_handlers_running{service="svc",endpoint="spec_wait"}'] == 1 and now
    end)
    local function requests(code)
      return found[('lunats_requests_total{service="svc",endpoint="codes",code="%d"}')
        :format(code)]
    end
    assert.equal(3, requests(200))
    assert.equal(2, requests(404))
    assert.equal(1, requests(500))
    assert.equal(6, found['lunats_request_seconds_count{service="svc",endpoint="codes"}'])
    assert.is_true(found['lunats_request_seconds_sum{service="svc",endpoint="codes"}'] > 0)
    assert.equal(0, found['lunats_pending_messages{service="svc",endpoint="codes"}'])
    assert.equal(256, found['lunats_handlers_limit{service="svc",endpoint="codes"}'])
    assert.equal(0, found['lunats_dropped_total{service="svc",endpoint="codes"}'])
    child:stop()
  end)

  it("counts ticks of timers, also over a reload", function()
    local source = [[
      app.timer(0.01, { name = "good" }, function() end)
      app.timer(1000, function() error "bad" end)
      app.timer(0.01, { name = "slow" }, function() app.sleep(0.05) end)
      ]] .. SIMPLE
    local child, url = run(source, "--watch")
    local function ticks(name, result)
      return samples(url)[('lunats_timer_ticks_total{service="svc",timer="%s",result="%s"}')
        :format(name, result)] or 0
    end
    eventually("ticks", function() return ticks("good", "ok") > 3 end)
    eventually("skipped ticks", function() return ticks("slow", "skipped") > 3 end)
    assert.equal(1, ticks("every 1000 s", "error"))
    local before = ticks("good", "ok")
    local file = assert(io.open(child.command[#child.command], "w"))
    file:write(source, "--\n")
    file:close()
    child:expect "reloaded in"
    assert.is_true(ticks("good", "ok") >= before)
    assert.equal(0, child:stop())
  end)

  it("tells of consumers: what became of messages, how far behind they are", function()
    assert(app.js.add_stream { name = "METRICS", subjects = { "metrics.>" } })
    finally(function() assert(app.js.delete_stream "METRICS") end)
    local child, url = run [[
      app.on_start(function()
        local psub = app.js.pull_subscribe("metrics.work", { durable = "worker" })
        assert(psub:consume({ data_type = "string", max_deliver = 1 }, function(msg)
          if msg.data == "nak" then msg:nak(1000) end
          if msg.data == "fail" then error "no" end
          if msg.data == "wait" then app.sleep(30) end
        end))
        local other = app.js.pull_subscribe("metrics.fetch", {})
        app.listen("spec.fetch", function()
          for _, msg in ipairs(other:fetch(2, { timeout = 10 })) do msg:ack() end
          return 1
        end)
        app.js.subscribe("metrics.ordered", { ordered = true }, function() end)
      end)]]
    for _, data in ipairs { "a", "b", "nak", "fail", "wait", "c", "d", "e" } do
      assert(app.js.publish("metrics.work", data))
    end
    assert(app.js.publish("metrics.ordered", 1))
    for _ = 1, 2 do assert(app.js.publish("metrics.fetch", 1)) end
    assert(app.request("spec.fetch", 1))
    local found
    local function of(name, consumer, more)
      return found[('lunats_js_%s{service="svc",stream="METRICS",consumer="%s"%s}')
        :format(name, consumer, more or "")]
    end
    eventually("the messages", function()
      found = samples(url)
      return of("settled_total", "worker", ',outcome="term"') == 1
        and of("consumer_ack_pending", "worker") == 5 -- nak, wait, c, d, e
        and of("consumer_pending", "worker") == 0
        and of("consumer_ack_pending", "(ephemeral)") == 0
    end)
    assert.equal(2, of("settled_total", "worker", ',outcome="ack"'))
    assert.equal(1, of("settled_total", "worker", ',outcome="nak"'))
    assert.equal(2, of("settled_total", "(ephemeral)", ',outcome="ack"'))
    assert.equal(1, of("consumer_up", "worker"))
    assert.equal(1, of("consumer_up", "(ordered)"))
    assert.is_nil(of("consumer_pending", "(ordered)"))
    assert.is_true(of("last_message_age_seconds", "worker") < 60)
    assert.is_true(of("last_message_age_seconds", "(ephemeral)") < 60)
    child:signal "KILL"
    child:wait()
  end)

  it("answers without the server's numbers when the server hangs", function()
    local server = process.server { args = { "-js", "-sd", process.path "js" } }
    local child = process.run([[
      app.on_start(function()
        assert(app.js.add_stream { name = "S", subjects = { "s" } })
        assert(app.js.pull_subscribe("s", { durable = "worker" }):consume(function() end))
      end)]], { "--admin", "127.0.0.1:0" }, { servers = { server.url } })
    child:expect "started, connected to"
    local url = admin.url(child)
    local pending = 'lunats_js_consumer_pending{service="svc",stream="S",consumer="worker"}'
    assert.equal(0, samples(url)[pending])
    server:signal "STOP"
    local found = samples(url)
    assert.is_nil(found[pending])
    assert.is_truthy(found['lunats_connection_up{service="svc"}'])
    server:signal "CONT"
    assert.equal(0, child:stop())
  end)

  it("has the connections of app.connect by their names", function()
    local far = process.server {}
    local child, url = run(([[
      local conns = {}
      app.task(function()
        for _, name in ipairs { "far", "same", "same" } do
          conns[name] = app.connect { server = %q, name = name }
          conns[#conns + 1] = conns[name]
        end
        conns.far.publish("x", "12345")
        conns.far.flush()
        app.sleep(1000)
      end)
      app.listen("spec.metrics.close", function()
        conns.far.close()
        return 1
      end)
      ]]):format(far.url))
    local sent = 'lunats_sent_bytes_total{service="svc",connection="far"}'
    local found = eventually("what was sent", function()
      local now = samples(url)
      return now[sent] == 5 and now
    end)
    assert.equal(1, found['lunats_connection_up{service="svc",connection="far"}'])
    assert.equal(1, found['lunats_connection_up{service="svc",connection="same"}'])
    assert.equal(1, found['lunats_connection_up{service="svc"}'])
    far:signal "STOP"
    far:signal "KILL"
    eventually("the loss", function()
      return samples(url)['lunats_connection_up{service="svc",connection="far"}'] == 0
    end)
    assert(app.request("spec.metrics.close", ""))
    eventually("its end", function() return samples(url)[sent] == nil end)
    assert.equal(0, child:stop())
  end)

  it("tells two services of one name apart", function()
    local path = process.write("svc.lua", SIMPLE)
    local child, url = run(SIMPLE, path)
    local found = eventually("two services", function()
      local now = samples(url)
      return now['lunats_connection_up{service="svc#2"}'] == 1 and now
    end)
    assert.equal(1, found['lunats_connection_up{service="svc"}'])
    assert.equal(0, child:stop())
  end)

  it("shows how long a turn of the loop has kept everything waiting", function()
    local child, url = run [[app.listen("spec.busy", function()
      local till = os.clock() + 0.3
      while os.clock() < till do end
      return 1
    end)]]
    assert(app.request("spec.busy", 1, { timeout = 60 }))
    local found = samples(url)
    local under = found['lunats_loop_lag_seconds_bucket{le="0.25"}']
    assert.is_true(found["lunats_loop_lag_seconds_count"] > under)
    assert.is_true(found["lunats_loop_lag_seconds_sum"] >= 0.3)
    assert.equal(0, child:stop())
  end)

  it("counts reloads", function()
    local child, url = run(SIMPLE, "--watch")
    local function edit(text)
      local file = assert(io.open(child.command[#child.command], "w"))
      file:write(text)
      file:close()
    end
    local LAST = 'lunats_last_reload_successful{service="svc"}'
    assert.equal(1, samples(url)[LAST])
    edit "app.config {"
    child:expect "reload failed"
    assert.equal(0, samples(url)[LAST])
    edit(SIMPLE .. "-- changed\n")
    child:expect "reloaded in"
    local found = samples(url)
    assert.equal(1, found[LAST])
    assert.equal(1, found['lunats_reloads_total{service="svc",result="ok"}'])
    assert.equal(1, found['lunats_reloads_total{service="svc",result="failed"}'])
    assert.equal(0, child:stop())
  end)
end)

describe("app.metrics", function()
  it("counts, sets and observes, by labels", function()
    local child, url = run([[
      local c = app.metrics.counter { name = "c_total", help = "x", labels = { "a", "b" } }
      c:inc { a = 1, b = true }
      c:inc(2.5, { a = 1, b = true })
      c:inc(0, { a = "x", b = "" })
      local plain = app.metrics.counter { name = "plain_total", help = "x" }
      plain:inc()
      plain:inc(2)
      local g = app.metrics.gauge { name = "g", help = "x", labels = { "a" } }
      g:set(5, { a = "x" })
      g:inc { a = "x" }
      g:dec(3, { a = "x" })
      local h = app.metrics.histogram { name = "h_seconds", help = "x", buckets = { 1, 2.5 } }
      h:observe(0.5) h:observe(1) h:observe(2) h:observe(99)]] .. "\n" .. SIMPLE)
    local found = samples(url)
    assert.equal(3.5, found['c_total{service="svc",a="1",b="true"}'])
    assert.equal(0, found['c_total{service="svc",a="x",b=""}'])
    assert.equal(3, found['plain_total{service="svc"}'])
    assert.equal(3, found['g{service="svc",a="x"}'])
    assert.equal(2, found['h_seconds_bucket{service="svc",le="1.0"}'])
    assert.equal(3, found['h_seconds_bucket{service="svc",le="2.5"}'])
    assert.equal(4, found['h_seconds_bucket{service="svc",le="+Inf"}'])
    assert.equal(102.5, found['h_seconds_sum{service="svc"}'])
    assert.equal(4, found['h_seconds_count{service="svc"}'])
    assert.equal(0, child:stop())
  end)

  it("goes on over reloads, also of a version that fails or has other labels", function()
    local COUNT = 'app.metrics.counter { name = "c_total", help = "x" }:inc()\n'
    local child, url = run(COUNT .. SIMPLE, "--watch")
    local function edit(text, expected)
      local before = child:count(expected)
      local file = assert(io.open(child.command[#child.command], "w"))
      file:write(text)
      file:close()
      eventually(expected, function() return child:count(expected) > before end)
    end
    edit(COUNT .. SIMPLE .. "--\n", "reloaded in")
    assert.equal(2, samples(url)['c_total{service="svc"}'])
    local other = [[
      app.metrics.counter { name = "c_total", help = "x", labels = { "l" } }:inc { l = 1 }
    ]]
    edit(other .. "error 'no'\n", "reload failed")
    assert.equal(2, samples(url)['c_total{service="svc"}'])
    edit(other .. SIMPLE, "reloaded in")
    eventually("the new labels", function()
      return samples(url)['c_total{service="svc",l="1"}'] == 1
    end)
    edit(SIMPLE, "reloaded in")
    eventually("the end", function()
      return not select(2, samples(url)):find("c_total", 1, true)
    end)
    assert.equal(0, child:stop())
  end)

  it("puts the same metric of several services into one family", function()
    local source = 'app.metrics.counter { name = "c_total", help = "x" }:inc()\n' .. SIMPLE
    local path = process.write("other.lua", source)
    local child, url = run(source, path)
    child:expect "other: started"
    local found, body = samples(url)
    assert.equal(1, found['c_total{service="svc"}'])
    assert.equal(1, found['c_total{service="other"}'])
    assert.equal(1, select(2, body:gsub("# TYPE c_total", "")))
    assert.equal(0, child:stop())
  end)

  it("counts together what looks the same, as bytes that are no UTF-8 do", function()
    local child, url = run([[
      local c = app.metrics.counter { name = "c_total", help = "x", labels = { "who" } }
      for _, who in ipairs { "a\xff", "a\xfe", "a?" } do c:inc { who = who } end
      for _, last in ipairs { "ä", "ö" } do c:inc { who = ("x"):rep(254) .. last } end
      ]] .. SIMPLE)
    local found = samples(url)
    assert.equal(3, found['c_total{service="svc",who="a?"}'])
    assert.equal(2, found[('c_total{service="svc",who="%s?"}'):format(("x"):rep(254))])
    assert.equal(0, child:stop())
  end)

  it("counts a thousand sets of labels, and tells of those beyond", function()
    local child, url = run([[
      local c = app.metrics.counter { name = "c_total", help = "x", labels = { "id" } }
      for id = 1, 1010 do c:inc { id = id } end]] .. "\n" .. SIMPLE)
    child:expect "WARN .*metric c_total: more than 1000 sets of labels"
    local found, body = samples(url)
    assert.equal(1000, select(2, body:gsub("\nc_total{", "")))
    assert.equal(10, found['lunats_metrics_dropped_total{service="svc",metric="c_total"}'])
    assert.equal(1, child:count "sets of labels")
    assert.equal(0, child:stop())
  end)

  it("has a thousand names in a script at most", function()
    local child = process.run [[
      for i = 1, 1001 do
        app.metrics.gauge { name = "g" .. i % 1001, help = "x" }
        app.metrics.gauge { name = "g1", help = "x" }
      end]]
    assert.equal(1, child:wait())
    assert.matches("a script has 1000 metrics at most; what differs may be a label",
      child:output(), 1, true)
  end)

  it("says what is wrong", function()
    local metrics = app.metrics
    local function refused(text, fn, ...)
      local ok, err = pcall(fn, ...)
      assert.is_false(ok, text)
      assert.matches(text, tostring(err), 1, true)
    end
    local _, err = pcall(metrics.counter, { name = "a_total" }) -- C between it and the line
    assert.matches("metrics_spec.lua:%d+: app.metrics.counter: help is missing", err)
    refused("help is missing", metrics.counter, { name = "a_total" })
    refused("ends in '_total': 'a_total'", metrics.counter, { name = "a", help = "x" })
    refused("'_total' is for counters", metrics.gauge, { name = "a_total", help = "x" })
    refused("those of the host", metrics.gauge, { name = "lunats_x", help = "x" })
    refused("the name '1a' may hold", metrics.gauge, { name = "1a", help = "x" })
    refused("the name 'nil' may hold", metrics.gauge, { help = "x" })
    refused("those of histograms", metrics.gauge, { name = "a_sum", help = "x" })
    refused("set by the host", metrics.gauge, { name = "a", help = "x",
      labels = { "service" } })
    refused("there twice", metrics.gauge, { name = "a", help = "x", labels = { "b", "b" } })
    refused("8 labels at most", metrics.gauge, { name = "a", help = "x",
      labels = { "a", "b", "c", "d", "e", "f", "g", "h", "i" } })
    refused("rising", metrics.histogram, { name = "a", help = "x", buckets = { 2, 1 } })
    refused("buckets is a list", metrics.histogram, { name = "a", help = "x", buckets = {} })
    refused("unknown option 'buckets'", metrics.gauge, { name = "a", help = "x", buckets = {} })
    local c = metrics.counter { name = "spec_a_total", help = "x", labels = { "l" } }
    assert.equal(c, metrics.counter { name = "spec_a_total", help = "x", labels = { "l" } })
    refused("another type", metrics.counter, { name = "spec_a_total", help = "x" })
    refused("one name in OpenMetrics", metrics.gauge, { name = "spec_a", help = "x" })
    refused("no value for the label 'l'", c.inc, c)
    refused("no value for the label 'l'", c.inc, c, {})
    refused("declared without the label 'm'", c.inc, c, { l = 1, m = 2 })
    refused("a boolean expected for the label 'l'", c.inc, c, { l = {} })
    refused("-1 cannot be counted", c.inc, c, -1, { l = 1 })
    refused("inf cannot be counted", c.inc, c, math.huge, { l = 1 })
    local h = metrics.histogram { name = "spec_h", help = "x" }
    refused("NaN cannot be counted", h.observe, h, 0 / 0)
    refused("inf cannot be counted", h.observe, h, math.huge)
    refused("number expected", c.inc, c, "x", { l = 1 })
    local g = metrics.gauge { name = "spec_g", help = "x" }
    refused("one name in OpenMetrics", metrics.counter, { name = "spec_g_total", help = "x" })
    refused("number expected", g.set, g)
    refused("declared without the label 'm'", g.set, g, 1, { m = 2 })
  end)
end)
