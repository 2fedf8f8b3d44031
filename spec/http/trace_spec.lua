-- Requests by HTTP as parts of traces.
local collectors = require "spec.support.collector"
local eventually = require "spec.support.eventually"
local http_server = require "spec.support.http_server"
local own = require "spec.support.own"
local process = require "spec.support.process"
local unique = require "spec.support.unique"
local web = require "spec.support.web"

local TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
local PARENT = ("00-%s-%s-01"):format(TRACE, SPAN)

local collector
after_each(function()
  own.close()
  if collector then collector:stop() end
  collector = nil
  process.close_all()
end)

local function run(source, ...)
  local child = process.run(source, { "--http", "127.0.0.1:0", ... },
    { env = { OTEL_BSP_SCHEDULE_DELAY = "50" } })
  child:expect "started, connected to"
  return child, web.url(child):match "^http://[%d.:]+" -- of a log in JSON, too
end

local function run_traced(source, ...)
  collector = collectors.start()
  return run(source, "--otlp", collector.url, ...)
end

---What a listener of the spec is asked by the service.
local function headers_seen(subject)
  local seen = {}
  own.keep(app.listen(subject, function(msg)
    seen.headers = msg.headers
    return '"answer"' -- as JSON
  end))
  return seen
end

describe("a request by HTTP", function()
  it("hands on the trace that it brings, and the log has it, with the route", function()
    local subject = unique "trace"
    local seen = headers_seen(subject)
    local child, url = run(([[
      app.http.get("/orders/:id", function()
        app.log.info "asked"
        return app.spawn(function()
          app.log.info "spawned"
          return app.request("%s", 1)
        end):await()
      end)]]):format(subject), "--log-format", "json")
    local res = web.get(url .. "/orders/7", "-H", "traceparent: " .. PARENT, "-H",
      "TraceState: a=1", "-H", "tracestate: b=2", "-H", "baggage: user=7")
    assert.equal('"answer"', res.body, child:output())
    assert.same({ traceparent = PARENT, tracestate = "a=1,b=2", baggage = "user=7" },
      seen.headers)
    for _, text in ipairs { "asked", "spawned" } do
      local line = child:expect('[^\n]*"' .. text .. '"[^\n]*')
      assert.matches('"route":"/orders/:id"', line)
      assert.matches(('"trace_id":"%s"'):format(TRACE), line)
    end
    assert.equal('"answer"', web.get(url .. "/orders/8").body)
    assert.same({}, seen.headers)
    web.get(url .. "/orders/9", "-H", "traceparent: " .. PARENT,
      "-H", "traceparent: " .. PARENT)
    assert.same({}, seen.headers)
    assert.equal(0, child:stop())
  end)

  it("is a span of its client's trace, in the words of OpenTelemetry", function()
    local subject = unique "trace"
    local seen = headers_seen(subject)
    local child, url = run_traced(([[
      app.http.post("/orders/:id", function()
        return assert(app.request("%s", 1)).data
      end)]]):format(subject))
    web.get(url .. "/orders/7?secret=1", "-d", "{}", "-A", "spec/1", "-H",
      "traceparent: " .. PARENT, "-H", "tracestate: a=1")
    local span, request = collector:expect("POST /orders/:id", "request " .. subject)
    assert.same({ TRACE, SPAN, 2, "a=1" },
      { span.traceId, span.parentSpanId, span.kind, span.traceState })
    assert.is_nil(span.status)
    local port = url:match "%d+$"
    assert.same({
      ["http.request.method"] = "POST", ["http.route"] = "/orders/:id",
      ["url.path"] = "/orders/7", ["url.scheme"] = "http",
      ["server.address"] = "127.0.0.1", ["server.port"] = port,
      ["client.address"] = "127.0.0.1", ["user_agent.original"] = "spec/1",
      ["http.response.status_code"] = "200",
    }, span.attributes)
    assert.equal(span.spanId, request.parentSpanId)
    assert.equal(("00-%s-%s-01"):format(TRACE, request.spanId), seen.headers.traceparent)
    assert.is_true(tonumber(span.startTimeUnixNano) <= tonumber(request.startTimeUnixNano))
    assert.equal(0, child:stop())
  end)

  it("begins a trace where it brings none, and what it asks by HTTP is told of it", function()
    local server = http_server.start()
    local child, url = run_traced(([[
      app.http.get("/", function()
        return app.http.request { url = "%s/echo" }.data.headers.traceparent
      end)]]):format(server.url))
    local told = app.json.decode(web.get(url .. "/", "-H", "traceparent: 00-nonsense").body)[1]
    local span, client = collector:expect("GET /", "GET")
    assert.is_nil(span.parentSpanId)
    assert.not_equal(TRACE, span.traceId)
    assert.equal(span.spanId, client.parentSpanId)
    assert.matches(("^00%%-%s%%-%s%%-"):format(span.traceId, client.spanId), told)
    assert.equal(0, child:stop())
  end)

  it("is an error when its handler fails, and not for the mistakes of clients", function()
    local child, url = run_traced [[
      app.http.get("/raised", function() error "all is lost" end)
      app.http.get("/500", function() return nil, { code = 503, message = "later" } end)
      app.http.get("/404", function() return nil, { code = 404, message = "no" } end)
      app.http.any("/any", function() end)]]
    for _, path in ipairs { "/raised", "/500", "/404" } do web.get(url .. path) end
    web.get(url .. "/any", "-X", "BREW")
    local raised, later, missing, odd = collector:expect("GET /raised", "GET /500", "GET /404",
      "HTTP /any")
    assert.equal(2, raised.status.code)
    assert.matches("all is lost", raised.status.message)
    assert.equal("exception", raised.events[1].name)
    assert.equal("500", raised.attributes["error.type"])
    assert.same({ code = 2, message = "" }, later.status)
    assert.equal("503", later.attributes["error.type"])
    assert.is_nil(missing.status)
    assert.is_nil(missing.attributes["error.type"])
    assert.equal("404", missing.attributes["http.response.status_code"])
    assert.equal("_OTHER", odd.attributes["http.request.method"])
    assert.equal("BREW", odd.attributes["http.request.method_original"])
    assert.equal(0, child:stop())
  end)

  it("shows a client that was gone, and a stream that broke off", function()
    local child, url = run_traced [[
      app.http.get("/wait", function() print "waiting" app.sleep(60) end)
      app.http.get("/stream", function()
        return app.http.response { stream = function(write) write "some" error "boom" end }
      end)]]
    local client = process.spawn { "curl", "-s", url .. "/wait" }
    child:expect "waiting"
    client:signal "KILL"
    process.spawn({ "curl", "-s", url .. "/stream" }):wait()
    local wait, stream = collector:expect("GET /wait", "GET /stream")
    assert.equal("cancelled", wait.attributes["error.type"])
    assert.is_nil(wait.attributes["http.response.status_code"])
    assert.equal(2, wait.status.code)
    assert.equal("200", stream.attributes["http.response.status_code"])
    assert.matches("boom", stream.status.message)
    assert.equal(0, child:stop())
  end)

  it("is not recorded where its client says so, whose wish is handed on", function()
    local subject = unique "trace"
    local seen = headers_seen(subject)
    local child, url = run_traced(('app.http.get("/", function() return app.request("%s") end)')
      :format(subject))
    web.get(url .. "/", "-H", ("traceparent: 00-%s-%s-00"):format(TRACE, SPAN))
    web.get(url .. "/", "-H", ("traceparent: 00-%s-%s-01"):format(TRACE, SPAN))
    eventually("the second one", function() return #collector:spans() >= 2 end)
    local servers = 0
    for _, span in ipairs(collector:spans()) do
      if span.kind == 2 then servers = servers + 1 end
    end
    assert.equal(1, servers)
    assert.matches("^00%-" .. TRACE, seen.headers.traceparent)
    assert.equal(0, child:stop())
  end)
end)
