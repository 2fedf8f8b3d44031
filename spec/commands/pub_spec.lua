-- lunats pub, as a person or a shell script uses it.
local eventually = require "spec.support.eventually"
local lfs = require "lfs"
local process = require "spec.support.process"
local testing = require "lunats.testing"

after_each(process.close_all)

---What comes to a subject while the function runs.
local function received(subject, fn)
  local list = {}
  local handle = app.listen(subject, { data_type = "string", queue = false, concurrency = 1 },
    function(msg) list[#list + 1] = msg end)
  assert(app.flush())
  fn()
  assert(app.flush()) -- the message was with the server before the child ended
  handle:stop()
  return list
end

local function pub(...)
  return process.lunats_to_end { "pub", "-s", testing.server_url(), ... }
end

---How many epoll instances a process has: the one of its loop, and that of its input.
local function epolls(pid)
  local folder, count = ("/proc/%d/fd/"):format(pid), 0
  local list <close> = assert(io.popen("ls " .. folder .. " 2>/dev/null"))
  for fd in list:lines() do
    local target = lfs.symlinkattributes(folder .. fd, "target")
    if target == "anon_inode:[eventpoll]" then count = count + 1 end
  end
  return count
end

describe("lunats pub", function()
  it("publishes a body with headers and says so", function()
    local list = received("pub.one", function()
      local status, output = pub("pub.one", '{"id":1}', "-H", "Trace: t1", "-H", "Empty:")
      assert.same({ 0, "published 1 message of 8 bytes to pub.one\n" }, { status, output })
    end)
    assert.equal(1, #list)
    assert.equal('{"id":1}', list[1].raw)
    assert.same({ Trace = "t1", Empty = "" }, list[1].headers)
    assert.is_nil(list[1].reply_to)
  end)

  it("repeats it --count times", function()
    local list = received("pub.many", function()
      local status, output = pub("pub.many", "x", "--count", "1000", "--json")
      assert.same({ 0, '{"subject":"pub.many","count":1000,"bytes":1}\n' }, { status, output })
    end)
    assert.equal(1000, #list)
  end)

  it("publishes the standard input for -, byte by byte, and nothing without a BODY", function()
    local bytes = ("\0\255\n"):rep(100000)
    local path = process.write("body", bytes)
    local list = received("pub.bytes", function()
      local child = process.spawn { "sh", "-c", ("exec %s pub -s %s pub.bytes - <%s"):format(
        process.lunats(), testing.server_url(), path) }
      assert.equal(0, child:wait())
      assert.equal(0, (pub "pub.bytes"))
    end)
    assert.is_true(list[1].raw == bytes)
    assert.equal("", list[2].raw)
  end)

  it("publishes a body that looks like an option behind --", function()
    local list = received("pub.minus", function()
      assert.equal(0, (pub("pub.minus", "--", "-5")))
    end)
    assert.equal("-5", list[1].raw)
  end)

  it("ends with 130 when it is interrupted while it reads", function()
    local fifo = process.path "fifo"
    assert(os.execute("mkfifo " .. fifo))
    local child = process.spawn { "sh", "-c", ("exec %s pub -s %s x - <>%s"):format(
      process.lunats(), testing.server_url(), fifo) }
    eventually("a child that reads", function() return epolls(child.pid) == 2 end)
    child:signal "INT"
    assert.equal(130, child:wait())
  end)

  it("ends with 1 when the server does not permit it, and says so", function()
    local config = process.write("server.conf", [[
      authorization { users = [ { user: u, password: p, permissions: { publish: "ok.>" } } ] }
    ]])
    local server = process.server { args = { "-c", config } }
    local url = ("nats://u:p@127.0.0.1:%d"):format(server.port)
    local status, output = process.lunats_to_end { "pub", "-s", url, "not.ok", "x" }
    assert.equal(1, status)
    assert.matches('[Pp]ermissions [Vv]iolation for [Pp]ublish to "not%.ok"', output)
    assert.is_nil(output:find "published")
    assert.equal(0, (process.lunats_to_end { "pub", "-s", url, "ok.x", "x" }))
  end)

  it("ends with 1 for what is too large", function()
    local path = process.write("body", ("x"):rep(2000000))
    local child = process.spawn { "sh", "-c", ("exec %s pub -s %s x - <%s"):format(
      process.lunats(), testing.server_url(), path) }
    assert.equal(1, child:wait())
    assert.matches("2000000 bytes are too large", child:output())
  end)

  for _, case in ipairs {
    { { "pub" }, "no SUBJECT given: lunats pub" },
    { { "pub", "a.>", "x" }, "'a%.>' is not a subject without wildcards" },
    { { "pub", "a", "--replies", "2" }, "lunats pub does not take %-%-replies" },
  } do
    it("explains a mistake: " .. table.concat(case[1], " "), function()
      local status, output = process.lunats_to_end(case[1])
      assert.equal(2, status)
      assert.matches(case[2], output)
    end)
  end
end)
