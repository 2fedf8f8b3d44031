-- lunats request, as a person or a shell script uses it.
local process = require "spec.support.process"
local read = require "spec.support.read"
local testing = require "lunats.testing"

local svc

setup(function()
  svc = testing.start [[
    app.listen("ask.greet", function(msg)
      if msg.data == nil or not msg.data.name then
        return nil, { code = 400, message = "who are you?" }
      end
      return { text = "Hello, " .. msg.data.name .. "!" }
    end)
    app.listen("ask.echo", { data_type = "string" }, function(msg)
      msg:respond(msg.raw, { headers = msg.headers })
    end)
    app.listen("ask.silent", function() end)
    for i = 1, 3 do
      app.listen("ask.many", { queue = "q" .. i }, function() return i end)
    end
    local calls = 0
    app.listen("ask.counter", function()
      calls = calls + 1
      return calls
    end)
  ]]
end)
teardown(function() svc:stop() end)
after_each(process.close_all)

---Runs `lunats request` in a shell; returns its status, standard output and standard error.
local function request(arguments, before)
  local out, err = process.path "stdout", process.path "stderr"
  local words = {}
  for i, word in ipairs(arguments) do words[i] = "'" .. word .. "'" end
  local child = process.spawn { "sh", "-c", ("%s exec %s request -s %s %s >%s 2>%s"):format(
    before or "", process.lunats(), testing.server_url(), table.concat(words, " "), out, err) }
  return child:wait(), read(out), read(err)
end

