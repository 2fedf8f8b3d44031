---Every example, run as a user runs it, against the server of this spec.
local complaint = require "spec.support.complaint"
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local testing = require "lunats.testing"

local function run(...)
  return process.spawn { process.lunats(), "run", "--server", testing.server_url(), ... }
end

---Nothing went wrong: the log has no warnings and errors, the end was orderly.
local function assert_orderly_stop(service)
  assert.equal(0, service:stop())
  assert.is_nil(complaint(service:output()))
end

---The same for a service in this process.
local function assert_good_stop(svc)
  assert.equal(0, svc:stop())
  for _, line in ipairs(svc:logs()) do
    assert.is_nil(complaint(" " .. line.level:upper() .. " " .. line.message))
  end
end

describe("examples/hello.lua", function()
  local svc
  setup(function() svc = testing.start("examples/hello.lua") end)
  teardown(function() assert_good_stop(svc) end)

  it("greets who gives a name", function()
    local reply = assert(app.request("hello.greet", { name = "Ada" }))
    assert.same({ text = "Hello, Ada!" }, reply.data)
  end)

  it("answers with an error of its own when the name is missing", function()
    for _, body in ipairs { {}, { name = 7 }, app.json.array() } do
      local reply, err = app.request("hello.greet", body)
      assert.is_nil(reply)
      assert.equal("service_error", err.code)
      assert.equal(400, err.status)
      assert.equal("name is missing", err.message)
    end
  end)

  it("gives back the bytes it gets", function()
    for _, bytes in ipairs { "", "text", "\0\1\255", ("x"):rep(100000) } do
      local reply = assert(app.request("hello.echo", bytes, { data_type = "string" }))
      -- An empty string is a result, so it is a reply.
      assert.equal(bytes, reply.data)
    end
  end)

  it("tells of each greeting", function()
    local names = {}
    local listener = app.listen("hello.greeted", { queue = false }, function(msg)
      names[msg.data.name] = true
    end)
    assert(app.flush())
    assert(app.request("hello.greet", { name = "Grace" }))
    eventually("the event", function() return names.Grace end)
    listener:stop()
    eventually("the log line", function() return svc:logs("^greeted Grace$")[1] end)
  end)

  it("asks itself", function()
    local line = eventually("the log line", function()
      return svc:logs("^got an answer$")[1]
    end)
    assert.same({ text = "Hello, world!" }, line.fields)
  end)

  it("answers a flood of requests, each with its own reply", function()
    local FIBERS, EACH = 50, 80
    local answered, done, wrong = 0, 0, {}
    local function ask(fiber)
      for i = 1, EACH do
        local name = ("%d.%d"):format(fiber, i)
        local reply, err = app.request("hello.greet", { name = name }, { timeout = 30 })
        if reply and reply.data.text == ("Hello, %s!"):format(name) then
          answered = answered + 1
        else
          wrong[#wrong + 1] = ("%s: %s"):format(name, reply and reply.raw or err)
        end
      end
      done = done + 1
    end
    for fiber = 1, FIBERS do app.spawn(ask, fiber) end
    eventually("all replies", function() return done == FIBERS end, 60)
    assert.same({}, wrong)
    assert.equal(FIBERS * EACH, answered)
  end)
end)

describe("examples/orders.lua", function()
  local svc
  before_each(function() svc = testing.start("examples/orders.lua") end)
  after_each(function() svc:stop() end)
  teardown(function() assert(app.js.delete_stream "ORDERS") end)

  local function count() return assert(app.request("orders.count")).data.orders end

  it("stores a good order and answers with its number", function()
    local before = count()
    local reply = assert(app.request("orders.create", { sku = "A1", amount = 2 }))
    assert.equal("created", reply.data.status)
    local stored = assert(app.js.pull_subscribe("orders.stored.A1", { stream = "ORDERS",
      config = { deliver_policy = "last" } }):fetch(1))[1]
    assert.same({ sku = "A1", amount = 2, id = reply.data.id }, stored.data)
    assert.equal(reply.data.seq, stored.metadata.stream_sequence)
    assert.equal(reply.data.id, stored:header "Nats-Msg-Id")
    stored:ack()
    assert.equal(before + 1, count())
    eventually("the log line", function()
      for _, line in ipairs(svc:logs("^order stored$")) do
        if line.fields.id == reply.data.id then return true end
      end
    end)
  end)

  for body, message in pairs {
    ['[]'] = "sku must be a string",
    ['"A1"'] = "an order is an object",
    ['{"amount":2}'] = "sku must be a string",
    ['{"sku":"Z9","amount":1}'] = "there is no Z9",
    ['{"sku":"A1"}'] = "amount must be a whole number, 1 or more",
    ['{"sku":"A1","amount":0}'] = "amount must be a whole number, 1 or more",
    ['{"sku":"A1","amount":1.5}'] = "amount must be a whole number, 1 or more",
    ['{"sku":"B2","amount":21}'] = "only 20 of B2 are left",
    ['{"sku":"C3","amount":1}'] = "only 0 of C3 are left",
  } do
    it("refuses " .. body .. " with 422", function()
      local before = count()
      local reply, err = app.request("orders.create", body)
      assert.is_nil(reply)
      assert.equal(422, err.status)
      assert.equal(message, err.message)
      assert.equal(before, count())
    end)
  end

  it("refuses what is not JSON with 400", function()
    local reply, err = app.request("orders.create", "two of A1, please")
    assert.is_nil(reply)
    assert.equal(400, err.status)
  end)

  it("gives orders made at once different numbers", function()
    local ids, done = {}, 0
    for _ = 1, 100 do
      app.spawn(function()
        local reply, err = app.request("orders.create", { sku = "A1", amount = 1 })
        ids[reply and reply.data.id or tostring(err)] = true
        done = done + 1
      end)
    end
    eventually("100 replies", function() return done == 100 end, 30)
    local different = 0
    for _ in pairs(ids) do different = different + 1 end
    assert.equal(100, different)
  end)

  it("answers 503 while orders cannot be stored", function()
    local info = assert(app.js.stream_info "ORDERS")
    assert(app.js.delete_stream "ORDERS")
    local reply, err = app.request("orders.create", { sku = "A1", amount = 1 })
    assert.is_nil(reply)
    assert.equal(503, err.status)
    reply, err = app.request("orders.count")
    assert.is_nil(reply)
    assert.equal(503, err.status)
    assert(app.js.add_stream { name = "ORDERS", subjects = info.config.subjects,
      max_age = info.config.max_age })
    assert(app.request("orders.create", { sku = "A1", amount = 1 }))
  end)

  it("stops in order and finds its stream again", function()
    local before = count()
    assert.equal(0, svc:stop())
    svc = testing.start("examples/orders.lua")
    assert.equal(before, count())
  end)
end)

describe("examples/jetstream", function()
  local SERVICES = { "js_publish", "js_listen_push", "js_listen_pull" }

  after_each(function()
    process.close_all()
    assert(app.js.delete_stream "test_stream")
  end)

  ---Each counter is logged once by each service, in order.
  local function assert_counters(output, service, word)
    local expected = 0
    for line in output:gmatch(("%s: %s([^\n]*)\n"):format(service, word)) do
      expected = expected + 1
      assert.equal(expected, tonumber(line:match "counter\"?[=:](%d+)"))
    end
    assert.is_true(expected >= 3)
  end

  local function check(outputs)
    assert_counters(outputs.js_publish, "js_publish", "sent")
    assert_counters(outputs.js_listen_push, "js_listen_push", "pushed")
    assert_counters(outputs.js_listen_pull, "js_listen_pull", "pulled")
    local ticks = select(2, outputs.js_listen_pull:gsub("some parallel task", ""))
    assert.is_true(ticks >= 4, "the parallel task goes on while the other one waits")
    for _, durable in ipairs { "consumer-1", "consumer-2" } do
      eventually("its acknowledgements", function()
        return assert(app.js.consumer_info("test_stream", durable)).num_ack_pending == 0
      end)
    end
  end

  it("publishes, pushes and pulls in one process", function()
    local all = run "examples/jetstream"
    all:expect "pushed[^\n]*counter\":3"
    all:expect "pulled[^\n]*counter\":3"
    assert_orderly_stop(all)
    local outputs = {}
    for _, name in ipairs(SERVICES) do
      all:expect(name .. ": stopped\n")
      outputs[name] = all:output()
    end
    check(outputs)
  end)

  it("publishes, pushes and pulls in three processes", function()
    local services, outputs = {}, {}
    for i, name in ipairs(SERVICES) do
      services[i] = run(("examples/jetstream/%s.lua"):format(name))
    end
    services[2]:expect "pushed[^\n]*counter\":3"
    services[3]:expect "pulled[^\n]*counter\":3"
    for i, name in ipairs(SERVICES) do
      assert_orderly_stop(services[i])
      outputs[name] = services[i]:output()
    end
    check(outputs)
  end)
end)
