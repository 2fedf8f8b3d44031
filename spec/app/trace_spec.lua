-- Traces: what messages bring of them is passed on, and what a service did is told to a
-- collector.
local admin = require "spec.support.admin"
local collectors = require "spec.support.collector"
local eventually = require "spec.support.eventually"
local http_server = require "spec.support.http_server"
local own = require "spec.support.own"
local process = require "spec.support.process"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

local TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
local PARENT = ("00-%s-%s-01"):format(TRACE, SPAN)
local HEADERS = { traceparent = PARENT, tracestate = "a=1,b=2", baggage = "user=7" }

local collector
after_each(function()
  own.close()
  if collector then collector:stop() end
  collector = nil
  process.close_all()
end)

---Starts a service in this process.
local function start(source, ...) return own.keep(testing.start(source:format(...))) end

---Publishes or requests something that leads to a message on `seen`; returns that message.
local function message_on(seen, fn)
  local got
  local handle = own.keep(app.listen(seen, function(msg) got = msg end))
  fn()
  local msg = eventually("a message on " .. seen, function() return got end)
  handle:stop()
  return msg
end

describe("a trace that comes with a message", function()
  local name
  before_each(function() name = unique "trace" end)

  for _, case in ipairs {
    { "publish", "app.publish('%s.seen', 1)" },
    { "request", "app.request('%s.seen', 1, { timeout = 0.1 })" },
    { "request_many", "app.request_many('%s.seen', 1, { timeout = 0.1 })" },
    { "publish in a fiber that is spawned",
      "app.spawn(function() app.sleep(0) app.publish('%s.seen', 1) end)" },
    { "publish after a wait, while other messages come",
      "app.publish('%s.other', 1) app.sleep(0.05) app.publish('%s.seen', 1)" },
  } do
    it("is passed on untouched by " .. case[1], function()
      start("app.listen('%s', function() " .. case[2] .. " end) app.listen('x.%s', print)",
        name, name, name, name)
      local msg = message_on(name .. ".seen", function()
        app.publish(name, 1, { headers = HEADERS })
        app.publish(name .. ".none", 1)
      end)
      assert.same(HEADERS, msg.headers)
    end)
  end

  it("is passed on by what is published to a stream and consumed from it", function()
    local stream = own.stream "trace"
    start([[
      app.listen("in.%s", function() assert(app.js.publish("%s.a", 1)) end)
      app.js.pull_subscribe("%s.>", { durable = "d" })
        :consume(function() app.publish("out.%s", 1) end)
    ]], name, stream, stream, name)
    local msg = message_on("out." .. name, function()
      app.publish("in." .. name, 1, { headers = HEADERS })
    end)
    assert.same(HEADERS, msg.headers)
  end)

  it("gives way to headers that the script sets", function()
    start([[app.listen("%s", function()
      app.publish("%s.seen", 1, { headers = { TraceParent = "mine", X = "1" } })
    end)]], name, name)
    local msg = message_on(name .. ".seen", function()
      app.publish(name, 1, { headers = HEADERS })
    end)
    assert.same({ TraceParent = "mine", X = "1", baggage = "user=7" }, msg.headers)
  end)

  it("is found whatever the letters of its name", function()
    start("app.listen('%s', function() app.publish('%s.seen', 1) end)", name, name)
    local msg = message_on(name .. ".seen", function()
      app.publish(name, 1, { headers = { TRACEPARENT = PARENT } })
    end)
    assert.same({ traceparent = PARENT }, msg.headers)
  end)

  it("is not passed on to answers, to the server or to other messages", function()
    start([[
      app.listen("%s", function(msg)
        msg:respond(1)
        return 2
      end)
      app.listen("%s.free", function() app.publish("%s.seen", 1) end)
      app.timer(0.01, function() app.publish("%s.tick", 1) end)
    ]], name, name, name, name)
    local headers = { traceparent = PARENT, ["Nats-Trace-Dest"] = "nowhere",
      ["Nats-Trace-Only"] = "false" }
    assert.same({}, assert(app.request(name, 1, { headers = headers })).headers)
    local msg = message_on(name .. ".seen", function() app.publish(name .. ".free", 1) end)
    assert.same({}, msg.headers)
    assert.same({}, message_on(name .. ".tick", function() end).headers)
  end)
end)

