-- What takes long is named in the log: what holds the loop, requests without an answer,
-- handlers that a stop cuts off.
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

after_each(process.close_all)

---Uses CPU, and nothing else runs.
local BUSY = [[
  local function busy() local start = os.clock() while os.clock() - start < 0.2 do end end
]]

describe("what holds the loop", function()
  it("is named once a minute: a listener with its subject", function()
    local prefix = unique "slow"
    local child = process.run(BUSY .. ([[
      app.listen(%q, function() busy() return "done" end)
      app.listen(%q, function() return "done" end)
    ]]):format(prefix .. ".busy.*", prefix .. ".quick"))
    child:expect "started"
    assert(app.request(prefix .. ".busy.one", nil, { timeout = 20 }))
    child:expect("WARN +svc: listener [^\n]*busy%.%* %([^\n]*busy%.one%) has held the loop for "
      .. "%d+%.%d%d s: nothing else ran meanwhile %(.-sleep%(0%).-%) "
      .. "listener=[^\n]*busy%.%* subject=[^\n]*one\n")
    assert(app.request(prefix .. ".busy.two", nil, { timeout = 20 }))
    assert(app.request(prefix .. ".quick", nil, { timeout = 20 }))
    assert.equal(0, child:stop())
    assert.equal(1, child:count "held the loop")
  end)

  for name, declaration in pairs {
    ["a hook"] = "app.on_start(busy)",
    ["timer every 3600 s"] = "app.timer(3600, busy)",
    ["timer report"] = "app.timer(3600, { name = 'report' }, busy)",
    ["task warm up"] = "app.task({ name = 'warm up' }, busy)",
    ["a fiber"] = "app.task(function() app.spawn(busy) end)",
  } do
    it("is named: " .. name, function()
      local child = process.run(BUSY .. declaration)
      child:expect("WARN +svc: " .. name .. " has held the loop for")
    end)
  end

  it("is named with the place where it waited at last", function()
    local child = process.run(BUSY .. "app.task(function() busy()\n  app.sleep(3600) end)")
    child:expect "task has held the loop for %d+%.%d%d s, until it waited at [^\n]*svc.lua:3: "
  end)

  it("is named while it waits for another program, without using CPU", function()
    local child = process.run [[
      app.task({ name = "shell" }, function() os.execute "sleep 1.3" end)
    ]]
    child:expect "WARN +svc: task shell has held the loop for"
  end)

  it("is not named for what the machine took: the process was stopped", function()
    local child = process.run [[
      app.task({ name = "shell" }, function()
        os.execute "sleep 0.2; kill -STOP $PPID"
        os.execute "sleep 0.2" -- either is long enough to be looked at
        app.log.info "goes on"
      end)
    ]]
    eventually("a process that is stopped", function()
      local file <close> = assert(io.open(("/proc/%d/stat"):format(child.pid)))
      return file:read "a":find(") T ", 1, true)
    end)
    app.sleep(1.3) -- more than the second that is told
    child:signal "CONT"
    child:expect "goes on"
    assert.equal(0, child:stop())
    assert.equal(0, child:count "held the loop")
  end)

  it("is named: a consumer", function()
    local stream = unique "slow"
    assert(app.js.add_stream { name = stream, subjects = { stream .. ".>" },
      storage = "memory" })
    finally(function() app.js.delete_stream(stream) end)
    assert(app.js.publish(stream .. ".a", "x"))
    local child = process.run(BUSY .. ([[
      app.js.subscribe(%q, { stream = %q, durable = "slowly" }, busy)
    ]]):format(stream .. ".>", stream))
    child:expect(("WARN +svc: consumer slowly of stream %s %%(%s.a%%) has held the loop for")
      :format(stream, stream))
  end)
end)

describe("a request that waits for its answer", function()
  local svc, prefix
  before_each(function()
    prefix = unique "slow"
    svc = testing.start(([[
      local prefix = %q
      app.listen(prefix .. ".never", function() app.sleep(3600) end)
      app.listen(prefix .. ".early", function(msg) msg:respond "soon" app.sleep(3600) end)
    ]]):format(prefix), { clock = "manual" })
  end)
  after_each(function() svc:stop() end)

  local function send(name, reply_to)
    local before = #svc:fibers()
    assert(app.publish(prefix .. name, "x", { reply_to = reply_to }))
    eventually("the handler", function() return #svc:fibers() > before end)
  end

  it("is named after ten seconds", function()
    send(".never", prefix .. ".reply")
    svc:advance(9)
    assert.same({}, svc:logs "has not answered")
    svc:advance(1)
    local line = assert(svc:logs "has not answered"[1])
    assert.equal("warn", line.level)
    assert.matches(("^listener %s%%.never has not answered for 10 s, and waits at [^ ]+:2:")
      :format(prefix), line.message)
  end)

  it("is named once for each listener", function()
    send(".never", prefix .. ".reply")
    svc:advance(5)
    send(".never", prefix .. ".reply")
    svc:advance(3600)
    assert.equal(1, #svc:logs "has not answered")
  end)

  it("is not one that has been answered, and no event is", function()
    send(".early", prefix .. ".reply")
    send ".never"
    svc:advance(100)
    assert.same({}, svc:logs "has not answered")
  end)
end)

describe("a handler that a stop cuts off", function()
  it("is named with its subject, how long it has run and where it waits", function()
    local prefix = unique "slow"
    local child = process.run(([[
      app.listen(%q, function()
        print "handling"
        io.flush()
        app.sleep(3600)
      end)
    ]]):format(prefix .. ".*"), { "--drain-timeout", "0.2" })
    child:expect "started"
    assert(app.publish(prefix .. ".one"))
    child:expect "handling"
    child:stop()
    child:expect "WARN +svc: 1 handler did not finish within 0.2 s\n"
    child:expect(("WARN +svc: listener %s%%.%%* %%(%s%%.one%%) is cut after %%d+%%.%%d s "
      .. "at [^\n]*svc%%.lua:4 listener="):format(prefix, prefix))
  end)

  it("is named when a new version does not wait for it any longer", function()
    local prefix = unique "slow"
    local source = ("app.listen(%q, function() app.sleep(3600) end)"):format(prefix)
    local svc = testing.start(source, { drain_timeout = 0.05 })
    finally(function() svc:stop() end)
    assert(app.publish(prefix))
    eventually("the handler", function() return #svc:fibers() == 1 end)
    assert(svc:reload(source .. " "))
    eventually("the line", function() return svc:logs "is cut after"[1] end)
    assert.matches(("^listener %s is cut after %%d+%%.%%d s at"):format(prefix),
      svc:logs "is cut after"[1].message)
  end)
end)
