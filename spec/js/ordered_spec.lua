-- Ordered consumers: lunats.js.ordered, on which watches and object reads are built.
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local ordered = require "lunats.js.ordered"
local logged = require "spec.support.logged"
local own = require "spec.support.own"
local unique = require "spec.support.unique"

describe("an ordered consumer", function()
  local stream

  before_each(function() stream = own.stream "ordered" end)
  after_each(function()
    own.close()
    ordered.heartbeat = 5
  end)

  local function open(opts)
    opts.stream = stream
    return own.keep(assert(ordered.open(opts)))
  end

  local function put(first, last, subject)
    for i = first, last do assert(app.js.publish(subject or stream .. ".a", { i = i })) end
  end

  local function consumers()
    return assert(app.js.stream_info(stream)).state.consumer_count
  end

  local function delete_consumers()
    local reply = app.request("$JS.API.CONSUMER.NAMES." .. stream, "").data
    for _, name in ipairs(reply.consumers) do assert(app.js.delete_consumer(stream, name)) end
  end

  it("delivers what is there and what comes, one after the other", function()
    put(1, 3)
    local got, running = {}, 0
    local handle = open { on_message = function(msg)
      running = running + 1
      assert(running == 1)
      app.sleep(0.002)
      got[#got + 1] = msg.data.i
      running = running - 1
    end }
    put(4, 20)
    eventually("all", function() return #got == 20 end)
    for i = 1, 20 do assert.equal(i, got[i]) end
    handle:stop()
    eventually("the end of the consumer", function() return consumers() == 0 end)
  end)

  it("can be read message by message", function()
    put(1, 2)
    local handle = open { filter = stream .. ".a", data_type = "string" }
    assert.equal('{"i":1}', assert(handle:next(15)).data)
    assert.equal(2, assert(handle:next(15)).metadata.stream_sequence)
    local msg, err = handle:next(0.05)
    assert.is_nil(msg)
    assert.equal("timeout", err.code)
    handle:stop()
    msg, err = handle:next(1)
    assert.is_nil(msg)
    assert.equal("closed", err.code)
  end)

  it("wakes a reader when it is stopped", function()
    local handle = open {}
    local err
    app.spawn(function() err = select(2, handle:next()) end)
    app.sleep(0)
    assert.is_nil(err)
    handle:stop()
    eventually("the reader", function() return err end)
    assert.equal("closed", err.code)
  end)

  it("tells why it cannot be opened", function()
    local handle, err = ordered.open { stream = unique "none" }
    assert.is_nil(handle)
    assert.equal("not_found", err.code)
  end)

  it("misses nothing that comes just before a subject is rolled up", function()
    assert(app.js.update_stream { name = stream, subjects = { stream .. ".>" },
      allow_rollup_hdrs = true })
    put(1, 1)
    local got, wanted = {}, {}
    open { filter = stream .. ".>", on_message = function(msg) got[#got + 1] = msg.data.i end }
    for i = 1, 601 do
      wanted[i] = i
      local rolls = i == 300
      if i > 1 then
        app.publish(stream .. (rolls and ".b" or ".a"), { i = i },
          { headers = rolls and { ["Nats-Rollup"] = "sub" } or nil })
      end
    end
    eventually("the last one", function() return got[#got] == 601 end)
    assert.same(wanted, got)
  end)

  it("takes the fields of a consumer", function()
    put(1, 2)
    put(3, 3, stream .. ".b")
    local handle = open { filter = stream .. ".>",
      config = { deliver_policy = "last_per_subject", headers_only = true } }
    local msg = assert(handle:next(15))
    assert.equal(2, msg.metadata.stream_sequence)
    assert.equal("", msg.raw)
    assert.equal(3, assert(handle:next(15)).metadata.stream_sequence)
  end)

  it("reports an error of on_message and goes on", function()
    local report, reports, got = core.report, {}, 0
    core.report = function(text) reports[#reports + 1] = text end -- luacheck: ignore
    put(1, 2)
    open { on_message = function(msg)
      if msg.data.i == 1 then error "no ones" end
      got = msg.data.i
    end }
    eventually("the second one", function() return got == 2 end)
    core.report = report -- luacheck: ignore
    assert.equal(1, #reports)
    assert.truthy(reports[1]:find("no ones", 1, true))
  end)

  it("goes on without a gap when its consumer is deleted", function()
    ordered.heartbeat = 0.1
    local got = {}
    local handle = open { on_message = function(msg) got[#got + 1] = msg.data.i end }
    local first = handle.consumer
    put(1, 3)
    eventually("three", function() return #got == 3 end)
    delete_consumers()
    put(4, 6)
    eventually("six", function() return #got == 6 end)
    assert.same({ 1, 2, 3, 4, 5, 6 }, got)
    assert.not_equal(first, handle.consumer)
  end)

  it("misses nothing new that came while its consumer was gone", function()
    ordered.heartbeat = 0.1
    put(1, 2)
    local handle = open { config = { deliver_policy = "new" } }
    delete_consumers()
    put(3, 3)
    assert.equal(3, assert(handle:next(15)).data.i)
  end)

  it("ends with an error when the stream is deleted while it is read once", function()
    ordered.heartbeat = 0.1
    local handle = open {}
    assert(app.js.delete_stream(stream))
    local msg, err = handle:next(15)
    assert.is_nil(msg)
    assert.equal(10059, err.err_code)
  end)

  it("slows the server down when the reader is slow", function()
    local payload = ("x"):rep(100000)
    for _ = 1, 100 do app.publish(stream .. ".a", payload) end
    assert(app.flush())
    local handle = open { data_type = "string" }
    for i = 1, 100 do
      local msg = assert(handle:next(15))
      assert.equal(i, msg.metadata.stream_sequence)
      if i % 10 == 0 then app.sleep(0.005) end
    end
  end)

  describe("over restarts", function()
    it("goes on where it was when the server is killed and comes back", function()
      local svc, broker = own.service [[
        app.on_start(function() assert(app.js.add_stream { name = "S" }) end)
        app.js.subscribe("S", { ordered = true }, function(msg)
          app.log.info("seq " .. msg.metadata.stream_sequence)
        end)
        app.timer(0.02, { delay = 0 }, function()
          app.js.publish("S", "x", { timeout = 0.2 })
        end)
      ]]
      logged(svc, "^seq", 5)
      own.outage(svc, broker)
      logged(svc, "connected again")
      logged(svc, "^seq", #svc:logs "^seq" + 5)
      for i, line in ipairs(svc:logs "^seq") do assert.equal("seq " .. i, line.message) end
    end)
  end)
end)
