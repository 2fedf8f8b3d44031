-- app.js.publish_async: futures, the window, failures that nobody looks at; options of publish.
local clean_loop = require "spec.support.clean_loop"
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local own = require "spec.support.own"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

describe("app.js.publish_async", function()
  local stream

  before_each(function() stream = own.stream("async", { allow_rollup_hdrs = true }) end)
  after_each(function()
    app.js.publish_window = 256
    app.js.flush()
    own.close()
  end)

  it("returns a future with the acknowledgement", function()
    local message = { n = 1 }
    local future = app.js.publish_async(stream .. ".a", message, { msg_id = "a" })
    message.n = 2 -- too late to matter
    assert.is_false(future.done)
    local ack = assert(future:await())
    assert.same({ stream = stream, seq = 1, duplicate = false }, ack)
    assert.equal(ack, assert(future:await()))
    assert.is_true(future.done)
    assert.equal(1, app.js.get_msg(stream, { seq = 1 }).data.n)
  end)

  it("keeps the order", function()
    for i = 1, 1000 do app.js.publish_async(stream .. ".a", { i = i }) end
    assert(app.js.flush(10))
    assert.equal(1000, app.js.stream_info(stream).state.messages)
    for _, seq in ipairs { 1, 500, 1000 } do
      assert.equal(seq, app.js.get_msg(stream, { seq = seq }).data.i)
    end
  end)

  it("waits while the window is full", function()
    app.js.publish_window = 3
    local futures = {}
    for i = 1, 10 do
      futures[i] = app.js.publish_async(stream .. ".a", "x")
      local under_way = 0
      for _, future in ipairs(futures) do
        if not future.done then under_way = under_way + 1 end
      end
      assert.is_true(under_way <= 3)
    end
    assert(app.js.flush())
    app.js.publish_window = 0
    assert.has_error(function() app.js.publish_async(stream .. ".a", "x") end)
  end)

  it("tells of failures to whoever awaits them", function()
    local future = app.js.publish_async(stream .. ".a", "x", { expected_last_seq = 7 })
    local ack, err = future:await()
    assert.is_nil(ack)
    assert.equal("wrong_last_sequence", err.code)
    assert.is_true(assert(app.js.flush()))
  end)

  it("tells of other failures to flush, each once", function()
    for i = 1, 3 do
      app.js.publish_async(stream .. ".a", "x", { expected_last_seq = 7 + i })
    end
    app.js.publish_async(stream .. ".a", "x")
    local ok, err = app.js.flush()
    assert.is_nil(ok)
    assert.equal("wrong_last_sequence", err.code)
    assert.equal(3, err.count)
    assert.truthy(err.message:find "^3 messages were not stored; the first: wrong last")
    assert.is_true(assert(app.js.flush()))
  end)

  it("tells flush of a few bad messages among many whose futures nobody keeps", function()
    clean_loop.expected_errors(0, 60) -- one a second while flush has not told them
    assert(app.js.update_stream { name = stream, max_msg_size = 100 })
    for i = 1, 5000 do
      app.js.publish_async(stream .. ".a",
        { text = (i == 10 or i == 20 or i == 30) and ("x"):rep(200) or "short" })
      if i % 500 == 0 then collectgarbage() end
    end
    collectgarbage()
    local ok, err = app.js.flush(20)
    testing.errors() -- those lines
    assert.is_nil(ok)
    assert.equal(3, err.count)
    assert.equal(10054, err.err_code)
    assert.equal(4997, app.js.stream_info(stream).state.messages)
    assert.is_true(assert(app.js.flush()))
  end)

  it("tells flush what was not awaited only", function()
    local futures = {}
    for i = 1, 4 do
      futures[i] = app.js.publish_async(stream .. ".a", "x", { expected_last_seq = 7 })
    end
    futures[1]:await() -- while it is under way
    futures[2]:await()
    eventually("the others", function() return futures[3].done and futures[4].done end)
    futures[3]:await() -- when it has failed
    local ok, err = app.js.flush()
    assert.is_nil(ok)
    assert.equal(1, err.count)
    assert.truthy(err.message:find "^1 message was not stored")
    assert.equal("wrong_last_sequence", select(2, futures[4]:await()).code)
    assert.is_true(assert(app.js.flush()))
  end)

  it("does not tell flush of what somebody else awaits", function()
    local future = app.js.publish_async(stream .. ".a", "x", { expected_last_seq = 7 })
    local awaited
    app.spawn(function() awaited = select(2, future:await()).code end)
    assert.is_true(assert(app.js.flush()))
    eventually("the other one", function() return awaited == "wrong_last_sequence" end)
  end)

  it("tells flush of what still waits to be sent", function()
    local broker = testing.broker()
    local svc = testing.start([[
      app.on_start(function() assert(app.js.add_stream { name = "S", subjects = { "s" } }) end)
      app.listen("go", function()
        local big = ("x"):rep(1000000)
        big:sub(1, 5):gsub("x", function() app.publish("full", big) end) -- none can wait here
        local future
        app.spawn(function() future = app.js.publish_async("s", "later") end)
        local flush = app.spawn(function()
          assert(app.js.flush(20))
          return future ~= nil and future.done
        end)
        return flush:await()
      end)]], { server = broker.url })
    finally(function()
      svc:stop()
      broker:stop()
    end)
    assert.is_true(svc:request("go", "", { timeout = 20 }).data)
  end)

  it("tells flush of what is too large to be sent", function()
    app.js.publish_async(stream .. ".a", ("x"):rep(8 * 1024 * 1024 + 1))
    local ok, err = app.js.flush()
    assert.is_nil(ok)
    assert.equal("too_large", err.code)
    assert.equal(1, err.count)
  end)

  it("reports failures that nobody looks at, in one line", function()
    local report, reports = core.report, {}
    core.report = function(text) reports[#reports + 1] = text end -- luacheck: ignore
    for _ = 1, 20 do
      app.js.publish_async(stream .. ".a", "x", { expected_last_seq = 7 })
    end
    eventually("the report", function()
      collectgarbage()
      return reports[1]
    end)
    core.report = report -- luacheck: ignore
    assert.equal(1, #reports)
    assert.truthy(reports[1]:find("wrong last sequence", 1, true))
    assert.truthy(reports[1]:find("the last of 20 messages", 1, true))
    assert.equal(20, select(2, app.js.flush()).count)
  end)

  it("finds out that there is no stream", function()
    local ack, err = app.js.publish_async(unique "nowhere", "x"):await()
    assert.is_nil(ack)
    assert.equal("no_stream", err.code)
  end)

  it("can be awaited for a while", function()
    local subject = unique "silent"
    local listener = app.listen(subject, function() end)
    local future = app.js.publish_async(subject, "x", { timeout = 1 })
    local ack, err = future:await(0.02)
    assert.is_nil(ack)
    assert.equal("timeout", err.code)
    assert.is_false(future.done)
    local ok
    ok, err = app.js.flush(0.02)
    assert.is_nil(ok)
    assert.equal("timeout", err.code)
    ack, err = future:await()
    assert.is_nil(ack)
    assert.equal("timeout", err.code)
    listener:stop()
  end)

  it("raises for wrong arguments", function()
    for _, case in ipairs { { "a b", "x" }, { "a.*", "x" }, { "a", "x", { ms = 1 } },
      { "a", print }, { "a", "x", { rollup = "subject" } }, { "a", "x", { ttl = 0.5 } },
      { "a", "x", { expected_last_seq = 1.5 } } } do
      assert.has_error(function() app.js.publish_async(table.unpack(case, 1, 3)) end)
    end
    assert.is_true(assert(app.js.flush()))
  end)

  it("can replace what was there before", function()
    for _ = 1, 3 do assert(app.js.publish(stream .. ".a", "x")) end
    assert(app.js.publish(stream .. ".b", "x"))
    assert(app.js.publish(stream .. ".a", "y", { rollup = "sub" }))
    assert.equal(2, app.js.stream_info(stream).state.messages)
  end)

  it("says what an old server does not support", function()
    if assert(require "lunats.js.api".level()) >= 1 then return pending "this one does" end
    for _, opts in ipairs { { ttl = 5 }, { ttl = "never" },
      { expected_last_subject_seq = 0, expected_last_subject_seq_subject = "a" } } do
      local ack, err = app.js.publish(stream .. ".a", "x", opts)
      assert.is_nil(ack)
      assert.equal("unsupported", err.code)
    end
  end)

  describe("in a service", function()
    it("is finished before the service stops", function()
      local svc = testing.start(([[
        app.task(function()
          for i = 1, 200 do app.js.publish_async("%s.a", { i = i }) end
          app.publish "all.sent"
          app.sleep(60)
        end)
      ]]):format(stream), { drain_timeout = 20 })
      svc:expect "all.sent"
      assert.equal(0, svc:stop())
      assert.equal(200, app.js.stream_info(stream).state.messages)
    end)

    it("tells which messages a killed server has not acknowledged", function()
      local svc, broker = own.service [[
        app.on_start(function() assert(app.js.add_stream { name = "S" }) end)
        app.task(function()
          local n = 0
          while true do
            n = n + 1
            local id = tostring(n)
            app.spawn(function()
              while true do -- with an id it may be repeated
                local future = app.js.publish_async("S", "x", { msg_id = id, timeout = 0.5 })
                if future:await() then break end
                app.log.info "lost"
                app.sleep(0.1)
              end
              app.log.info "acked"
            end)
            app.sleep(0.002)
          end
        end)
      ]]
      local function acked() return #svc:logs "^acked$" end
      eventually("200 messages", function() return acked() >= 200 end)
      broker:kill()
      eventually("a loss", function() return #svc:logs "^lost$" > 0 end)
      broker:restart()
      local before = acked()
      eventually("more", function() return acked() > before + 200 end)
    end)
  end)
end)
