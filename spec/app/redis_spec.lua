-- lunats.redis against a real server.
local clean_loop = require "spec.support.clean_loop"
local eventually = require "spec.support.eventually"
local peer = require "spec.support.peer"
local process = require "spec.support.process"
local redis = require "lunats.redis"
local servers = require "spec.support.servers"
local testing = require "lunats.testing"

after_each(process.close_all)

---A deadline for slow machines, not a duration.
local PATIENCE = 20

local function pool_of(server, opts)
  opts = opts or {}
  opts.url = opts.url or "redis://127.0.0.1:" .. server.port
  opts.timeout = opts.timeout or PATIENCE
  opts.idle = opts.idle or 0.001 -- clean_loop counts the connections that are kept
  return redis.pool(opts)
end

describe("lunats.redis", function()
  local server, db
  before_each(function()
    server = servers.redis()
    db = pool_of(server)
  end)

  it("has every command as a method", function()
    assert.equal("OK", db:set("a", "1"))
    assert.equal("1", db:get "a")
    assert.equal(3, db:incrby("a", 2))
    assert.same({}, { db:get "nothing" })
    assert.equal("PONG", db:command "ping")
    assert.equal(2, db:hset("h", { x = 1, y = 2.5 }))
    assert.equal("2.5", db:hget("h", "y"))
    assert.same({ "3", redis.null, "" },
      (db:set("e", "") and db:mget { "a", "nothing", "e" }))
    assert.equal(2, db:del { "a", "e" })
    assert.equal(4, db:rpush("l", { "x", "y" }, "z", 0))
    assert.same({ "x", "y", "z", "0" }, db:lrange("l", 0, -1))
    assert.same({ "maxmemory", "0" }, db:config("GET", "maxmemory"))
    assert.equal(9007199254740993, db:incrby("big", 9007199254740993))
    local bytes = ("\0\r\n$-1\r\n"):rep(50000)
    assert.equal("OK", db:set("bytes", bytes))
    assert.is_true(db:get "bytes" == bytes)
    assert.same({ { 1, { "a", redis.null } } },
      { db:eval("return { 1, { 'a', false } }", 0) })
  end)

  it("returns what the server refuses, with its first word", function()
    db:set("a", "text")
    local reply, err = db:incr "a"
    assert.is_nil(reply)
    assert.same({ "redis", "ERR" }, { err.code, err.kind })
    assert.equal("ERR value is not an integer or out of range", tostring(err))
    reply, err = db:lpush("a", 1)
    assert.is_nil(reply)
    assert.equal("WRONGTYPE", err.kind)
    assert.equal("text", db:get "a")
  end)

  it("refuses what cannot be meant", function()
    for _, case in ipairs {
      { "argument 2 is a nil", function() db:set("a", nil) end },
      { "argument 1 is an empty table", function() db:del {} end },
      { "argument 1 is a list with a boolean in it", function() db:del { true } end },
      { "WATCH is about one connection; call it in redis:session",
        function() db:watch "a" end },
      { "SUBSCRIBE is redis:subscribe", function() db:command("subscribe", "a") end },
      { "MONITOR is not available", function() db:monitor() end },
      { "one word", function() db:command "CONFIG GET" end },
      { "the url begins with redis://", function() redis.pool { url = "http://a" } end },
      { "the number of a database", function() redis.pool { url = "redis://a/b" } end },
      { "needs a host", function() redis.pool { url = "redis://a:b" } end },
      { "redis.pool: timeout must be a number", function() redis.pool { timeout = -1 } end },
      { "redis.pool: idle must be a number", function() redis.pool { idle = 0 / 0 } end },
      { "the timeout must be a number", function() db:within(-1) end },
      { "the timeout must be a number", function() db:within() end },
      { "unknown option 'uri'.*url", function() redis.pool { uri = "redis://a" } end },
    } do
      assert.error_matches(case[2], case[1])
    end
  end)

  it("sends a pipeline at once, with errors where they are", function()
    local replies = assert(db:pipeline(function(p)
      p:set("a", "x"):incr "a"
      p:get "nothing"
      for i = 1, 1000 do p:rpush("l", i) end
    end))
    assert.equal(1003, #replies)
    assert.equal("OK", replies[1])
    assert.equal("redis", replies[2].code)
    assert.equal(redis.null, replies[3])
    assert.equal(1000, replies[1003])
    assert.same({}, db:pipeline(function() end))
  end)

  it("does a transaction as a whole, or not", function()
    assert.same({ "OK", 2 }, db:transaction(function(p)
      p:set("a", 1)
      p:incr "a"
    end))
    local replies, err = db:transaction(function(p)
      p:incr "a"
      p:command("SET", "too few")
    end)
    assert.is_nil(replies)
    assert.matches("wrong number of arguments", err.message)
    assert.equal("2", db:get "a")
  end)

  it("has sessions, in which a key is watched", function()
    local function double(between)
      return db:session(function(one)
        one:watch "a"
        local value = tonumber(one:get "a")
        if between then between() end
        return one:transaction(function(p) p:set("a", 2 * value) end)
      end)
    end
    db:set("a", 21)
    assert.same({ "OK" }, double())
    assert.equal("42", db:get "a")
    assert.same({}, { double(function() db:set("a", 5) end) })
    assert.equal("5", db:get "a")
    local kept
    db:session(function(one)
      kept = one
      assert.equal("OK", one:select(3))
      assert.is_nil(one:get "a")
    end)
    local _, err = kept:get "a"
    assert.equal("closed", err.code)
    assert.equal("5", db:get "a") -- of database 0: that connection is gone
    assert.error_matches(function() db:session(function() error "broken" end) end, "broken")
  end)

  it("gives nobody a connection of a session that is of another database", function()
    local one = pool_of(server, { max = 1, idle = 60 })
    one:set("a", "of 0")
    for _, way in ipairs { "pipeline", "transaction" } do
      one:session(function(s)
        assert.equal("OK", s[way](s, function(p) p:select(3) end)[1])
      end)
      assert.equal("of 0", one:get "a")
    end
    server:stop() -- what is kept ends with it
  end)

  it("gives nobody the reply to a command of a session that was cut off", function()
    local one = pool_of(server, { max = 1, idle = 60 })
    one:set("a", "of a")
    one:session(function(s)
      local done, err = app.timeout(0.05, function() return s:blpop("q", 0) end)
      assert.is_nil(done)
      assert.equal("timeout", err.code)
      local _, closed = s:get "a"
      assert.equal("closed", closed.code)
      assert.matches("begin another one with redis:session", closed.message)
    end)
    one:session(function(s) app.timeout(0.05, function() return s:blpop("q", 1) end) end)
    assert.equal("of a", one:get "a") -- and not nil, as of BLPOP
    server:stop() -- what is kept ends with it
  end)

  it("gives no other fiber the reply to a command of a session", function()
    db:set("a", "of a")
    db:session(function(s)
      local first = app.spawn(function() return s:blpop("q", PATIENCE) end)
      app.sleep(0)
      assert.error_matches(function() s:get "a" end, "another fiber waits for a reply")
      db:rpush("q", "x")
      assert.equal("x", first:await(PATIENCE)[2])
      assert.equal("of a", s:get "a")
    end)
  end)

  it("uses connections again, so many at once", function()
    local small = pool_of(server, { max = 2, idle = 60 })
    local ids, fibers = {}, {}
    for i = 1, 10 do
      fibers[i] = app.spawn(function() ids[small:client "ID"] = true end)
    end
    for i = 1, 10 do fibers[i]:await() end
    local count = 0
    for _ in pairs(ids) do count = count + 1 end
    assert.is_true(count <= 2, count)
    -- All in use: who comes then waits, and is told when that takes too long.
    local busy = { app.spawn(function() return small:blpop("q", 0) end),
      app.spawn(function() return small:blpop("q", 0) end) }
    eventually("both to wait", function()
      return tonumber(db:info("clients"):match "blocked_clients:(%d+)") == 2
    end)
    local _, err = small:within(0.02):get "a"
    assert.equal("timeout", err.code)
    assert.equal("redis: all 2 connections of the pool are in use", err.message)
    local cancelled = app.spawn(function() small:get "a" end)
    app.sleep(0)
    cancelled:cancel()
    db:rpush("q", "x")
    local first = eventually("one of them", function()
      return busy[1]:await(0.001) or busy[2]:await(0.001)
    end)
    assert.equal("x", first[2])
    assert.is_nil(small:get "a")
    db:rpush("q", "y")
    for _, fiber in ipairs(busy) do assert.equal("q", fiber:await(PATIENCE)[1]) end
    -- One that is cancelled gives its place back, and its connection is of no more use.
    for _ = 1, 3 do
      local fiber = app.spawn(function() small:blpop("q", 0) end)
      app.sleep(0.01)
      fiber:cancel()
      fiber:await()
    end
    assert.is_nil(small:get "a")
    server:stop() -- what is kept ends with it
  end)

  it("gives up a command in time, and a connection with it", function()
    local _, err = db:within(0.05):blpop("q", 0)
    assert.equal("timeout", err.code)
    assert.equal("OK", db:within(math.huge):set("forever", 1))
    assert.is_nil(db:get "q")
  end)

  it("gives up a reply that goes on and on", function()
    local dripping = process.spawn { "perl", "-MIO::Socket::INET", "-e", [[
      my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 16) or die;
      $SIG{PIPE} = 'DEFAULT';
      $| = 1;
      print "listening on ", $listener->sockport, "\n";
      while (my $client = $listener->accept) {
        next if fork;
        sysread $client, my $command, 100;
        syswrite $client, "*1000000\r\n";
        while (1) { syswrite $client, ":1\r\n"; select undef, undef, undef, 0.02 }
      }]] }
    local port = tonumber(dripping:expect "listening on (%d+)\n")
    local began = app.now()
    local _, err = pool_of(nil, { url = "redis://127.0.0.1:" .. port, timeout = 0.4 }):get "x"
    assert.equal("timeout", err.code)
    assert.truthy(app.now() - began < PATIENCE)
  end)

  it("says who it is, and to which database it wants", function()
    local closed = servers.redis("--requirepass", "a secret/@")
    local _, err = pool_of(closed):get "a"
    assert.equal("NOAUTH", err.kind)
    local port = closed.port
    local own = pool_of(nil, { url = "redis://:a%20secret%2F%40@127.0.0.1:" .. port .. "/2" })
    assert.equal("OK", own:set("a", 1))
    assert.matches("db=2", own:client "INFO")
    _, err = pool_of(nil, { url = "redis://ada:wrong@127.0.0.1:" .. port }):get "a"
    assert.equal("WRONGPASS", err.kind)
    assert.not_matches("wrong@", err.message)
  end)

  it("speaks TLS, and over a Unix socket", function()
    local files = testing.certificates()
    local path = process.path "sock"
    local port = require("lunats.core").free_port()
    local own = process.spawn { "redis-server", "--port", "0", "--save", "", "--dir", "/tmp",
      "--tls-port", tostring(port), "--bind", "127.0.0.1", "--unixsocket", path,
      "--tls-cert-file", files.folder .. "/server.pem",
      "--tls-key-file", files.folder .. "/server.key", "--tls-ca-cert-file", files.ca }
    own:expect "Ready to accept connections"
    local url = "rediss://localhost:" .. port
    local secure = pool_of(nil, { url = url, tls = { ca = files.ca, cert = files.cert,
      key = files.key } })
    local bytes = ("x"):rep(1e6)
    assert.equal("OK", secure:set("a", bytes))
    assert.is_true(secure:get "a" == bytes)
    local _, err = pool_of(nil, { url = url }):get "a"
    assert.equal("tls", err.code)
    assert.equal(1e6, pool_of(nil, { url = "unix:" .. path }):strlen "a")
  end)

  it("tells what is no Redis, and that nothing is there", function()
    local port = peer()
    local other = redis.pool { url = "redis://127.0.0.1:" .. port, timeout = PATIENCE }
    local _, err = other:get "x" -- it says "what is *2?"
    assert.equal("redis", err.code)
    assert.matches("no reply of Redis", err.message)
    server:stop()
    _, err = db:get "a"
    assert.equal("refused", err.code)
  end)
end)

