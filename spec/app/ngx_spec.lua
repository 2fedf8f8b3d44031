-- lunats.ngx: drivers that were written for nginx, as Debian has them.
local eventually = require "spec.support.eventually"
local peer = require "spec.support.peer"
local process = require "spec.support.process"
local servers = require "spec.support.servers"
local testing = require "lunats.testing"

local ngx = require "lunats.ngx"

after_each(process.close_all)

describe("nginx.redis", function()
  local redis = require "nginx.redis"

  local function connect(server)
    local red = redis:new()
    red:set_timeout(20000)
    assert(red:connect("127.0.0.1", server.port))
    return red
  end

  it("sets and gets, counts, and knows what is not there", function()
    local red = connect(servers.redis())
    assert.equal("OK", red:set("dog", "an animal"))
    assert.equal("an animal", red:get "dog")
    assert.equal(ngx.null, red:get "cat")
    assert.equal(1, red:incr "count")
    assert.equal("", (red:set("empty", "") and red:get "empty"))
    local big = ("\0\r\n\255"):rep(100000)
    assert.equal("OK", red:set("big", big))
    assert.is_true(red:get "big" == big)
    local failed, err = red:incr "dog"
    assert.is_false(failed)
    assert.equal("ERR value is not an integer or out of range", err)
    assert.same({ "an animal", ngx.null }, { table.unpack(red:mget("dog", "cat")) })
    assert.equal("OK", red:hmset("h", { a = "1", b = "2" }))
    assert.same({ a = "1", b = "2" }, red:array_to_hash(red:hgetall "h"))
    assert.equal(1, red:close())
  end)

  it("sends commands in a pipeline, and in a transaction", function()
    local red = connect(servers.redis())
    red:init_pipeline()
    red:set("x", 5)
    red:incr "x"
    red:hincrby("x", "y", 1)
    local replies = assert(red:commit_pipeline())
    assert.same({ "OK", 6 }, { replies[1], replies[2] })
    assert.is_false(replies[3][1])
    assert.equal("OK", red:multi())
    assert.equal("QUEUED", red:incr "x")
    assert.same({ 7 }, red:exec())
    red:close()
  end)

  it("keeps connections in a pool", function()
    local server = servers.redis()
    local red = connect(server)
    assert.equal(0, red:get_reused_times())
    local id = red:client "id"
    assert.equal(1, red:set_keepalive(10000, 10))
    local failed, err = red:get "x"
    assert.is_nil(failed)
    assert.equal("closed", err)
    red = connect(server)
    assert.equal(1, red:get_reused_times())
    assert.equal(id, red:client "id")
    red:close()
  end)

  it("gets what is published", function()
    local server = servers.redis()
    local red, other = connect(server), connect(server)
    assert.same({ "subscribe", "news", 1 }, red:subscribe "news")
    assert.equal(1, other:publish("news", "hello"))
    assert.same({ "message", "news", "hello" }, red:read_reply())
    red:set_timeout(20)
    local failed, err = red:read_reply()
    assert.is_nil(failed)
    assert.equal("timeout", err)
    assert.equal(1, other:publish("news", "later"))
    eventually("it", function()
      local push = red:read_reply()
      return push and push[3] == "later"
    end)
    assert.same({ "unsubscribe", "news", 0 }, red:unsubscribe "news")
    assert.equal(1, red:set_keepalive(1000, 1))
    other:close()
  end)

  it("tells in words that a driver knows what went wrong", function()
    local red = redis:new()
    red:set_timeout(20000)
    local ok, err = red:connect("127.0.0.1", 1)
    assert.is_nil(ok)
    assert.equal("connection refused", err)
    local server = servers.redis()
    red = connect(server)
    server:stop()
    ok, err = red:get "x"
    assert.is_nil(ok)
    assert.equal("closed", err)
  end)
end)

describe("nginx.memcached", function()
  local memcached = require "nginx.memcached"

  it("sets, gets, adds and counts", function()
    local server = servers.memcached()
    local memc = assert(memcached:new())
    memc:set_timeout(20000)
    assert(memc:connect("127.0.0.1", server.port))
    assert.equal(1, memc:set("a key", "value with\r\n in it", 0, 7))
    assert.same({ "value with\r\n in it", "7" }, { memc:get "a key" })
    assert.is_nil((memc:get "other"))
    assert.same({ nil, "NOT_STORED" }, { memc:add("a key", "x") })
    assert.equal(1, memc:set("n", "41"))
    assert.equal("42", memc:incr("n", 1))
    local all = memc:get { "a key", "n", "other" }
    assert.equal("42", all.n[1])
    assert.equal(1, memc:delete "n")
    local value, _, cas = memc:gets "a key"
    assert.equal("value with\r\n in it", value)
    assert.equal(1, memc:cas("a key", "swapped", cas))
    assert.equal("swapped", (memc:get "a key"))
    assert.matches("^%d", memc:version())
    assert.equal(1, memc:set_keepalive(10000, 10))
    assert(memc:connect("127.0.0.1", server.port))
    assert.equal(1, memc:get_reused_times())
    memc:close()
  end)
end)

