-- app.cron: each tick runs once in the fleet. Time is moved by hand.
local eventually = require "spec.support.eventually"
local own = require "spec.support.own"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

describe("app.cron", function()
  local broker, name

  setup(function() broker = testing.broker() end)
  teardown(function() broker:stop() end)
  before_each(function() name = unique "cron" end)
  after_each(own.close)

  local function start(source, opts)
    opts = opts or {}
    return own.start(('app.config { name = "%s" } %s'):format(name, source),
      { server = broker.url, clock = opts.clock or "manual" })
  end

  ---Where `job` is due next.
  local NEXT = [[
    app.listen("next." .. app.instance_id, { queue = false }, function()
      return { due = job:next(), now = app.now() }
    end)
  ]]

  local MINUTES = [[
    job = app.cron("* * * * *", OPTS function(tick)
      app.publish("ran", { time = tick.time, at = app.now(), attempt = tick.attempt,
        id = tick.id, name = tick.name })
    end)
  ]] .. NEXT

  local function minutes(opts) return (MINUTES:gsub("OPTS", opts and opts .. "," or "")) end

  local function runs(...)
    local list = {}
    for _, svc in ipairs { ... } do
      for _, msg in ipairs(svc:calls "ran") do list[#list + 1] = msg.data.time end
    end
    table.sort(list)
    return list
  end

  ---When `job` of the service is due, and what time it is there.
  local function next_of(svc)
    return eventually("its listener", function() -- connected again is not yet subscribed
      return svc:request("next." .. svc.instance_id)
    end).data
  end

  ---To the next tick of `job` and no further: its message may come when time would have gone
  ---on, and what is late by half a minute is left out.
  ---@param due integer|nil  another tick; one of the past is none to go to
  local function advance_to_tick(svc, due)
    local at = next_of(svc)
    local left = (due or at.due) - at.now
    if left > 0 then svc:advance(left + 0.01) end
  end

  ---Waits for what takes its time on the clock of the service as well: for less than a minute
  ---of that, so that behind advance_to_tick() there is no other tick.
  local function eventually_moving(what, svc, fn)
    local moved = 0
    eventually(what, function()
      if moved < 50 then
        svc:advance(0.5)
        moved = moved + 0.5
      end
      return fn()
    end)
  end

  ---Until so many ticks have run in these services, and then a moment for one too many.
  local function expect_runs(count, ...)
    local all = { ... }
    eventually("the runs", function() return #runs(table.unpack(all)) >= count end)
    for _, svc in ipairs(all) do svc:advance(0) end
    local list = runs(...)
    assert.equal(count, #list)
    for i = 2, #list do assert.equal(60, list[i] - list[i - 1]) end
    return list
  end

  it("runs each tick once, in whatever instance", function()
    local a, b = start(minutes()), start(minutes())
    local first = next_of(a).due -- which may be over when the second one starts
    for i = 1, 10 do
      for _, svc in ipairs { a, b } do advance_to_tick(svc, first + (i - 1) * 60) end
      eventually("the run", function() return #runs(a, b) >= i end)
    end
    for _, time in ipairs(expect_runs(10, a, b)) do assert.equal(0, time % 60) end
  end)

  it("tells its function when the tick was due, and names it", function()
    local a = start(minutes '{ name = "every-minute" }')
    local due = next_of(a).due
    advance_to_tick(a)
    local run = a:expect "ran".data
    assert.same({ due, 1, "every-minute", ("%s.every-minute@%d"):format(name, due) },
      { run.time, run.attempt, run.name, run.id })
    assert.is_true(run.at >= due)
  end)

  it("runs a tick again that has failed, and gives it up after some attempts", function()
    local a = start([[
      job = app.cron("* * * * *", { max_deliver = 3, backoff = { 0.05 }, dead_letter = "dead" },
        function(tick)
          app.publish("ran", { time = tick.time })
          error "not today"
        end)
    ]] .. NEXT)
    own.start([[app.on_start(function()
      assert(app.js.ensure_stream { name = "DEAD", subjects = { "dead" } })
    end)]], { server = broker.url })
    advance_to_tick(a)
    eventually("three attempts", function() return #a:calls "ran" == 3 end)
    eventually("the end", function() return #a:logs "is given up after 3 deliveries" == 1 end)
    assert.equal(0, a:expect "dead".data.time % 60)
    assert.equal(3, #a:errors())
  end)

  it("makes up for what was missed within catch_up, each tick once", function()
    local a = start(minutes "{ catch_up = 600 }")
    advance_to_tick(a)
    expect_runs(1, a)
    a:partition(3600)
    eventually("the loss", function() return #a:logs "connection lost" > 0 end)
    a:advance(300)
    a:partition(0)
    eventually("the connection", function() return #a:logs "connected again" > 0 end)
    eventually_moving("the runs", a, function() return #runs(a) >= 6 end)
    expect_runs(6, a)
  end)

  it("leaves out what comes too late without catch_up", function()
    local a = start(minutes())
    advance_to_tick(a)
    expect_runs(1, a)
    a:partition(3600)
    eventually("the loss", function() return #a:logs "connection lost" > 0 end)
    a:advance(130)
    a:partition(0)
    eventually("the connection", function() return #a:logs "connected again" > 0 end)
    advance_to_tick(a)
    assert.is_true(#a:logs "is left out: it is too late for it" >= 1)
    eventually("another run", function() return #runs(a) >= 2 end)
  end)

  it("never runs twice at a time", function()
    local a = start([[
      app.cron("* * * * *", { catch_up = 600 }, function()
        running = (running or 0) + 1
        app.publish("ran", { time = running })
        app.sleep(90)
        running = running - 1
      end)
    ]])
    eventually("two runs", function()
      a:advance(5)
      return #a:calls "ran" >= 2
    end)
    a:advance(300)
    for _, msg in ipairs(a:calls "ran") do assert.equal(1, msg.data.time) end
  end)

  it("goes on over a reload", function()
    local a = start(minutes())
    advance_to_tick(a)
    expect_runs(1, a)
    assert(a:reload(('app.config { name = "%s" } %s'):format(name, minutes())))
    for i = 2, 3 do
      advance_to_tick(a)
      expect_runs(i, a)
    end
  end)

  it("stops with its handle", function()
    local a = start(minutes() .. [[
      app.listen("stop", function() job:stop() return 1 end)
    ]])
    advance_to_tick(a)
    expect_runs(1, a)
    assert(a:request("stop"))
    a:advance(180)
    assert.equal(1, #runs(a))
  end)

  it("does not run again what has run when its acknowledgement is lost", function()
    local a = start(minutes '{ name = "j", catch_up = 600 }')
    advance_to_tick(a)
    expect_runs(1, a)
    -- A consumer that knows nothing of the past gets all ticks again.
    own.start(([[app.on_start(function()
      local ok, err = app.js.delete_consumer("LUNATS_CRON", "%s=j")
      -- A server of 2.9 may find its folder in use: the consumer is gone all the same.
      assert(ok or err.err_code == 10051, err)
    end)]]):format(name), { server = broker.url })
    advance_to_tick(a)
    eventually_moving("the second run", a, function() return #runs(a) >= 2 end)
    expect_runs(2, a)
  end)

  it("lets another instance finish what it has begun", function()
    local source = [[
      app.cron("30 3 29 2 *", { name = "j", catch_up = 600 }, function(tick)
        app.publish("ran", { time = tick.time })
        assert(app.request("wait", ""))
      end)
    ]]
    local gate, waiting = false, 0
    local other = assert(app.connect { server = broker.url })
    finally(function() other.close() end)
    other.listen("wait", function()
      waiting = waiting + 1
      while not gate do app.sleep(0.005) end
      return 1
    end)
    local a = start(source, { clock = "real" })
    -- Leap years are too far apart for a spec: the tick is made here.
    local time = os.time() // 60 * 60
    local subject = ("lunats.cron.%s.j"):format(name)
    assert(other.js.publish(subject, { job = "j", time = time }))
    eventually("the run", function() return waiting == 1 end)
    -- As a server does that has forgotten the consumer: the tick comes to another instance.
    assert(other.js.delete_consumer("LUNATS_CRON", name .. "=j"))
    local b = start(source, { clock = "real" })
    eventually("the second delivery", function()
      local info = other.js.consumer_info("LUNATS_CRON", name .. "=j")
      return info and info.num_ack_pending == 1
    end)
    gate = true
    eventually("the end", function()
      local info = other.js.consumer_info("LUNATS_CRON", name .. "=j")
      return info and info.num_ack_pending == 0 and info.num_pending == 0
    end)
    assert.equal(1, #a:calls "ran" + #b:calls "ran")
    assert.equal(1, waiting)
  end)

  it("shows what it has run", function()
    local a = start(minutes '{ name = "shown" }' .. [[
      app.listen("show", function() return require "lunats.inventory"() end)
    ]])
    for i = 1, 2 do
      advance_to_tick(a)
      expect_runs(i, a)
    end
    local text = assert(a:request("show", "")).raw
    assert.is_truthy(text:find("cron shown: * * * * * (UTC), the next at ", 1, true), text)
    assert.is_truthy(text:find("runs 2, errors 0, missed 0", 1, true), text)
  end)

  describe("refuses", function()
    local function refused(source, text)
      local ok, why = pcall(start, source)
      assert.is_false(ok)
      assert.is_truthy(tostring(why):find(text, 1, true), tostring(why))
    end

    it("expressions that are wrong, and says where", function()
      refused('app.cron("0 25 * * *", print)',
        "app.cron: '0 25 * * *': hour, at character 3: '25' is not a number from 0 to 23")
    end)

    it("zones that there are not", function()
      refused('app.cron("@daily", { zone = "../x" }, print)',
        "'../x' is no name of a time zone")
    end)

    it("two jobs with one name", function()
      refused('app.cron("@daily", print) app.cron("@daily", print)',
        "app.cron: there is a job 'daily' already: give this one a name")
      refused('app.cron("@daily", { name = "a b" }, print)', "the name 'a b' may have letters")
    end)

    it("options that are wrong", function()
      refused('app.cron("@daily", { catch_up = -1 }, print)', "catch_up must be a number")
      refused('app.cron("@daily", { max_deliver = 0 }, print)', "max_deliver must be a whole")
      refused('app.cron("@daily", { dead_letter = "a b" }, print)', "invalid subject 'a b'")
      refused('app.cron("@daily")', "app.cron: a function expected, got nil")
    end)

    it("a stream that does not keep ticks", function()
      local other = own.keep(testing.broker())
      own.start([[app.on_start(function()
        assert(app.js.add_stream { name = "LUNATS_CRON", subjects = { "lunats.cron.>" },
          retention = "workqueue" })
      end)]], { server = other.url })
      local ok, why = pcall(testing.start, 'app.cron("@daily", print)', { server = other.url })
      assert.is_false(ok)
      assert.is_truthy(why:find("LUNATS_CRON is there with other settings: retention is "
        .. "'workqueue'"), why)
    end)

    it("a server without JetStream", function()
      local plain = own.keep(testing.broker { jetstream = false })
      local ok, why = pcall(testing.start, 'app.cron("@daily", print)', { server = plain.url })
      assert.is_false(ok)
      assert.is_truthy(why:find "app.cron needs the stream LUNATS_CRON", why)
    end)
  end)
end)