describe("subscriptions of lunats.redis", function()
  local server, db
  before_each(function()
    server = servers.redis()
    db = pool_of(server)
  end)

  it("get messages in order, by name and by pattern", function()
    local got = {}
    local feed = assert(db:subscribe({ "a", "b" }, function(message, channel)
      got[#got + 1] = channel .. "=" .. message
    end))
    local all = assert(db:psubscribe("*", function(message, channel, pattern)
      got[#got + 1] = pattern .. channel .. "=" .. message
    end))
    db:publish("a", "1")
    eventually("both", function() return #got == 2 end)
    table.sort(got)
    assert.same({ "*a=1", "a=1" }, got)
    all:stop()
    got = {}
    for i = 1, 100 do db:publish(i % 2 == 0 and "a" or "b", i) end
    eventually("all", function() return #got == 100 end)
    assert.equal("b=1 a=2 b=3", table.concat(got, " ", 1, 3))
    feed:stop()
    eventually("its end", function() return db:publish("a", "x") == 0 end)
  end)

  it("go on when a function fails, and when the connection is lost", function()
    local got = {}
    local feed = assert(db:subscribe("a", function(message)
      if message == "bad" then error "a bad message" end
      got[#got + 1] = message
    end))
    db:publish("a", "bad")
    db:publish("a", "good")
    eventually("the good one", function() return got[1] == "good" end)
    assert.equal(1, db:client("KILL", "TYPE", "pubsub"))
    eventually("it to be there again", function() return db:publish("a", "again") == 1 end)
    eventually("another one", function() return got[2] == "again" end)
    feed:stop()
    local errors = testing.errors()
    assert.equal(1, #errors)
    assert.matches("a bad message", tostring(errors[1]))
    clean_loop.expected_errors(1)
  end)

  it("ask a server that says nothing, and leave one that is stuck", function()
    local subscription = require "lunats.redis.subscription"
    local silence = subscription.silence
    subscription.silence = 0.05
    local feed = assert(db:subscribe("a", function() end))
    local pings = function()
      return tonumber(db:info("commandstats"):match "cmdstat_ping:calls=(%d+)")
    end
    eventually("two questions", function() return (pings() or 0) >= 2 end)
    local id = db:client("LIST", "TYPE", "pubsub"):match "id=(%d+)"
    local first = feed.socket
    server:signal "STOP"
    eventually("it to try another connection", function() return feed.socket ~= first end)
    server:signal "CONT"
    eventually("another connection", function()
      local now = db:client("LIST", "TYPE", "pubsub"):match "id=(%d+)"
      return now and now ~= id
    end)
    subscription.silence = silence
    feed:stop()
  end)

  it("fail when there is no server, and end with the service", function()
    local svc = testing.start(([[
      local redis = require("lunats.redis").pool { url = "redis://127.0.0.1:%d" }
      local got = 0
      app.on_start(function()
        assert(redis:subscribe("a", function() got = got + 1 end))
      end)
      app.listen("redis.got", function() return got end)
    ]]):format(server.port))
    eventually("a message", function()
      db:publish("a", "x")
      return svc:request("redis.got", "").data > 0
    end)
    svc:reload()
    eventually("one subscription", function() return db:publish("a", "x") == 1 end)
    svc:stop()
    eventually("none", function() return db:publish("a", "x") == 0 end)
    server:stop()
    local feed, err = db:subscribe("a", print)
    assert.is_nil(feed)
    assert.equal("refused", err.code)
  end)
end)
