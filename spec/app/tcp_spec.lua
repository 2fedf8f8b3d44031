-- app.tcp: sockets in the manner of fibers.
local eventually = require "spec.support.eventually"
local peer = require "spec.support.peer"
local process = require "spec.support.process"
local testing = require "lunats.testing"

---A deadline for slow machines, not a duration.
local PATIENT = { timeout = 20 }

local function connect(port, opts)
  return assert(app.tcp.connect("127.0.0.1", port, opts or PATIENT))
end

describe("a socket of app.tcp", function()
  local port
  before_each(function() port = peer() end)
  after_each(process.close_all)

  it("reads lines, numbers of bytes, up to a delimiter, and what there is", function()
    local s <close> = connect(port)
    assert.is_true(s:write "send one\\r\\ntwo\\n\\n12345--six--rest\n")
    assert.equal("one", s:read "line")
    assert.equal("two", s:read "line")
    assert.equal("", s:read "line")
    assert.equal("", s:read(0))
    assert.equal("12345", s:read(5))
    assert.equal("", s:read("until", "--"))
    assert.equal("six", s:read("until", "--"))
    assert.equal("re", s:read("some", 2))
    assert.equal("st", s:read "some")
    s:write "many 1000000\n"
    assert.equal(("x"):rep(1000000), s:read(1000000))
    assert.equal(0, s:buffered())
  end)

  it("loses nothing when a call is late", function()
    local s <close> = connect(port)
    s:settimeout(0.02)
    s:write "send half a li\nsleep 0.2\nsend ne\\n\n"
    local line, err
    local late = 0
    eventually("the line", function()
      line, err = s:read "line"
      if not line then
        late = late + 1
        assert.equal("timeout", err.code)
        assert.equal("timed out", err.detail)
        assert.equal(("reading from 127.0.0.1:%d: timed out"):format(port), tostring(err))
      end
      return line
    end)
    assert.equal("half a line", line)
    assert.is_true(late > 0)
  end)

  it("gives what came before the end, and then says that it is over", function()
    local s <close> = connect(port)
    s:write "send abc\nclose\n"
    local all, err = s:read(4)
    assert.is_nil(all)
    assert.equal("closed", err.code)
    assert.equal("the other side has closed the connection", err.detail)
    assert.equal("abc", s:read "some")
    all, err = s:read "some"
    assert.is_nil(all)
    assert.equal("closed", err.code)
  end)

  it("tells a connection that was broken off", function()
    local s <close> = connect(port)
    s:write "reset\n"
    local all, err = s:read "line"
    assert.is_nil(all)
    assert.equal("closed", err.code)
    assert.equal("connection reset by peer", err.detail)
    eventually("writing to fail", function()
      local ok
      ok, err = s:write "x"
      return not ok
    end)
    assert.equal("closed", err.code)
    assert.equal(0, err.written)
  end)

  it("writes as much as the other side takes, and tells how much that was", function()
    local s <close> = connect(port)
    s:write "sleep 1000\n"
    s:settimeout(0.05)
    local ok, err = s:write(("x"):rep(32e6))
    assert.is_nil(ok)
    assert.equal("timeout", err.code)
    assert.is_true(err.written > 0 and err.written < 32e6, err.written)

    local t <close> = connect(port)
    assert.is_true(t:write("count\n"))
    for _ = 1, 10 do assert.is_true(t:write(("x"):rep(1e6))) end
    t:shutdown()
    ok, err = t:write "more"
    assert.is_nil(ok)
    assert.equal("closed", err.code)
    assert.equal("10000000", t:read "line")
  end)

  it("sends what was written before it is closed", function()
    local path = process.path "sock"
    peer(path)
    local s = assert(app.tcp.connect("unix:" .. path, PATIENT))
    s:write "sleep 0.1\nmany 10\ncount\n"
    assert(s:write(("x"):rep(5e5)))
    assert.equal("xxxxxxxxxx", s:read(10))
    s:close()
    s:close()
    assert.equal(("socket (%s, closed)"):format(path), tostring(s))
    local line, err = s:read "line"
    assert.is_nil(line)
    assert.equal("closed", err.code)
  end)

  it("reads no more than somebody wants", function()
    local s <close> = connect(port)
    s:write "many 50000000\n"
    assert.equal("x", s:read(1))
    local seen
    eventually("it to be full", function()
      local before = seen
      seen = s:buffered()
      return seen == before and seen >= 65535
    end)
    assert.is_true(seen < 3 * 65536, seen)
    assert.equal(3e6, #s:read(3e6))
  end)

  it("bounds a line", function()
    local s <close> = connect(port)
    s:write "many 1100000\nsend \\nnext\\n\n"
    local line, err = s:read "line"
    assert.is_nil(line)
    assert.equal("too_large", err.code)
    assert.equal("the line is longer than 1 MiB", err.detail)
    assert.equal(1100000, #s:read(1100000))
    assert.equal("", s:read "line")
    assert.equal("next", s:read "line")
  end)

  it("has room for one that reads and one that writes", function()
    local s <close> = connect(port)
    local reader = app.spawn(function() return s:read "line" end)
    app.sleep(0)
    assert.error_matches(function() s:read(1) end,
      "^socket:read: another fiber reads from this socket already$")
    assert.error_matches(function() s:keep() end,
      "another fiber reads from this socket already$")
    s:write "send hello\\n\n"
    assert.equal("hello", reader:await())
    reader = app.spawn(function()
      local line, err = s:read "line"
      return line, err.code
    end)
    app.sleep(0)
    s:close()
    assert.same({ nil, "closed" }, { reader:await() })
  end)

  it("ends a call with its fiber", function()
    local s <close> = connect(port)
    local reader = app.spawn(function() return s:read "line" end)
    app.sleep(0)
    reader:cancel()
    reader:await()
    s:write "send still there\\n\n"
    assert.equal("still there", s:read "line")
    local dialler = app.spawn(function() return connect(port) end)
    dialler:cancel() -- clean_loop looks whether something is left
    local _, err = dialler:await()
    assert.equal("cancelled", err.code)
  end)

  it("says why there is no connection", function()
    local s, err = app.tcp.connect("127.0.0.1", 1, PATIENT)
    assert.is_nil(s)
    assert.equal("refused", err.code)
    assert.equal("cannot connect to 127.0.0.1:1: connection refused", err.message)
    s, err = app.tcp.connect("name.invalid", 1, PATIENT)
    assert.is_nil(s)
    assert.equal("unknown_host", err.code)
    s, err = app.tcp.connect("unix:/nowhere/socket")
    assert.is_nil(s)
    assert.equal("refused", err.code)
    assert.equal("cannot connect to /nowhere/socket: no such file or directory", err.message)
    -- 192.0.2.0/24 is for documentation; where it cannot be reached, that is told at once.
    s, err = app.tcp.connect("192.0.2.1", 9, { timeout = 0.05 })
    assert.is_nil(s)
    assert.is_truthy(({ timeout = true, unreachable = true, refused = true })[err.code])
  end)

  it("tries all addresses of a name", function()
    local s <close> = assert(app.tcp.connect("localhost", port, PATIENT)) -- ::1 comes first
    s:write "send here\\n\n"
    assert.equal("here", s:read "line")
  end)

  it("refuses what cannot be meant", function()
    for _, case in ipairs {
      { "the host must be a string, not a nil$" },
      { "the port must be an integer from 1 to 65535$", "localhost", 0 },
      { "the host must not be empty, or hold zero bytes$", "a\0b", 1 },
      { "a Unix socket has no port$", "unix:/x", 1 },
      { "unknown option 'timeuot'.*timeout", "localhost", 1, { timeuot = 1 } },
      { "tls: unknown option 'certificate'", "localhost", 1, { tls = { certificate = "x" } } },
      { "cert and key belong together$", "localhost", 1, { tls = { cert = "x" } } },
    } do
      assert.error_matches(function()
        app.tcp.connect(table.unpack(case, 2, 4))
      end, "app.tcp.connect: ?.*" .. case[1])
    end
    local s <close> = connect(port)
    assert.error_matches(function() s:read(-1) end,
      "a number of bytes, .* is expected, not %-1$")
    assert.error_matches(function() s:read "word" end, "invalid option 'word'")
    assert.error_matches(function() s:read("until", "") end, "1 to 1024 bytes expected")
    assert.error_matches(function() s:settimeout "soon" end, "must be a number of seconds")
  end)

  it("ends with its service", function()
    local svc = testing.start(([[
      function connect() return assert(app.tcp.connect("127.0.0.1", %d)) end
      kept = {}
      app.on_start(function()
        kept[1] = connect()
        connect():keep()
        app.spawn(function() connect():read "line" end)
      end)
      app.listen("tcp.hello", { data_type = "string" }, function()
        kept[1]:write "send from the other side\\n\n"
        return kept[1]:read "line"
      end)
    ]]):format(port))
    assert.equal("from the other side", svc:request("tcp.hello", "").raw)
    svc:reload()
    assert.equal("from the other side", svc:request("tcp.hello", "").raw)
    svc:stop()
  end)

  it("is none of the top level, and none of --libs safe", function()
    local svc = testing.start([[
      app.listen("tcp.safe", function()
        return select(2, pcall(function() return app.tcp end))
      end)
    ]], { libs = "safe" })
    assert.equal("app.tcp is not available with --libs safe", svc:request("tcp.safe", "").raw)
    svc:stop()
    testing.errors(function()
      local ok, err = pcall(testing.start, "app.tcp.connect('127.0.0.1', 1)")
      assert.is_false(ok)
      assert.matches("app.tcp.connect cannot wait at the top level of a script", tostring(err))
    end)
  end)
end)

describe("the pool of app.tcp", function()
  local port
  before_each(function() port = peer() end)
  after_each(process.close_all)

  local function pid_of(s)
    s:write "pid\n"
    return s:read "line"
  end

  it("has connections ready that were kept", function()
    local s = connect(port)
    assert.equal(0, s:reused())
    local pid = pid_of(s)
    assert.is_true(s:keep())
    local line, err = s:read "line"
    assert.is_nil(line)
    assert.equal("closed", err.code)

    local other <close> = connect(port, { timeout = 20, pool = "others" })
    assert.not_equal(pid, pid_of(other))
    local again <close> = connect(port)
    assert.equal(1, again:reused())
    assert.equal(pid, pid_of(again))
    again:close()
    local fresh <close> = connect(port)
    assert.equal(0, fresh:reused())
    assert.not_equal(pid, pid_of(fresh))
  end)

  it("keeps none that waits for something, or is of no use", function()
    local s = connect(port)
    s:write "send unread\\n\nsend more\n"
    s:read(1)
    local ok, err = s:keep()
    assert.is_nil(ok)
    assert.equal("busy", err.code)
    s = connect(port)
    s:close()
    ok, err = s:keep()
    assert.is_nil(ok)
    assert.equal("closed", err.code)
    -- The other side leaves while nobody looks.
    s = connect(port)
    s:write "sleep 0.05\nclose\n"
    s:keep()
    local pid
    eventually("it to be gone", function()
      local t <close> = connect(port)
      pid = t:reused()
      return pid == 0
    end)
  end)

  it("has bounds in number and time", function()
    local all = {}
    for i = 1, 3 do all[i] = connect(port) end
    local pids = {}
    for i = 1, 3 do
      pids[i] = pid_of(all[i])
      all[i]:keep(60, 2)
    end
    local first <close> = connect(port)
    local second <close> = connect(port)
    local third <close> = connect(port)
    assert.same({ pids[3], pids[2] }, { pid_of(first), pid_of(second) })
    assert.equal(0, third:reused())
    first:keep(0.02)
    app.sleep(0.05) -- of the same clock
    local fourth <close> = connect(port)
    assert.equal(0, fourth:reused())
  end)
end)

describe("TLS of app.tcp", function()
  local files, port, child
  before_each(function() files = testing.certificates() end)
  after_each(process.close_all)

  ---A server that turns each line around.
  local function start(...)
    child = process.spawn { "openssl", "s_server", "-accept", "127.0.0.1:0", "-rev", "-cert",
      files.folder .. "/server.pem", "-key", files.folder .. "/server.key", ... }
    port = tonumber(child:expect "ACCEPT [%d.]*:(%d+)")
  end

  local function tls(opts, host)
    return app.tcp.connect(host or "127.0.0.1", port, { timeout = 20, tls = opts })
  end

  local function turns(s)
    assert(s:write "hello\n")
    assert.equal("olleh", s:read "line")
    local much = ("abcdefgh"):rep(1500)
    for _ = 1, 20 do assert(s:write(much .. "\n")) end
    for _ = 1, 20 do assert.equal(much:reverse(), s:read "line") end
  end

  it("proves who the other side is", function()
    start()
    for _, host in ipairs { "127.0.0.1", "localhost" } do -- it serves one after the other
      local s <close> = assert(tls({ ca = files.ca }, host))
      turns(s)
    end
    local none, err = tls(true)
    assert.is_nil(none)
    assert.equal("tls", err.code)
    assert.matches("unable to get local issuer certificate", err.detail)
    none, err = tls { ca = files.ca, server_name = "example.org" }
    assert.is_nil(none)
    assert.equal("tls", err.code)
    assert.matches("mismatch", err.detail)
    local s <close> = assert(tls { verify = false })
    turns(s)
    s:close()
    none, err = tls { ca = "/nowhere/ca.pem" }
    assert.is_nil(none)
    assert.equal("tls", err.code)
    assert.matches("cannot read /nowhere/ca.pem", err.detail)
  end)

  it("shows a certificate", function()
    start("-Verify", "1", "-verify_return_error", "-CAfile", files.ca)
    local s <close> = assert(tls { ca = files.ca, cert = files.cert, key = files.key })
    turns(s)
  end)

  it("begins in the middle of a connection, and is in the pool", function()
    start()
    local s = connect(port)
    assert.is_true(s:starttls { ca = files.ca })
    turns(s)
    assert(s:keep())
    local t <close> = connect(port)
    assert.equal(1, t:reused())
    local other, why = t:starttls { ca = files.ca, server_name = "localhost" }
    assert.is_nil(other)
    assert.equal("it has begun with other options", why.detail)
    assert.is_true(t:starttls { ca = files.ca })
    turns(t)
    local plain <close> = connect(peer())
    plain:settimeout(0.2)
    local ok, err = plain:starttls { ca = files.ca }
    assert.is_nil(ok)
    assert.is_truthy(err.code == "timeout" or err.code == "tls", err.code)
    ok, err = plain:read(1)
    assert.is_nil(ok)
    assert.equal("closed", err.code)
  end)

  it("reads what comes in pieces, and its end", function()
    start()
    local s <close> = assert(tls { ca = files.ca })
    s:write "abc\n"
    assert.equal("c", s:read(1))
    assert.equal("ba", s:read(2))
    s:shutdown()
    eventually("its end", function()
      local bytes, err = s:read "some"
      return not bytes and err.code == "closed"
    end)
  end)
end)