describe("ngx.socket.tcp", function()
  local port
  before_each(function() port = peer() end)

  local function connect()
    local s = ngx.socket.tcp()
    s:settimeout(20000)
    assert(s:connect("127.0.0.1", port))
    return s
  end

  it("receives lines, numbers of bytes, all, and up to a delimiter", function()
    local s = connect()
    assert.equal(20, s:send { "send ", { "a", "\\r\\n", 12 }, "3--x--y\n" })
    assert.equal("a", s:receive())
    assert.equal("12", s:receive "2")
    local up_to = s:receiveuntil "--"
    assert.equal("3", up_to())
    assert.equal("x--", s:receiveuntil("--", { inclusive = true })())
    assert.equal("y", s:receiveany(10))
    s:send "many 100000\nclose\n"
    assert.equal(100000, #s:receive "*a")
    local data, err = s:receive()
    assert.is_nil(data)
    assert.equal("closed", err)
    assert.same({ nil, "closed" }, { s:close() })
  end)

  it("gives what has come when it fails", function()
    local s = connect()
    s:send "send half\n"
    s:settimeouts(nil, nil, 50)
    local data, err, partial = "", nil, nil
    eventually("half", function()
      data, err, partial = s:receive()
      return partial == "half"
    end)
    assert.is_nil(data)
    assert.equal("timeout", err)
    s:settimeout(20000)
    s:send "send abc\nclose\n"
    assert.same({ nil, "closed", "abc" }, { s:receive(10) })
  end)

  it("begins TLS", function()
    local files = testing.certificates()
    local server = process.spawn { "openssl", "s_server", "-accept", "127.0.0.1:0", "-rev",
      "-cert", files.folder .. "/server.pem", "-key", files.folder .. "/server.key" }
    port = tonumber(server:expect "ACCEPT [%d.]*:(%d+)")
    local s = connect()
    local ok, err = s:sslhandshake()
    assert.is_nil(ok)
    assert.matches("certificate", err)
    s = connect()
    assert.is_true(s:sslhandshake(nil, "localhost", false))
    s:send "abc\n"
    assert.equal("cba", s:receive())
    s:close()
    ngx.socket.trusted_certificate = files.ca
    s = connect()
    assert.is_true(s:sslhandshake(nil, "localhost", true))
    s:close()
    ngx.socket.trusted_certificate = nil
  end)
end)

describe("lunats.ngx", function()
  it("has what drivers ask for", function()
    assert.equal(table.unpack, unpack) -- luacheck: ignore 113
    local list = { 1, 2, a = 3 }
    require "table.clear"(list)
    assert.same({}, list)
    local bit = require "bit"
    assert.same({ -1, 1, -2147483648, 2147483647, -1 },
      { bit.bnot(0), bit.rshift(-1, 31), bit.lshift(1, 31), bit.rshift(-1, 1),
        bit.arshift(-2, 1) })
    assert.same({ 0x78563412, 0x34567812, 0x78123456 },
      { bit.bswap(0x12345678), bit.rol(0x12345678, 8), bit.ror(0x12345678, 8) })
    assert.same({ "ffffffff", "0F", "8" },
      { bit.tohex(-1), bit.tohex(15, -2), bit.tohex(0x18, 1) })
    assert.equal(7, bit.bor(1, 2, 4))
    assert.same({ "a%20%26%C3%A4", "a &\u{E4}" },
      { ngx.escape_uri "a &\u{E4}", ngx.unescape_uri "a+%26%c3%a4" })
    assert.same({ "YQ==", "YQ", "a" },
      { ngx.encode_base64 "a", ngx.encode_base64("a", true), ngx.decode_base64 "YQ" })
    assert.equal("900150983cd24fb0d6963f7d28e17f72", ngx.md5 "abc")
    assert.equal("qZk+NkcGgWq6PiVxeFDCbJzQ2J0=", ngx.encode_base64(ngx.sha1_bin "abc"))
    assert.equal("3nybhbi3iqa8ino29wqQcBydtNk=",
      ngx.encode_base64(ngx.hmac_sha1("key", "The quick brown fox jumps over the lazy dog")))
  end)

  it("finds the drivers in a service, which closes their connections when it ends", function()
    local server = servers.redis()
    local svc = testing.start(([[
      require "lunats.ngx"
      local redis = require "nginx.redis"
      app.listen("ngx.get", function(msg)
        local red = redis:new()
        assert(red:connect("127.0.0.1", %d))
        red:set("key", msg.data)
        local value = red:get "key"
        red:set_keepalive(60000, 10)
        return { value = value }
      end)
    ]]):format(server.port))
    assert.equal("ada", svc:request("ngx.get", '"ada"').data.value)
    assert.equal("bob", svc:request("ngx.get", '"bob"').data.value)
    svc:stop()
  end)

  it("is not there with --libs safe", function()
    testing.errors(function()
      local ok, err = pcall(testing.start, "require 'lunats.ngx'", { libs = "safe" })
      assert.is_false(ok)
      assert.matches("no modules of lunats with %-%-libs safe", tostring(err))
    end)
  end)
end)