-- ---- with a collector ----

---A service in a process of its own that sends its traces to the collector; what waits is sent
---at its end, or 50 ms after it has come.
local function run(source, options, env)
  collector = collector or collectors.start()
  env = env or {}
  env.OTEL_BSP_SCHEDULE_DELAY = env.OTEL_BSP_SCHEDULE_DELAY or "50"
  local child = process.run(source, options or { "--otlp", collector.url }, { env = env })
  child:expect "started, connected to"
  return child
end

describe("a service with --otlp", function()
  local name
  before_each(function() name = unique "trace" end)

  it("records each message that is handled, as part of the trace of its sender", function()
    run(([[
      app.config { name = "orders", version = "1.2.3" }
      app.listen("%s.*", function(msg) return msg.data end)
    ]]):format(name))
    assert(app.request(name .. ".one", 1, { headers = HEADERS }))
    assert(app.request(name .. ".two", 1))
    collector:expect("process " .. name .. ".*")
    assert.equal("application/json", collector:requests()[1].type)
    assert.equal("/v1/traces", collector:requests()[1].path)
    eventually("two spans", function() return #collector:spans() == 2 end)
    local spans = collector:spans()
    local span = spans[1]
    assert.equal(TRACE, span.traceId)
    assert.equal(SPAN, span.parentSpanId)
    assert.matches("^%x+$", span.spanId)
    assert.equal(16, #span.spanId)
    assert.not_equal(SPAN, span.spanId)
    assert.equal(5, span.kind)
    assert.equal("a=1,b=2", span.traceState)
    assert.is_nil(span.status)
    assert.same({
      ["messaging.system"] = "nats", ["messaging.operation.name"] = "process",
      ["messaging.operation.type"] = "process",
      ["messaging.destination.name"] = name .. ".one",
      ["messaging.destination.template"] = name .. ".*",
      ["messaging.consumer.group.name"] = "orders:" .. name .. ".*",
    }, span.attributes)
    assert.equal("orders", span.resource["service.name"])
    assert.equal("1.2.3", span.resource["service.version"])
    assert.matches("^%w+$", span.resource["service.instance.id"])
    assert.equal("lunats", span.resource["telemetry.sdk.name"])
    local began, ended = tonumber(span.startTimeUnixNano), tonumber(span.endTimeUnixNano)
    assert.equal("string", type(span.startTimeUnixNano))
    assert.truthy(began <= ended and math.abs(began / 1e9 - app.now()) < 60)
    local other = spans[2]
    assert.is_nil(other.parentSpanId)
    assert.not_equal(TRACE, other.traceId)
    assert.equal(32, #other.traceId)
  end)

  it("begins a new trace where the header is malformed", function()
    run(("app.listen('%s', function() return 1 end)"):format(name))
    for _, header in ipairs { "00-" .. TRACE:upper() .. "-" .. SPAN .. "-01", "x", "" } do
      assert(app.request(name, 1, { headers = { traceparent = header, tracestate = "a=1" } }))
    end
    assert(app.request(name, 1, { headers = { traceparent = { PARENT, PARENT } } }))
    eventually("four spans", function() return #collector:spans() == 4 end)
    for _, span in ipairs(collector:spans()) do
      assert.is_nil(span.parentSpanId)
      assert.is_nil(span.traceState)
      assert.not_equal(TRACE, span.traceId)
    end
  end)

  it("shows errors that are raised, and those that are returned by their code", function()
    run(([[
      app.listen("%s.raised", function() error "all is lost" end)
      app.listen("%s.returned", function()
        return nil, { code = 404, message = 'no such "order"' }
      end)
    ]]):format(name, name))
    app.request(name .. ".raised", 1)
    app.request(name .. ".returned", 1)
    local raised, returned = collector:expect("process " .. name .. ".raised",
      "process " .. name .. ".returned")
    assert.equal(2, raised.status.code)
    assert.matches("all is lost", raised.status.message)
    assert.equal("exception", raised.events[1].name)
    local event = {}
    for _, one in ipairs(raised.events[1].attributes) do
      event[one.key] = one.value.stringValue
    end
    assert.matches("all is lost", event["exception.message"])
    assert.matches("stack traceback", event["exception.stacktrace"])
    assert.is_nil(returned.status)
    assert.equal("404", returned.attributes["messaging.nats.service.error_code"])
    assert.equal('no such "order"', returned.attributes["messaging.nats.service.error"])
  end)

  it("records what is sent: publish, request and what is stored in a stream", function()
    local stream = own.stream "trace"
    own.keep(app.listen(name .. ".answer", function() return nil, { code = 409 } end))
    run(([[
      app.listen("%s", function()
        app.publish("%s.published", 1)
        app.request("%s.answer", 1)
        app.request("%s.nobody", 1)
        app.js.publish("%s.a", 1)
        app.js.publish("%s.b", 1, { msg_id = 1 })
        app.js.publish_async("%s.c", 1):await()
        app.js.stream_info "%s"
        return 1
      end)
    ]]):format(name, name, name, name, stream, stream, stream, stream))
    assert(app.request(name, 1))
    local handler = collector:expect("process " .. name)
    local spans, by_name = collector:spans()
    assert.equal(7, #spans)
    for span, kind in pairs {
      ["publish " .. name .. ".published"] = 4, ["request " .. name .. ".answer"] = 3,
      ["request " .. name .. ".nobody"] = 3, ["publish " .. stream .. ".a"] = 4,
      ["publish " .. stream .. ".b"] = 4, ["publish " .. stream .. ".c"] = 4,
    } do
      local found = by_name[span]
      assert.truthy(found, span)
      assert.equal(kind, found.kind, span)
      assert.equal(handler.traceId, found.traceId)
      assert.equal(handler.spanId, found.parentSpanId)
    end
    assert.equal(2, by_name["request " .. name .. ".nobody"].status.code)
    local refused = by_name["request " .. name .. ".answer"]
    assert.is_nil(refused.status)
    assert.equal("409", refused.attributes["messaging.nats.service.error_code"])
  end)

  it("records requests of HTTP, which the server is told of", function()
    local server = http_server.start()
    run(([[
      app.listen("%s", { data_type = "string" }, function(msg)
        local function get(path, opts)
          opts.url = msg.data .. path .. "?secret=1"
          return app.http.request(opts)
        end
        local seen = get("/echo", {}).data.headers
        get("/status/404", { method = "PUT" })
        get("/silent", { method = "HEAD", timeout = 0.1 })
        return { seen, get("/echo", { trace = false }).data.headers }
      end)
    ]]):format(name))
    local seen = assert(app.request(name, server.url, { headers = HEADERS, timeout = 20 })).data
    local get, put, head = collector:expect("GET", "PUT", "HEAD")
    local handler = collector:expect("process " .. name)
    assert.same({ ("00-%s-%s-01"):format(TRACE, get.spanId) }, seen[1].traceparent)
    assert.same({ HEADERS.baggage }, seen[1].baggage)
    assert.same({ HEADERS.tracestate }, seen[1].tracestate)
    assert.is_nil(seen[2].traceparent)
    assert.is_nil(seen[2].baggage)
    assert.equal(handler.spanId, get.parentSpanId)
    assert.equal(3, get.kind)
    assert.is_nil(get.status)
    assert.same({
      ["http.request.method"] = "GET", ["url.full"] = server.url .. "/echo",
      ["server.address"] = "127.0.0.1", ["server.port"] = tostring(server.port),
      ["http.response.status_code"] = "200",
    }, get.attributes)
    assert.equal("404", put.attributes["error.type"])
    assert.same({ code = 2, message = "" }, put.status)
    assert.equal("timeout", head.attributes["error.type"])
    assert.is_nil(head.attributes["http.response.status_code"])
    assert.same({ code = 2, message = "no answer in time" }, head.status)
    local gets = 0
    for _, span in ipairs(collector:spans()) do
      if span.name == "GET" then gets = gets + 1 end
    end
    assert.equal(1, gets)
  end)

  it("links the handler of a stored message to its trace", function()
    local stream, graves = own.stream "trace", own.stream "dead"
    run(([[
      app.js.pull_subscribe("%s.>", { durable = "d" }):consume({
        max_deliver = 1, dead_letter = "%s.x",
      }, function(msg)
        app.publish("out.%s", 1)
        error "no"
      end)
    ]]):format(stream, graves, name))
    local msg = message_on("out." .. name, function()
      assert(app.js.publish(stream .. ".a", 1, { headers = HEADERS }))
    end)
    local span, sent, dead = collector:expect("process " .. stream, "publish out." .. name,
      "dead_letter " .. graves .. ".x")
    assert.is_nil(span.parentSpanId)
    assert.not_equal(TRACE, span.traceId)
    assert.same({ { traceId = TRACE, spanId = SPAN } }, span.links)
    assert.equal("d", span.attributes["messaging.consumer.group.name"])
    assert.equal(2, span.status.code)
    assert.equal(span.spanId, sent.parentSpanId)
    assert.equal(span.spanId, dead.parentSpanId)
    assert.equal(1, dead.kind)
    assert.equal(("00-%s-%s-03"):format(sent.traceId, sent.spanId), msg:header "traceparent")
    assert.equal("user=7", msg:header "baggage")
  end)

  it("links a fetch to the traces of its messages", function()
    local stream = own.stream "trace"
    for _, headers in ipairs { HEADERS, {}, { traceparent = "x" }, HEADERS } do
      assert(app.js.publish(stream .. ".a", 1, { headers = headers }))
    end
    run(([[
      local psub = app.js.pull_subscribe("%s.>", { durable = "d" })
      app.listen("%s", function()
        local messages = assert(psub:fetch(10, { timeout = 15, no_wait = true }))
        assert(psub:fetch(10, { no_wait = true }))
        return #messages
      end)
    ]]):format(stream, name))
    assert.equal(4, assert(app.request(name, 1)).data)
    local span, handler = collector:expect("receive " .. stream, "process " .. name)
    local link = { traceId = TRACE, spanId = SPAN }
    assert.same({ link, link }, span.links)
    assert.equal(handler.spanId, span.parentSpanId)
    assert.equal("4", span.attributes["messaging.batch.message_count"])
    local received = 0
    for _, one in ipairs(collector:spans()) do
      if one.name == span.name then received = received + 1 end
    end
    assert.equal(1, received) -- the other one brought nothing
  end)

  it("begins a trace at each tick of a timer", function()
    run(([[
      local n = 0
      app.timer(0.02, { name = "sweep" }, function()
        n = n + 1
        app.publish("%s.tick", n)
        if n == 2 then error "no" end
      end)
    ]]):format(name))
    eventually("four ticks", function()
      local ticks = 0
      for _, span in ipairs(collector:spans()) do
        if span.name == "timer sweep" then ticks = ticks + 1 end
      end
      return ticks >= 4
    end)
    local traces, failed = {}, 0
    for _, span in ipairs(collector:spans()) do
      if span.name == "timer sweep" then
        assert.is_nil(traces[span.traceId])
        assert.is_nil(span.parentSpanId)
        traces[span.traceId] = span
        if span.status then failed = failed + 1 end
      end
    end
    assert.equal(1, failed)
    for _, span in ipairs(collector:spans()) do
      if span.name == "publish " .. name .. ".tick" and traces[span.traceId] then
        assert.equal(traces[span.traceId].spanId, span.parentSpanId)
      end
    end
  end)
end)

describe("which traces are recorded", function()
  local name
  before_each(function() name = unique "trace" end)

  ---Whether a handler and what it publishes were recorded, and what it has passed on.
  local function recorded(env, flags)
    local child = run(([[
      app.listen("%s", function() app.publish("%s.seen", 1) return 1 end)
    ]]):format(name, name), nil, env)
    local msg = message_on(name .. ".seen", function()
      local parent = flags and ("00-%s-%s-%s"):format(TRACE, SPAN, flags) or nil
      assert(app.request(name, 1, { headers = { traceparent = parent } }))
    end)
    assert.equal(0, child:stop())
    local _, spans = collector:spans()
    return spans["process " .. name] ~= nil and spans["publish " .. name .. ".seen"] ~= nil,
      msg:header "traceparent"
  end

  for _, case in ipairs {
    { nil, nil, true }, { nil, "01", true }, { nil, "00", false },
    { "always_on", "00", true }, { "always_off", "01", false },
    { "parentbased_always_off", nil, false }, { "parentbased_always_off", "01", true },
    { "traceidratio", nil, false, "0" }, { "traceidratio", "00", true, "1" },
    { "parentbased_traceidratio", "01", true, "0" }, { "nonsense", nil, true },
  } do
    local sampler, flags, wanted, ratio = case[1], case[2], case[3], case[4]
    it(("is decided by the sampler %s, for flags %s"):format(sampler or "of the standard",
      flags or "of nobody"), function()
      local was, parent = recorded({ OTEL_TRACES_SAMPLER = sampler,
        OTEL_TRACES_SAMPLER_ARG = ratio }, flags)
      assert.equal(wanted, was)
      assert.matches(wanted and "^00%-%x+%-%x+%-0[13]$" or "^00%-%x+%-%x+%-0[02]$", parent)
      if flags then assert.equal(TRACE, parent:sub(4, 35)) end
      assert.not_equal(SPAN, parent:sub(37, 52))
    end)
  end

  it("is none of them with OTEL_SDK_DISABLED, and what comes in is passed on", function()
    local was, parent = recorded({ OTEL_SDK_DISABLED = "true" }, "01")
    assert.is_false(was)
    assert.equal(PARENT, parent)
  end)
end)

describe("the collector", function()
  local name
  before_each(function()
    name = unique "trace"
    collector = collectors.start()
  end)

  local function echo() return ("app.listen('%s', function() return 1 end)"):format(name) end
  local function ask(n) for _ = 1, n do assert(app.request(name, 1)) end end

  it("may be named by the environment, as may the service and its attributes", function()
    run(echo(), {}, {
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT = collector.url .. "/own/path",
      OTEL_EXPORTER_OTLP_HEADERS = "x-key=a%20b,other=1", OTEL_SERVICE_NAME = "shop",
      OTEL_RESOURCE_ATTRIBUTES = "service.name=no,deployment.environment=test%22",
    })
    ask(1)
    local span = collector:expect("process " .. name)
    assert.equal("shop", span.resource["service.name"])
    assert.equal('test"', span.resource["deployment.environment"])
    local request = collector:requests()[1]
    assert.equal("/own/path", request.path)
    assert.equal("a b", request.key)
  end)

  it("gets what waits at the end of the process", function()
    local child = run(echo(), nil, { OTEL_BSP_SCHEDULE_DELAY = "60000" })
    ask(3)
    assert.equal(0, #collector:requests())
    assert.equal(0, child:stop())
    assert.equal(3, #collector:spans())
  end)

  it("gets batches of a limited size", function()
    local child = run(echo(), nil, { OTEL_BSP_SCHEDULE_DELAY = "60000",
      OTEL_BSP_MAX_EXPORT_BATCH_SIZE = "4" })
    ask(10)
    assert.equal(0, child:stop())
    assert.equal(3, #collector:requests())
    assert.equal(10, #collector:spans())
  end)

  for _, answer in ipairs { "503", "429 Retry-After: 1" } do
    it("is asked again when it answers with status " .. answer, function()
      collector:answer(answer)
      local child = run(echo())
      ask(1)
      child:expect("the collector answers with status " .. answer:sub(1, 3))
      collector:answer "200"
      child:expect "sent again"
      local spans = collector:spans()
      assert.is_true(#spans >= 2) -- those that were refused have been written down, too
      for _, span in ipairs(spans) do assert.equal(spans[1].spanId, span.spanId) end
    end)
  end

  it("is not asked again when it refuses what it got", function()
    collector:answer "400"
    local child = run(echo())
    ask(1)
    child:expect "the collector answers with status 400; 1 spans lost"
    collector:answer "200"
    ask(1)
    eventually("the next one", function() return #collector:requests() == 2 end)
  end)

  it("has lost no more than what it was sent, whatever it says", function()
    collector:answer '200 | {"partialSuccess":{"rejectedSpans":"99999999999999999999"}}'
    local child = run(echo())
    ask(1)
    child:expect "the collector has taken a part only: .*; 1 spans lost"
  end)

  it("may be away for a while, and nothing waits for it", function()
    local port = collector.port
    collector:stop()
    local child = run(echo())
    ask(1)
    child:expect "traces to http://127.0.0.1:%d+/v1/traces: .*connect to server"
    ask(5)
    collector = collectors.start(port)
    child:expect "sent again"
    eventually("six spans", function() return #collector:spans() == 6 end)
  end)

  it("has what /metrics says it has, and the rest is counted there, too", function()
    local child = run(echo(), { "--otlp", collector.url, "--admin", "127.0.0.1:0" },
      { OTEL_BSP_MAX_QUEUE_SIZE = "4" })
    local url = admin.url(child)
    local function counts()
      local _, body = admin.get(url, "/metrics")
      local function count(metric) return tonumber(body:match("\n" .. metric .. " (%d+)")) end
      return count 'lunats_trace_spans_total{outcome="exported"}',
        count 'lunats_trace_spans_total{outcome="dropped"}', count "lunats_trace_spans_waiting",
        count "lunats_trace_export_failures_total"
    end
    assert.same({ 0, 0, 0, 0 }, { counts() })
    ask(3)
    eventually("three spans", function() return counts() == 3 end)
    assert.equal(3, #collector:spans())
    assert.same({ 3, 0, 0, 0 }, { counts() })
    collector:answer "503"
    ask(6)
    local sent, dropped, waiting, failures
    eventually(function()
      return ("a failure: %s, %s, %s, %s"):format(sent, dropped, waiting, failures)
    end, function()
      sent, dropped, waiting, failures = counts()
      return sent == 3 and dropped == 2 and waiting == 4 and failures > 0
    end)
    child:stop()
  end)

  it("may hang: what waits is bounded, and so is the end", function()
    collector:answer "hang"
    local child = run(echo(), nil, { OTEL_BSP_MAX_QUEUE_SIZE = "8" })
    ask(30)
    eventually("a request", function() return #collector:requests() == 1 end)
    local began = app.now()
    assert.equal(0, child:stop())
    assert.truthy(app.now() - began < 10)
    child:expect "the collector is too slow; %d+ spans lost"
    local lost = 0
    for number in child:output():gmatch "(%d+) spans lost" do lost = lost + number end
    assert.equal(30, lost)
  end)

  it("is not waited for at the end when it is away", function()
    collector:stop()
    local child = run(echo(), nil, { OTEL_BSP_SCHEDULE_DELAY = "60000" })
    ask(2)
    assert.equal(0, child:stop())
    child:expect "connect to server; 2 spans lost"
  end)

  it("may be reached by TLS, and has to be whom it says it is", function()
    collector:stop()
    local folder = process.write("x", ""):match "^(.*)/"
    local cert, key = folder .. "/cert.pem", folder .. "/key.pem"
    assert.equal(0, process.spawn({ "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes",
      "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost", "-addext",
      "subjectAltName=DNS:localhost" }):wait())
    local server = process.spawn { "openssl", "s_server", "-accept", "127.0.0.1:0",
      "-cert", cert, "-key", key, "-www" }
    local url = "https://localhost:" .. server:expect "ACCEPT 127.0.0.1:(%d+)"
    local child = run(echo(), { "--otlp", url })
    ask(1)
    child:expect "traces to https://localhost:%d+/v1/traces: .*certificate"
    child:stop()
    child = run(echo(), { "--otlp", url }, { OTEL_EXPORTER_OTLP_CERTIFICATE = cert })
    ask(1)
    -- It takes no POST, which it says by an answer that is none, or by closing the connection.
    child:expect "WARN  traces to "
    assert.is_nil(child:output():find("certificate", 1, true))
  end)

  it("has to be a URL of HTTP", function()
    local child = process.run(echo(), { "--otlp", "collector:4317" })
    assert.equal(2, child:wait())
    child:expect "%-%-otlp: the URL of a collector begins with http:// or https://"
  end)
end)
