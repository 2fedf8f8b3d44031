-- What `lunats dev` shows in a terminal when all services run.
local process = require "spec.support.process"
local terminal = require "spec.support.terminal"

describe("lunats dev in a terminal", function()
  after_each(process.close_all)

  local function screen_of(...)
    local window = terminal.open { "dev", ... }
    window:expect "Ctrl%-C ends all"
    local text = window:output()
    window:type "\3"
    window:wait()
    return text
  end

  local function poll()
    return process.write("poll.lua", [[
      app.listen("poll.*", function() end)
      app.listen("poll.vote", function() return {} end)
    ]])
  end

  it("shows services, the server, the page, and what to try", function()
    local many = {}
    for i = 1, 8 do many[i] = ("app.listen('many.%d', print)\n"):format(i) end
    local text = screen_of(poll(), process.write("many.lua", table.concat(many)),
      process.write("idle.lua", "app.timer(60, function() end)"))
    assert.matches("\n  poll +poll%.%*, poll%.vote\r\n", text)
    assert.matches("\n  many +many%.1, [^\n]*many%.6 and 2 more\r\n", text)
    assert.matches("\n  idle +listens to nothing\r\n", text)
    assert.matches("\n  page +http://127%.0%.0%.1:%d+/\r\n", text)
    assert.matches("\n  server +export NATS_URL=nats://lunats:%w+@127%.0%.0%.1:%d+\r\n", text)
    assert.matches("\n  try +lunats request poll%.vote '{}'\r\n", text)
    assert.is_nil(text:find "\n  http ")
    for _, name in ipairs { "poll", "many", "idle" } do -- all of it comes after that
      local started = assert(text:find(name .. ": started", 1, true), text)
      assert.is_true(started < text:find "\n  poll ")
    end
  end)

  it("shows where routes are served", function()
    local text = screen_of(process.write("web.lua", [[
      app.http.get("/x", function() return 1 end)
      app.http.any("/y/:id", function() return 1 end)]]))
    assert.matches("\n  web +[^\n]*GET /x", text)
    assert.matches("\n  web +[^\n]*/y/:id", text)
    assert.matches("\n  http +http://127%.0%.0%.1:%d+/\r\n", text)
    assert.is_nil(text:find "\n  try ")
  end)

  it("shows none of it to a file", function()
    local child = process.spawn { process.lunats(), "dev", poll() }
    child:expect "started, connected"
    child:stop()
    assert.is_nil(child:output():find "export NATS_URL")
  end)
end)
