-- Priority groups: which of several readers of a consumer is served.
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local since = require "spec.support.since"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

describe("a priority group", function()
  local stream, psubs

  before_each(function()
    psubs, stream = {}, unique "priority"
    assert(app.js.add_stream { name = stream, subjects = { stream } })
  end)
  after_each(function()
    for _, psub in ipairs(psubs) do psub:stop() end
    app.js.delete_stream(stream)
  end)

  local function add(policy, more)
    local fields = { stream = stream, durable_name = policy, priority_policy = policy,
      priority_groups = { "jobs" } }
    for name, value in pairs(more or {}) do fields[name] = value end
    return app.js.add_consumer(fields)
  end

  local function subscribe(name, opts)
    opts = opts or {}
    opts.stream, opts.durable = stream, name
    local psub = app.js.pull_subscribe(nil, opts)
    psubs[#psubs + 1] = psub
    return psub
  end

  local function put(count)
    for i = 1, count do assert(app.js.publish(stream, i)) end
  end

  local function ack_all(list)
    for _, msg in ipairs(list) do assert(msg:ack_sync()) end
    return #list
  end

  it("is refused by servers that have none, with the version that has", function()
    if since "2.11" then return pending "this server has them" end
    local info, err = add "overflow"
    assert.is_nil(info)
    assert.equal("unsupported", err.code)
    assert.matches("nats%-server 2%.11", err.message)
    assert(app.js.add_consumer { stream = stream, durable_name = "plain" })
    for _, method in ipairs { "fetch", "consume" } do
      local psub = subscribe("plain", { group = "jobs" })
      local list
      if method == "fetch" then
        list, err = psub:fetch(1, { timeout = 0.1 })
      else
        list, err = psub:consume(print)
      end
      assert.is_nil(list)
      assert.equal("unsupported", err.code)
      assert.matches("2%.11", err.message)
    end
    info, err = app.js.unpin_consumer(stream, "plain", "jobs")
    assert.is_nil(info)
    assert.equal("unsupported", err.code)
  end)

  it("has options that are checked at the call", function()
    local psub = subscribe("any")
    for _, opts in ipairs { { group = "a b" }, { group = "" }, { min_pending = 0 },
      { min_ack_pending = 1.5 }, { priority = 10 }, { priority = -1 } } do
      assert.has_error(function() psub:fetch(1, opts) end)
      assert.has_error(function() psub:consume(opts, print) end)
      assert.has_error(function() subscribe("any", opts) end)
    end
  end)

  describe("on a server that has them", function()
    since.it("2.11", "need not be named where the consumer has one only", function()
      assert(add "overflow")
      put(3)
      assert.equal(2, ack_all(assert(subscribe("overflow"):fetch(2))))
      local psub = subscribe("overflow", { group = "jobs" })
      assert.equal(1, ack_all(assert(psub:fetch(1, { timeout = 15 }))))
    end)

    since.it("2.11", "must be one of the consumer", function()
      assert(add "overflow")
      assert(app.js.add_consumer { stream = stream, durable_name = "plain" })
      for _, name in ipairs { "overflow", "plain" } do
        local list, err = subscribe(name):fetch(1, { group = "other", timeout = 0.1 })
        assert.is_nil(list)
        assert.equal("jetstream", err.code)
        assert.matches("other", err.message)
      end
    end)

    since.it("2.11", "overflows to a reader when enough messages wait", function()
      assert(add "overflow")
      local psub = subscribe "overflow"
      put(2)
      local few = { min_pending = 3, timeout = 0.2 }
      assert.same({}, assert(psub:fetch(1, few)))
      put(1)
      few.timeout = 15
      assert.equal(1, ack_all(assert(psub:fetch(1, few))))
    end)

    since.it("2.11", "overflows to a reader when others acknowledge too little", function()
      assert(add "overflow")
      local psub = subscribe "overflow"
      put(3)
      local opts = { min_ack_pending = 1, timeout = 0.2 }
      assert.same({}, assert(psub:fetch(1, opts)))
      local held = assert(psub:fetch(1))
      opts.timeout = 15
      assert.equal(1, ack_all(assert(psub:fetch(1, opts))))
      ack_all(held)
    end)

    since.it("2.11", "pins one reader, who is served alone", function()
      assert(add("pinned_client", { priority_timeout = 30 }))
      local one, other = subscribe "pinned_client", subscribe "pinned_client"
      put(4)
      assert.equal(1, ack_all(assert(one:fetch(1))))
      assert.same({}, assert(other:fetch(1, { timeout = 0.2 })))
      assert.equal(1, ack_all(assert(one:fetch(1))))
      -- What the same subscription consumes has the same pin.
      local got = 0
      local handle = assert(one:consume(function() got = got + 1 end))
      eventually("the rest", function() return got == 2 end)
      handle:stop()
      eventually("the end", function() return handle:closed() end)
    end)

    since.it("2.11", "serves another reader after unpin_consumer", function()
      assert(add("pinned_client", { priority_timeout = 30 }))
      local one, other = subscribe "pinned_client", subscribe "pinned_client"
      put(3)
      assert.equal(1, ack_all(assert(one:fetch(1))))
      assert.is_true(assert(app.js.unpin_consumer(stream, "pinned_client", "jobs")))
      assert.equal(1, ack_all(assert(other:fetch(1))))
      -- The first one has lost its pin and waits like everybody else.
      assert.same({}, assert(one:fetch(1, { timeout = 0.5 })))
      assert.equal(1, ack_all(assert(other:fetch(1))))
    end)

    since.it("2.11", "hands over to a waiting consume when the pinned one is gone", function()
      assert(add("pinned_client", { priority_timeout = 1 }))
      local one, other = subscribe "pinned_client", subscribe "pinned_client"
      put(1)
      assert.equal(1, ack_all(assert(one:fetch(1))))
      local got = 0
      local handle = assert(other:consume({ expires = 2, heartbeat = 0.5 },
        function() got = got + 1 end))
      put(2)
      eventually("the messages", function() return got == 2 end)
      -- The first one comes back with a pin that is not valid any more.
      put(1)
      assert.same({}, assert(one:fetch(1, { timeout = 0.5 })))
      eventually("the last one", function() return got == 3 end)
      handle:stop()
      eventually("the end", function() return handle:closed() end)
    end)

    since.it("2.11", "keeps the pin of a consume over a reload", function()
      assert(add("pinned_client", { priority_timeout = 60 }))
      local requests = {}
      local spy = app.listen(("$JS.API.CONSUMER.MSG.NEXT.%s.pinned_client"):format(stream),
        { queue = false }, function(msg) requests[#requests + 1] = msg.data end)
      assert(app.flush())
      local source = ([[
        local version = %%d
        app.js.pull_subscribe(nil, { stream = %q, durable = "pinned_client" }):consume(
          { max_messages = 2, expires = 1, heartbeat = 0.5 },
          function(msg) app.publish("seen", { version, msg.data }) end)
      ]]):format(stream)
      local svc = testing.start(source:format(1))
      finally(function()
        svc:stop()
        spy:stop()
      end)
      put(1)
      assert.same({ 1, 1 }, svc:expect("seen").data)
      svc:reload(source:format(2))
      local before = #requests
      eventually("a request of the new version", function() return #requests > before end)
      local groups = assert(app.js.consumer_info(stream, "pinned_client")).priority_groups
      assert.equal(groups[1].pinned_client_id, requests[#requests].id)
      put(1)
      assert.same({ 2, 1 }, svc:expect("seen").data)
    end)

    since.it("2.12", "serves the lowest priority first", function()
      assert(add "prioritized")
      local first, second = subscribe("prioritized", { priority = 1 }), subscribe "prioritized"
      local got = {}
      local function reader(name, psub, opts)
        return app.spawn(function()
          got[name] = ack_all(assert(psub:fetch(1, opts)))
        end)
      end
      reader("second", second, { priority = 2, timeout = 4 })
      eventually("one that waits", function()
        return app.js.consumer_info(stream, "prioritized").num_waiting == 1
      end)
      reader("first", first, { timeout = 15 })
      eventually("both", function()
        return app.js.consumer_info(stream, "prioritized").num_waiting == 2
      end)
      put(1)
      eventually("the end of both", function() return got.first and got.second end)
      assert.same({ first = 1, second = 0 }, got)
    end)
  end)
end)

describe("app.js.reset_consumer", function()
  local stream

  before_each(function()
    stream = unique "reset"
    assert(app.js.add_stream { name = stream, subjects = { stream } })
    assert(app.js.add_consumer { stream = stream, durable_name = "c" })
    for i = 1, 3 do assert(app.js.publish(stream, i)) end
  end)
  after_each(function() app.js.delete_stream(stream) end)

  it("is refused by servers that cannot do it", function()
    if since "2.14" then return pending "this server can" end
    local info, err = app.js.reset_consumer(stream, "c")
    assert.is_nil(info)
    assert.equal("unsupported", err.code)
    assert.matches("2%.14", err.message)
  end)

  since.it("2.14", "delivers again what was not acknowledged, or from a sequence on", function()
    local psub = app.js.pull_subscribe(nil, { stream = stream, durable = "c" })
    finally(function() psub:stop() end)
    local list = assert(psub:fetch(3))
    assert(list[1]:ack_sync())
    assert.equal(2, assert(app.js.reset_consumer(stream, "c")).reset_seq)
    list = assert(psub:fetch(2))
    assert.same({ 2, 3 }, { list[1].data, list[2].data })
    assert.equal(1, assert(app.js.reset_consumer(stream, "c", 1)).reset_seq)
    assert.equal(1, assert(psub:fetch(1))[1].data)
  end)

  since.it("2.14", "fails for a consumer that is not there", function()
    local started = core.hrtime()
    local info, err = app.js.reset_consumer(stream, "nobody")
    assert.is_nil(info)
    assert.equal("not_found", err.code)
    assert.is_true(core.hrtime() - started < 4.5) -- and not the 5 s of a time-out
    assert.has_error(function() app.js.reset_consumer(stream, "c", 0) end)
  end)
end)
