-- Leases, timers of one instance and cron jobs, in a cluster of three servers that loses one of
-- them, in another JetStream domain, while a holder freezes.
local eventually = require "spec.support.eventually"
local own = require "spec.support.own"
local process = require "spec.support.process"
local testing = require "lunats.testing"

---LN_SOAK: how often each of it happens.
local ROUNDS = tonumber(os.getenv "LN_SOAK") or 1
local INSTANCES, TTL = 3, 1.5
---Elections take seconds, under sanitizers and load more.
local PATIENCE = 60
local STREAM = "KV_LUNATS_LEASES"

---What they do takes effect elsewhere, on a server that goes on whatever the cluster does.
local SOURCE = ([[
  app.config { name = "fleet" }
  local elsewhere
  local function tell(what, data)
    data.instance = app.instance_id
    return elsewhere.request("effect." .. what, data, { timeout = 1 })
  end
  app.on_start(function()
    elsewhere = assert(app.connect { server = os.getenv "ELSEWHERE", name = "elsewhere" })
  end)
  app.leader("only", { ttl = %g }, function(token)
    while true do
      tell("lead", { token = token })
      app.sleep(0.01)
    end
  end)
  app.timer(0.1, { singleton = true }, function() tell("timer", {}) end)
  app.cron("* * * * * *", { name = "tick", catch_up = 120 }, function(tick)
    while not tell("cron", { time = tick.time }) do app.sleep(0.1) end
  end)
  app.task(function() print("instance " .. app.instance_id .. ".") end)
]]):format(TTL)

---Takes effects as a store does that knows of tokens: one that is smaller than one before it is
---refused. Each has the time of the last one of another instance, and since when.
local RECEIVER = [[
  local seen = { accepted = 0, stale = 0, split = 0, token = 0, gap = 1e9, ticks = {},
    timers = 0 }
  app.listen("effect.lead", { concurrency = 1 }, function(msg)
    local token, instance = msg.data.token, msg.data.instance
    if token < seen.token then
      seen.stale = seen.stale + 1
      return nil, { code = 409, message = "stale" }
    end
    if token == seen.token and instance ~= seen.holder then seen.split = seen.split + 1 end
    seen.accepted, seen.token, seen.holder = seen.accepted + 1, token, instance
    return true
  end)
  app.listen("effect.timer", { concurrency = 1 }, function(msg)
    local instance = msg.data.instance
    if seen.timer and seen.timer ~= instance then
      seen.gap = math.min(seen.gap, app.now() - seen.timer_at)
    end
    seen.timer, seen.timer_at, seen.timers = instance, app.now(), seen.timers + 1
    return true
  end)
  app.listen("effect.cron", { concurrency = 1 }, function(msg)
    local time = tostring(msg.data.time)
    seen.ticks[time] = (seen.ticks[time] or 0) + 1
    return true
  end)
  app.listen("seen", function() return seen end)
]]

