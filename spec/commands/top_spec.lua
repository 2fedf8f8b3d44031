-- lunats top, as a person sees it.
local process = require "spec.support.process"
local terminal = require "spec.support.terminal"
local testing = require "lunats.testing"

local LEFT = "\27%[%?25h\27%[%?1049l" -- the cursor, and the screen of before

local svc, idle

setup(function()
  svc = testing.start [[
    app.config { name = "busy", version = "1.0.0" }
    app.listen("top.work", function(msg)
      if msg.raw == "bad" then return nil, { code = 400, message = "bad" } end
      return 1
    end)
    app.listen("top.other", function() return 1 end)
  ]]
  idle = testing.start [[
    app.config { name = "aaa_idle", version = "1.0.0" }
    app.listen("top.idle", function() return 1 end)
  ]]
end)
teardown(function()
  svc:stop()
  idle:stop()
end)
after_each(process.close_all)

local function top(size, ...)
  return terminal.open({ "top", "-s", testing.server_url(), "--interval", "0.2", ... }, size)
end

---Asks until the terminal shows what is meant to come of it.
local function ask_until(term, pattern, body)
  local from = #term:output()
  repeat
    svc:request("top.work", body or "x")
    app.sleep(0.01)
  until term:output():find(pattern, from)
end

describe("lunats top", function()
  it("shows what services do a second, in the order that a key asks for", function()
    local term = top "cols 100 rows 24"
    term:latest "REQUESTS/S.*\naaa_idle .*\nbusy "
    term:type "r"
    ask_until(term, "by requests.*\nbusy +%w+ +1%.0%.0 +[1-9][%d.]* +0%.0 +[%d.]+ [nµm]*s "
      .. ".*\naaa_idle +%w+ +1%.0%.0 +0%.0 ")
    term:type "e"
    ask_until(term, "by errors.*\nbusy +%w+ +1%.0%.0 +%S+ +[1-9][%d.]* ", "bad")
    term:type "n"
    term:latest "by name.*\naaa_idle .*\nbusy "
    term:type "q"
    assert.same({ 0, true }, { term:wait() })
    assert.matches(LEFT, term:output())
  end)

  it("shows endpoints instead", function()
    local term = top "cols 120 rows 24"
    term:latest "busy "
    term:type "v"
    term:latest "ENDPOINT .*busy/%w+ +top_work +top%.work .*busy/%w+ +top_other "
    term:type "v"
    term:latest " ID .*busy "
    term:type "q"
    assert.equal(0, (term:wait()))
  end)

  it("pauses and goes on", function()
    local term = top()
    term:latest "busy "
    term:type "p"
    term:latest "PAUSED"
    local total = term:output():match ".*\nbusy[^\r]- (%d+) +%d+s"
    assert(svc:request("top.work", "x"))
    term:type "v"
    term:latest "PAUSED.*ENDPOINT"
    term:type "v"
    assert.equal(total, term:latest "\nbusy[^\r]- (%d+) +%d+s")
    term:type " "
    term:latest(("\nbusy[^\r]- %d +%%d+s"):format(total + 1))
    term:type "q"
    assert.equal(0, (term:wait()))
  end)

  it("shows one service only", function()
    local term = top(nil, "busy")
    term:latest "1 instance .*\nbusy "
    assert.is_nil(term:output():find "aaa_idle")
    term:type "q"
    term:wait()
  end)

  it("fits another size as soon as the terminal has it", function()
    local term = top "cols 100 rows 24"
    term:latest "REQUESTS/S +ERRORS/S +TIME +TOTAL +UP"
    term:resize "cols 40 rows 4"
    local drawn = term:latest "\27%[H(lunats top[^\27]*\27%[K\r\n[^\27]*…\27%[K.-and 2 more)"
    drawn = drawn:gsub("\27%[H", "\r\n"):gsub("\27%[%d*%a", "") .. "\r\n"
    for line in drawn:gmatch "(.-)\r\n" do
      assert.is_true(utf8.len(line) <= 40, line)
    end
    term:type "q"
    assert.equal(0, (term:wait()))
  end)

  for name, status in pairs { TERM = 143, INT = 130, HUP = 129, QUIT = 131, ABRT = 134 } do
    it("gives the terminal back when SIG" .. name .. " ends it", function()
      local term = top()
      term:latest "busy "
      term:signal(name)
      assert.same({ status, true }, { term:wait() })
      assert.matches(LEFT, term:output())
    end)
  end

  it("gives the terminal back while it is stopped, and takes it again", function()
    local term = top()
    term:latest "busy "
    term:signal "TSTP"
    term:latest(LEFT)
    term:signal "CONT"
    term:latest "\27%[%?1049h.*busy "
    term:type "q"
    assert.same({ 0, true }, { term:wait() })
  end)

  it("ends with Ctrl-C", function()
    local term = top()
    term:latest "busy "
    term:type "\3"
    assert.same({ 130, true }, { term:wait() })
  end)

  it("says on the screen that the server is gone, and goes on when it is back", function()
    local server = process.server()
    local term = terminal.open { "top", "-s", server.url, "--interval", "0.2" }
    term:latest "no service answers"
    server:stop()
    term:latest "waiting for a server"
    process.server { port = server.port }
    term:latest "no service answers"
    term:type "q"
    assert.equal(0, (term:wait()))
  end)

  it("wants a terminal", function()
    local status, output = process.lunats_to_end { "top", "-s", testing.server_url() }
    assert.equal(2, status)
    assert.matches("draws on a terminal, and there is none; `lunats stats`", output)
  end)
end)