describe("lunats request", function()
  it("prints the body of the reply and nothing else", function()
    local status, out, err = request { "ask.greet", '{"name":"Ada"}' }
    assert.same({ 0, '{"text":"Hello, Ada!"}', "" }, { status, out, err })
  end)

  it("ends the line on a terminal, where it shows control characters", function()
    local child = process.spawn { "script", "-qec", ("%s request -s %s ask.echo %s"):format(
      process.lunats(), testing.server_url(), "'a\27[2Jb'"), "/dev/null" }
    assert.equal(0, child:wait())
    assert.equal("a\\x1b[2Jb\r\n", child:output())
    local listener = app.listen("ask.broken", function()
      return nil, { code = 400, message = "title \27]0;x\7" }
    end)
    finally(function() listener:stop() end)
    assert(app.flush())
    child = process.spawn { "script", "-qec", ("%s request -s %s ask.broken"):format(
      process.lunats(), testing.server_url()), "/dev/null" }
    assert.equal(1, child:wait())
    assert.matches("answered with error 400: title \\x1b%]0;x\\x07\r\n$", child:output())
  end)

  it("prints subject, headers and data as one line of JSON, in this order", function()
    local status, out = request { "ask.echo", '{"b": 1,\n "a": 2}', "--json", "-H", "Z:1",
      "--header", "A: x y ", "-H", "Z:2" }
    assert.equal(0, status)
    assert.equal('{"subject":"ask.echo","headers":{"A":"x y","Z":["1","2"]},'
      .. '"data":{"b": 1, "a": 2}}\n', out)
  end)

  for name, case in pairs {
    ["text as a string"] = { "plain \"text\"", '"data":"plain \\"text\\""' },
    ["nothing as null"] = { "", '"data":null' },
    ["a large number digit by digit"] = { "12345678901234567890",
      '"data":12345678901234567890' },
  } do
    it("shows with --json " .. name, function()
      local _, out = request { "ask.echo", case[1], "--json" }
      assert.equal('{"subject":"ask.echo","headers":{},' .. case[2] .. "}\n", out)
    end)
  end

  it("sends the standard input for -, byte by byte", function()
    local bytes = ("\0\255\r\n'x"):rep(30000)
    local path = process.write("body", bytes)
    local status, out = request({ "ask.echo", "-" }, "exec <" .. path .. ";")
    assert.equal(0, status)
    assert.is_true(bytes == out)
    status, out = request({ "ask.echo", "-", "--json" }, "printf '\\377' |")
    assert.same({ 0, '{"subject":"ask.echo","headers":{},"base64":"/w=="}\n' }, { status, out })
  end)

  it("waits for a slow standard input without holding anything up", function()
    local status, out = request({ "ask.echo", "-" }, "{ printf a; sleep 0.2; printf b; } |")
    assert.same({ 0, "ab" }, { status, out })
  end)

  it("tells an error reply on the standard error and ends with 1", function()
    local status, out, err = request { "ask.greet", "{}" }
    assert.same({ 1, "" }, { status, out })
    assert.equal("lunats request: ask.greet answered with error 400: who are you?\n", err)
    status, out, err = request { "ask.greet", "{}", "--json" }
    assert.same({ 1, "" }, { status, out })
    assert.matches('"headers":{"Nats%-Service%-Error":"who are you%?",'
      .. '"Nats%-Service%-Error%-Code":"400"},"data":null}\n', err)
  end)

  it("says when nobody listens, and what to do", function()
    local status, out, err = request { "ask.nobody" }
    assert.same({ 1, "" }, { status, out })
    assert.matches("nobody listens to ask%.nobody at nats://.*%-%-server URL\n$", err)
    status, out, err = request { "ask.gret" }
    assert.same({ 1, "" }, { status, out })
    assert.matches("nobody listens to ask%.gret .*%(did you mean 'ask%.greet'%?%)\n$", err)
  end)

  it("says when no reply comes in time, and what to do", function()
    local status, _, err = request { "ask.silent", "{}", "--timeout", "0.1" }
    assert.equal(1, status)
    assert.matches("no reply from ask%.silent within 0%.1 s:.*%-%-timeout.*lunats pub", err)
  end)

  it("says what is too large", function()
    local path = process.write("body", ("x"):rep(2000000))
    local status, _, err = request({ "ask.echo", "-" }, "exec <" .. path .. ";")
    assert.equal(1, status)
    assert.matches("2000000 bytes are too large for nats://.*, which takes 1048576", err)
  end)

  it("repeats the request --count times, one reply a line", function()
    local status, out = request { "ask.counter", "--count", "3" }
    assert.same({ 0, "1\n2\n3\n" }, { status, out })
  end)

  it("ends at the first request that fails", function()
    local status, _, err = request { "ask.greet", "{}", "--count", "3" }
    assert.equal(1, status)
    assert.equal(1, select(2, err:gsub("who are you", "")))
  end)

  it("collects --replies of several services", function()
    local status, out = request { "ask.many", "x", "--replies", "3" }
    assert.equal(0, status)
    local list = {}
    for line in out:gmatch "(%d)\n" do list[#list + 1] = line end
    table.sort(list)
    assert.equal("123", table.concat(list))
  end)

  it("is content with fewer --replies when the time is over", function()
    local status, out = request { "ask.many", "x", "--replies", "9", "--timeout", "2" }
    assert.equal(0, status)
    assert.equal(3, select(2, out:gsub("\n", "")))
  end)

  it("ends with 3 without a server", function()
    local server = process.server()
    server:stop()
    local status, output = process.lunats_to_end { "request", "-s", server.url, "x" }
    assert.equal(3, status)
    assert.matches("cannot connect to " .. server.url:gsub("%p", "%%%0"), output)
    assert.is_nil(output:find "embedded")
    assert.matches("another one with %-%-server, as `lunats dev` prints it", output)
  end)

  it("says where user and password stand when the server refuses us", function()
    local server = process.server { args = { "--user", "ada", "--pass", "secret" } }
    local status, output = process.lunats_to_end { "request", "-s", server.url, "x" }
    assert.equal(3, status)
    assert.matches("Authorization Violation.*%-%-user, .* or the whole URL say who", output)
  end)

  it("takes the server from NATS_URL", function()
    local status, output = process.lunats_to_end({ "request", "ask.greet", '{"name":"Ada"}' },
      { env = { NATS_URL = testing.server_url() } })
    assert.same({ 0, '{"text":"Hello, Ada!"}' }, { status, output })
  end)

  for _, case in ipairs {
    { { "request" }, "no SUBJECT given: lunats request" },
    { { "request", "a b" }, "'a b' is not a subject without wildcards" },
    { { "request", "a.*", "x" }, "'a%.%*' is not a subject without wildcards" },
    { { "request", "a", "b", "c" }, "takes one BODY: put it in quotes" },
    { { "request", "a", "-5" }, "unknown option %-5 %(a BODY like that stands behind %-%-%)" },
    { { "request", "a", "-H", "novalue" }, "'novalue' is not a header like Name:value" },
    { { "request", "a", "-H", "a b:c" }, "'a b:c' is not a header like Name:value" },
    { { "request", "a", "--timeout", "0" }, "%-%-timeout must be more than 0" },
    { { "request", "a", "--count", "0" }, "0 is not a whole number" },
  } do
    it("explains a mistake: " .. table.concat(case[1], " "), function()
      local status, output = process.lunats_to_end(case[1])
      assert.equal(2, status)
      assert.matches(case[2], output)
    end)
  end
end)