describe("Once in a fleet whose cluster loses servers", function()
  local cluster, receiver, client, children

  local function seen() return assert(receiver:request("seen", "")).data end

  ---Which server leads the bucket of the leases, once all three have all of it.
  local function leader_of()
    local info = client.js.stream_info(STREAM)
    if not info or not info.cluster.leader then return nil end
    for _, replica in ipairs(info.cluster.replicas or {}) do
      if not replica.current or replica.offline then return nil end
    end
    return #(info.cluster.replicas or {}) == 2 and tonumber(info.cluster.leader:match "%d")
      or nil
  end

  local function node_that_leads()
    return cluster[eventually("a cluster that is well", leader_of, PATIENCE)]
  end

  ---Waits for effects of somebody who may have them, with a lease that was written since.
  local function wait_for_effects(what)
    local before, now = seen(), nil
    local began, since = app.now(), nil
    eventually(function()
      local text = { ("effects after %s: %s, before: %s"):format(what, app.json.encode(now),
        app.json.encode(before)) }
      for _, child in pairs(children) do text[#text + 1] = child:output() end
      return table.concat(text, "\n")
    end, function()
      now = seen()
      if not since and app.now() - began > TTL then since = now end
      return since and now.accepted > since.accepted + 20 and now.timers > since.timers + 5
    end, PATIENCE)
    if ROUNDS > 1 then
      io.stderr:write(("%s: effects within %.2f s, token %d -> %d\n"):format(what,
        app.now() - began, before.token, now.token))
    end
  end

  before_each(function()
    cluster = own.keep(testing.cluster(3, { config = "jetstream { domain: hub }\n" }))
    local elsewhere = own.keep(testing.broker())
    receiver = own.start(RECEIVER, { server = elsewhere.url })
    client = assert(app.connect { server = cluster.urls, js_domain = "hub", retry = true,
      ping_interval = 1, name = "spec" })
    eventually("JetStream", function() return client.js.account_info() end, PATIENCE)
    children = {}
    for _ = 1, INSTANCES do
      local child = process.run(SOURCE, { "--js-domain", "hub", "--ping-interval", "1" },
        { servers = cluster.urls, env = { ELSEWHERE = elsewhere.url } })
      children[child:expect("instance (%w+)%.", PATIENCE)] = child
    end
    wait_for_effects "the start"
  end)

  after_each(function()
    client.close()
    own.close()
    process.close_all()
  end)

  ---Nobody has had an effect who must not, and each tick has run.
  ---@param twice integer  ticks that may have run twice
  local function check(stale, twice)
    local now = seen()
    assert.equal(0, now.split)
    assert.is_true(now.stale <= stale, now.stale .. " effects with a token of the past")
    assert.is_true(now.gap > 1, ("two timers within %.2f s"):format(now.gap))
    local first, last = math.huge, math.floor(app.now())
    for time in pairs(now.ticks) do first = math.min(first, tonumber(time)) end
    eventually("all ticks", function()
      now = seen()
      for time = first, last do
        if not now.ticks[tostring(time)] then return false end
      end
      return true
    end, PATIENCE)
    local more = 0
    for _, count in pairs(now.ticks) do more = more + count - 1 end
    assert.is_true(more <= twice, more .. " ticks too many")
  end

  it("nobody has a token that is not valid when the server that leads the bucket is killed",
    function()
    for _ = 1, ROUNDS do
      local node = node_that_leads()
      node:kill()
      wait_for_effects "the end of the server that leads"
      node:restart()
    end
    node_that_leads()
    check(0, 0)
    for _, child in pairs(children) do assert.equal(0, child:stop(30)) end
  end)

  it("nor when it stands still, and with it the connections to it", function()
    for _ = 1, ROUNDS do
      local node = node_that_leads()
      node:pause()
      -- Those that are connected to it notice by and by; the others wait for an election.
      wait_for_effects "the pause of the server that leads"
      local token = seen().token
      node:resume()
      node_that_leads()
      wait_for_effects "the return of that server"
      assert.is_true(seen().token >= token)
    end
    -- An instance that cannot be reached for five seconds is taken for dead.
    check(0, ROUNDS * INSTANCES)
  end)

  it("nor when the process that holds the lease stands still for three times its time",
    function()
    for _ = 1, ROUNDS do
      local before = seen()
      local holder = children[before.holder]
      holder:signal "STOP"
      local frozen = app.now()
      eventually("another holder", function() return seen().token > before.token end, PATIENCE)
      local taken = app.now() - frozen
      while app.now() - frozen < 3 * TTL do app.sleep(0.05) end
      holder:signal "CONT"
      eventually("its end", function() return holder:count "does not lead any more" > 0 end)
      wait_for_effects(("a freeze, taken over after %.2f s,"):format(taken))
    end
    -- The line that ran when the process froze may send: that is what the token is for.
    check(ROUNDS, ROUNDS)
  end)
end)

describe("The bucket of the leases", function()
  after_each(own.close)

  it("is made with what a cluster has, which the log says", function()
    local cluster = own.keep(testing.cluster(3))
    local client = assert(app.connect { server = { cluster.urls[1], cluster.urls[2] },
      retry = true, ping_interval = 1, name = "spec" })
    finally(function() client.close() end)
    eventually("JetStream", function() return client.js.account_info() end, PATIENCE)
    cluster[3]:kill()
    local svc = eventually("a start", function() -- while they elect another leader it fails
      local ok, started = pcall(testing.start, "app.leader('work', print)",
        { server = cluster.urls[1] })
      return ok and own.keep(started)
    end, PATIENCE)
    local info = eventually("the stream", function() return client.js.stream_info(STREAM) end)
    -- Servers that have not noticed yet count on the one that is gone.
    local few = info.config.num_replicas < 3
    assert.equal(few and 1 or 0, #svc:logs "is made with one replica: fewer than three servers")
  end)
end)
