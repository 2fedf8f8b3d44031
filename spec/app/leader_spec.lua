-- app.leader and singleton timers: one instance at a time, whatever happens to it.
local eventually = require "spec.support.eventually"
local own = require "spec.support.own"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

local SOURCE = [[
  app.config { name = "NAME" }
  lead = app.leader("work", { ttl = 15 }, function(token)
    app.publish("leads", { token = token, instance = app.instance_id })
    local _ <close> = setmetatable({}, { __close = function()
      app.publish("ended", { leads = lead:leads() or false })
    end })
    while true do
      app.sleep(1)
      app.publish("beat", token)
    end
  end)
  app.listen("token." .. app.instance_id, { queue = false },
    function() return lead:leads() or false end)
  app.listen("stop." .. app.instance_id, { queue = false }, function() lead:stop() return 1 end)
]]

describe("app.leader", function()
  local broker, name

  setup(function() broker = testing.broker() end)
  teardown(function() broker:stop() end)
  before_each(function() name = unique "lease" end)
  after_each(own.close)

  ---An instance whose time stands still but for svc:advance().
  local function start(source, opts)
    opts = opts or {}
    local begin = opts.ends and testing.start or own.start
    return begin((source or SOURCE):gsub("NAME", name), { server = broker.url,
      clock = opts.clock or "manual" })
  end

  local function token(svc)
    return assert(svc:request("token." .. svc.instance_id)).data
  end

  local function beats(svc) return #svc:calls "beat" end

  ---What was given back is to be had when that has arrived, which may be behind the first look;
  ---in fewer seconds than the lease has.
  local function expect_to_lead(svc)
    for _ = 1, 4 do
      svc:advance(3)
      local leads, msg = pcall(svc.expect, svc, "leads", { timeout = 5 })
      if leads then return msg.data end
    end
    error "it does not lead"
  end

  it("runs in one of two instances, with a token", function()
    local a = start()
    local first = a:expect "leads".data
    assert.equal(a.instance_id, first.instance)
    assert.equal(first.token, token(a))
    local b = start()
    for _ = 1, 5 do
      a:advance(4)
      b:advance(4)
    end
    assert.equal(20, beats(a))
    assert.same({}, b:calls "leads")
    assert.is_false(token(b))
  end)

  it("is taken over by another one when its holder is silent for the time of the lease",
    function()
    local a = start()
    local first = a:expect "leads".data.token
    local b = start()
    b:advance(14.9) -- a stands still
    assert.same({}, b:calls "leads")
    b:advance(4)
    local second = b:expect "leads".data.token
    assert.is_true(second > first)
    a:advance(6) -- its next write is refused
    a:expect "ended"
    assert.equal(1, #a:logs "does not lead any more: somebody else has written its key")
    assert.is_false(token(a))
    a:advance(10)
    assert.equal(1, #a:calls "leads")
  end)

  it("ends before anybody else can have it when there is no connection", function()
    local a = start()
    a:expect "leads"
    local b = start()
    a:advance(4.9)
    b:advance(4.9)
    a:partition(3600)
    eventually("the loss", function() return #a:logs "connection lost" > 0 end)
    a:advance(5)
    assert.equal(0, #a:logs "does not lead any more")
    a:advance(0.2)
    assert.equal(1, #a:logs "does not lead any more: it could not be renewed in time")
    local before = beats(a)
    a:advance(30)
    assert.equal(before, beats(a))
    b:advance(5)
    assert.same({}, b:calls "leads")
  end)

  it("is given back by an instance that stops, after its function has ended", function()
    local a = start(nil, { ends = true })
    local first = a:expect "leads".data.token
    local b = start()
    a:stop()
    assert.equal(1, #a:calls "ended")
    assert.is_true(expect_to_lead(b).token > first)
  end)

  it("is given back by handle:stop()", function()
    local a = start()
    a:expect "leads"
    local b = start()
    assert(a:request("stop." .. a.instance_id))
    assert.is_false(a:expect "ended".data.leads)
    expect_to_lead(b)
    a:advance(60)
    assert.equal(1, #a:calls "leads")
  end)

  it("goes on in the next version after a reload, with the same token", function()
    local a = start()
    local first = a:expect "leads".data.token
    local b = start()
    a:advance(6)
    assert(a:reload((SOURCE:gsub("NAME", name))))
    assert.equal(first, a:expect "leads".data.token)
    assert.equal(1, #a:calls "ended")
    for _ = 1, 8 do
      a:advance(4)
      b:advance(4)
    end
    assert.equal(first, token(a))
    assert.equal(2, #a:calls "leads")
    assert.same({}, b:calls "leads")
  end)

  it("is given back by a version that does not stand for it any more", function()
    local a = start()
    a:expect "leads"
    local b = start()
    assert(a:reload(('app.config { name = "%s" } app.listen("other", print)'):format(name)))
    a:expect "ended"
    expect_to_lead(b)
  end)

  it("passes to another instance when its function fails", function()
    local source = [[
      app.config { name = "NAME" }
      app.leader("work", function(token)
        app.publish("leads", token)
        error "out of order"
      end)
    ]]
    local a = start(source)
    a:expect "leads"
    eventually("the error", function() return #a:errors() > 0 end)
    assert.is_truthy(a:errors()[1]:find("leader work: .*out of order"))
    local b = start()
    expect_to_lead(b)
    for _ = 1, 8 do
      a:advance(4)
      b:advance(4)
    end
    assert.equal(1, #a:calls "leads")
  end)

  it("stays where its function has returned", function()
    local a = start([[
      app.config { name = "NAME" }
      app.leader("work", function(token) app.publish("leads", token) end)
    ]])
    a:expect "leads"
    local b = start()
    for _ = 1, 10 do
      a:advance(4)
      b:advance(4)
    end
    assert.same({}, b:calls "leads")
    assert.equal(1, #a:calls "leads")
  end)

  it("ends what its function has spawned, too", function()
    local a = start([[
      app.config { name = "NAME" }
      app.leader("work", function()
        app.spawn(function()
          while true do
            app.publish("beat", 1)
            app.sleep(1)
          end
        end)
        app.publish("leads", 1)
      end)
    ]])
    a:expect "leads"
    a:advance(2)
    assert.is_true(beats(a) >= 3)
    a:partition(3600)
    eventually("the loss", function() return #a:logs "connection lost" > 0 end)
    a:advance(16)
    local before = beats(a)
    a:advance(16)
    assert.equal(before, beats(a))
  end)

  it("is renewed while the script is busy", function()
    local a = start([[
      app.config { name = "NAME" }
      app.leader("work", { ttl = 3 }, function(token)
        app.publish("leads", token)
        local began = app.now()
        while app.now() - began < 4.5 do
          local busy = app.now()
          while app.now() - busy < 0.03 do end
          app.sleep(0)
        end
        app.publish("done", token)
      end)
    ]], { clock = "real" })
    local first = a:expect "leads".data
    assert.equal(first, a:expect("done", { timeout = 20 }).data)
  end)

  describe("of a timer", function()
    local TIMER = [[
      app.config { name = "NAME" }
      app.timer(60, { singleton = true }, function() app.publish("tick", app.instance_id) end)
    ]]

    it("lets it tick in one instance", function()
      local a = start(TIMER, { ends = true })
      a:expect "tick"
      local b = start(TIMER)
      for _ = 1, 50 do
        a:advance(4)
        b:advance(4)
      end
      assert.equal(4, #a:calls "tick") -- at 0, 60, 120 and 180 s
      assert.equal(0, #b:calls "tick")
      a:stop()
      for _ = 1, 4 do -- as expect_to_lead()
        if #b:calls "tick" == 0 then b:advance(3) end
      end
      b:expect "tick"
      assert.equal(1, #b:calls "tick")
    end)

    it("keeps its phase over a reload", function()
      local a = start(TIMER)
      a:expect "tick"
      for _ = 1, 5 do a:advance(4) end
      assert(a:reload((TIMER:gsub("NAME", name))))
      for _ = 1, 9 do a:advance(4) end
      assert.equal(1, #a:calls "tick")
      a:advance(4)
      assert.equal(2, #a:calls "tick")
    end)

    it("stops with its handle, without cutting the call that runs", function()
      local a = start([[
        app.config { name = "NAME" }
        timer = app.timer(60, { singleton = true }, function()
          timer:stop()
          app.sleep(1)
          app.publish("tick", "whole")
        end)
      ]])
      a:advance(2)
      a:expect "tick"
      local b = start()
      a:advance(300)
      assert.equal(1, #a:calls "tick")
      b:expect "leads"
    end)
  end)

  describe("refuses", function()
    local function refused(source, pattern)
      local ok, why = pcall(start, source)
      assert.is_false(ok)
      assert.is_truthy(tostring(why):find(pattern), tostring(why))
    end

    it("names that cannot be part of a key, and two leases with one name", function()
      refused('app.leader("a b", print)', "app.leader: the name 'a b' of a lease may have")
      refused('app.leader("a..b", print)', "app.leader: the name 'a..b' of a lease")
      refused('app.leader("a", print) app.leader("a", print)',
        "app.leader: there is a lease 'a' already")
      refused([[for _ = 1, 2 do app.timer(5, { singleton = true }, print) end]],
        "app.timer: there is a lease 'timer.5s' already: give this one another name")
    end)

    it("times that are none", function()
      for _, ttl in ipairs { "0.5", "4000", "0/0" } do
        refused(('app.leader("a", { ttl = %s }, print)'):format(ttl),
          "ttl must be a number of seconds from 1 to 3600")
      end
      refused('app.leader("a", { tll = 5 }, print)', "ttl")
    end)

    it("a server without JetStream", function()
      local plain = own.keep(testing.broker { jetstream = false })
      local ok, why = pcall(testing.start, 'app.leader("a", print)', { server = plain.url })
      assert.is_false(ok)
      assert.is_truthy(why:find "app.leader needs the stream KV_LUNATS_LEASES", why)
      assert.is_truthy(why:find "JetStream is not enabled", why)
    end)

    it("a bucket that forgets", function()
      local other = own.keep(testing.broker())
      own.start([[app.on_start(function()
        assert(app.js.create_key_value { bucket = "LUNATS_LEASES", storage = "memory" })
      end)]], { server = other.url })
      local ok, why = pcall(testing.start, 'app.leader("a", print)', { server = other.url })
      assert.is_false(ok)
      assert.is_truthy(why:find("KV_LUNATS_LEASES is there with other settings: storage is "
        .. "'memory'"), why)
    end)

    it("a user who may not ask for it", function()
      local closed = own.keep(testing.broker { config = [[
        jetstream: {}
        authorization: { users: [ { user: a, password: b,
          permissions: { publish: { deny: "$JS.API.STREAM.>" } } } ] }
      ]] })
      local ok, why = pcall(testing.start, 'app.leader("a", print)', { server = closed.url,
        user = "a", password = "b" })
      assert.is_false(ok)
      assert.is_truthy(why:lower():find "app.leader needs the stream .*not permit", why)
    end)
  end)
end)
