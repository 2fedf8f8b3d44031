-- lunats sub, as a person or a shell script uses it.
local process = require "spec.support.process"
local testing = require "lunats.testing"

after_each(process.close_all)

local function sub(...)
  local child = process.spawn { process.lunats(), "sub", "-s", testing.server_url(), ... }
  child:expect "listening to "
  return child
end

---What it has printed, without the line that says that it listens.
local function printed(child) return (child:output():gsub("^listening to [^\n]*\n", "")) end

describe("lunats sub", function()
  it("prints subject, headers and body of each message as it comes, until Ctrl-C", function()
    local child = sub "sub.>"
    app.publish("sub.a", { id = 1 })
    child:expect 'sub%.a {"id":1}\n'
    app.publish("sub.b.c", "text", { headers = { Trace = "t1", A = { "1", "2" } } })
    app.publish("other", "not for us")
    app.publish("sub.empty")
    child:expect "sub%.empty\n"
    child:signal "INT"
    assert.equal(130, child:wait())
    assert.equal('sub.a {"id":1}\nsub.b.c (A: 1, A: 2, Trace: t1) text\nsub.empty\n',
      printed(child))
  end)

  it("shows on a terminal what this would obey, and writes it as it came to a file", function()
    local child = process.spawn { "script", "-qec", ("%s sub -s %s sub.bytes --count 4"):format(
      process.lunats(), testing.server_url()), "/dev/null" }
    local plain = sub("sub.bytes", "--count", "4")
    child:expect "listening to "
    local bodies = { "\27]0;title\7", "a\u{9b}2J\r", "\u{202e}b\tc", "\x9b2J" }
    for _, body in ipairs(bodies) do app.publish("sub.bytes", body) end
    assert.equal(0, child:wait())
    assert.equal(0, plain:wait())
    local shown = printed(child):gsub("\r\n", "\n")
    assert.equal("sub.bytes \\x1b]0;title\\x07\nsub.bytes a\\u009b2J\\x0d\n"
      .. "sub.bytes \\u202eb\tc\nsub.bytes \\x9b2J\n", shown)
    for i, body in ipairs(bodies) do bodies[i] = "sub.bytes " .. body .. "\n" end
    assert.equal(table.concat(bodies), printed(plain))
  end)

  it("prints lines of JSON with their fields in a stable order", function()
    local child = sub("sub.*", "--json", "--count", "3")
    app.publish("sub.a", '{"z":1,\n"a":[]}', { headers = { B = "2", A = "1" },
      reply_to = "reply.here" })
    app.publish("sub.b", "\255")
    app.publish("sub.c", "text", { headers = { Bytes = "\255" } })
    assert.equal(0, child:wait())
    assert.equal('{"subject":"sub.a","reply_to":"reply.here","headers":{"A":"1","B":"2"},'
      .. '"data":{"z":1,"a":[]}}\n{"subject":"sub.b","headers":{},"base64":"/w=="}\n'
      .. '{"subject":"sub.c","headers":{"Bytes":"\u{fffd}"},"data":"text"}\n', printed(child))
  end)

  it("ends after --count messages, those that come at once included", function()
    local child = sub("sub.n", "sub.m", "--count", "2")
    for i = 1, 5 do app.publish(i == 1 and "sub.m" or "sub.n", tostring(i)) end
    assert.equal(0, child:wait())
    assert.equal("sub.m 1\nsub.n 2\n", printed(child))
  end)

  it("ends after --timeout, with 1 if --count messages have not come", function()
    local child = sub("sub.none", "--timeout", "0.1")
    assert.equal(0, child:wait())
    assert.equal("", printed(child))
    child = sub("sub.none", "--timeout", "0.1", "--count", "1")
    assert.equal(1, child:wait())
    assert.equal("lunats sub: 0 of 1 message came within 0.1 s\n", printed(child))
  end)

  it("takes no message from a service, and answers nobody", function()
    local svc = testing.start [[app.listen("sub.service", function() return "answer" end)]]
    finally(function() svc:stop() end)
    local child = sub("sub.service", "--count", "2")
    for _ = 1, 2 do assert.equal("answer", assert(svc:request("sub.service", "x")).raw) end
    assert.equal(0, child:wait())
  end)

  it("goes on after an outage of the server", function()
    local server = process.server()
    local child = process.spawn { process.lunats(), "sub", "-s", server.url, "sub.x" }
    child:expect "listening to "
    server:stop()
    child:expect "connection lost"
    server = process.server { port = server.port }
    child:expect "connected again"
    assert.equal(0, (process.lunats_to_end { "pub", "-s", server.url, "sub.x", "hello" }))
    child:expect "sub%.x hello\n"
    assert.equal(143, child:stop())
  end)

  it("ends when nobody reads its output any more, as other programs do", function()
    local status = process.path "status"
    local child = process.spawn { "sh", "-c", ("{ %s sub -s %s sub.x; echo $? >%s; } | head -1")
      :format(process.lunats(), testing.server_url(), status) }
    child:expect "listening to "
    app.publish("sub.x", "first")
    child:expect "sub%.x first\n"
    while not child:status() do
      app.publish("sub.x", "next")
      app.sleep(0.02)
    end
    local file <close> = assert(io.open(status))
    assert.equal("141\n", file:read "a")
  end)

  it("says when it cannot write", function()
    local child = process.spawn { "sh", "-c", ("exec %s sub -s %s sub.x >/dev/full"):format(
      process.lunats(), testing.server_url()) }
    child:expect "listening to "
    app.publish("sub.x", "first")
    assert.equal(1, child:wait())
    child:expect "cannot write to the standard output: No space left on device"
  end)

  it("ends with 1 when the server does not permit the subject", function()
    local config = process.write("server.conf", [[
      authorization { users = [ { user: u, password: p, permissions: { subscribe: "ok.>" } } ] }
    ]])
    local server = process.server { args = { "-c", config } }
    local status, output = process.lunats_to_end { "sub", "-s",
      ("nats://u:p@127.0.0.1:%d"):format(server.port), "not.ok" }
    assert.equal(1, status)
    assert.matches('[Pp]ermissions [Vv]iolation for [Ss]ubscription to "not%.ok"', output)
  end)

  it("explains mistakes", function()
    local status, output = process.lunats_to_end { "sub" }
    assert.equal(2, status)
    assert.matches("no SUBJECT given: lunats sub", output)
    status, output = process.lunats_to_end { "sub", "-s", testing.server_url(), "a..b" }
    assert.equal(2, status)
    assert.matches("^lunats sub: invalid subject 'a%.%.b'", output)
  end)
end)
