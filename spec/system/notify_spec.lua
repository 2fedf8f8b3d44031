-- What systemd, or another manager that sets NOTIFY_SOCKET, is told: over a real socket.
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

---A subject of its own for each test.
local function subject() return "spec.notify." .. core.new_inbox():sub(-6) end

local manager = {}
manager.__index = manager

---@param name string|nil  of an abstract socket; else it is a file
function manager.start(name)
  local self = setmetatable({ socket = name or process.path "sock" }, manager)
  self.child = process.spawn { "python3", "spec/support/manager.py", self.socket }
  self.child:expect "listens"
  return self
end

---What it was told so far, but for STATUS and WATCHDOG unless these are asked for.
---@return { ms: integer, pid: integer, text: string }[]
function manager:told(pattern)
  local list = {}
  for ms, pid, text in self.child:output():gmatch "(%d+) (%d+) ([^\n]+)\n" do
    local wanted = pattern and text:find(pattern)
      or not pattern and not text:find "^STATUS" and not text:find "^WATCHDOG"
    if wanted then
      list[#list + 1] = { ms = tonumber(ms), pid = tonumber(pid), text = text }
    end
  end
  return list
end

function manager:expect(pattern) return self.child:expect("%d+ %d+ (" .. pattern .. ")\n") end

---Waits for the end of a reload.
function manager:expect_end()
  eventually("the end of the reload", function()
    local told = self:told() -- once: it may be told more at any time
    return #told > 2 and told[#told].text == "READY=1"
  end)
end

---Waits for that many phases, and returns them in one string.
function manager:phases(count)
  local list = eventually(count .. " phases", function()
    local told = self:told()
    return #told >= count and told
  end)
  local texts = {}
  for i, one in ipairs(list) do
    texts[i] = one.text:gsub("MONOTONIC_USEC=%d+", "MONOTONIC_USEC=N")
      :gsub("EXTEND_TIMEOUT_USEC=%d+", "EXTEND_TIMEOUT_USEC=N")
  end
  return texts
end

local function run(self, source, options, opts)
  opts = opts or {}
  opts.env = opts.env or {}
  opts.env.NOTIFY_SOCKET = self.socket
  return process.run(source, options, opts)
end

local STOPPING = "STOPPING=1 | STATUS=stops | EXTEND_TIMEOUT_USEC=N"

describe("who has started lunats", function()
  after_each(process.close_all)

  it("is told that it is ready, once all services serve, and that it stops", function()
    local name, boss = subject(), manager.start()
    local child = run(boss, ([[
      app.config { name = "slow" }
      app.on_start(function() app.sleep(0.3); print "hook over" end)
      app.listen(%q, function() return 1 end)
    ]]):format(name), { "--drain-timeout", "5" })
    boss:expect "STATUS=slow: its on_start hooks run"
    boss:expect "READY=1"
    assert.truthy(child:output():find("hook over", 1, true))
    assert.equal(1, assert(app.request(name, "")).data)
    boss:expect "STATUS=serves slow"
    assert.equal(0, child:stop())
    assert.same({ "READY=1", STOPPING }, boss:phases(2))
    assert.equal(tonumber(child.pid), boss:told()[1].pid)
    assert.equal(15, tonumber(boss:expect "STOPPING[^\n]*":match "(%d+)000000$"))
  end)

  it("may name an abstract socket", function()
    local boss = manager.start("@lunats-spec-" .. core.new_inbox():sub(-8))
    run(boss, "app.task(function() app.sleep(60) end)")
    boss:expect "READY=1"
  end)

  it("waits as long as there is no server", function()
    local boss, gone = manager.start(), process.server()
    gone:signal "KILL"
    gone:wait()
    run(boss, 'app.listen("a", function() end)', { "--retry" }, { servers = { gone.url } })
    boss:expect "STATUS=svc: has no connection to NATS yet"
    local server = process.server { port = gone.port }
    boss:expect "READY=1"
    boss:expect "STATUS=serves svc"
    server:signal "KILL"
    boss:expect "STATUS=svc: the connection to NATS is lost; it is tried again"
    process.server { port = gone.port }
    eventually("the status of a connection", function()
      return #boss:told "^STATUS=serves svc$" == 2
    end)
    assert.same({ "READY=1" }, boss:phases(1))
  end)

  it("is told of a reload: when it began, and that it is over", function()
    local boss = manager.start()
    local child = run(boss, 'app.listen("a", function() end)')
    boss:expect "READY=1"
    local before = core.hrtime()
    child:signal "HUP"
    assert.same({ "READY=1", "RELOADING=1 | MONOTONIC_USEC=N" },
      { table.unpack(boss:phases(2), 1, 2) })
    boss:expect_end()
    local began = tonumber(boss:told()[2].text:match "USEC=(%d+)") / 1e6
    assert.is_true(began >= before and began <= core.hrtime())
  end)

  it("is told when a reload has failed, and the version before goes on", function()
    local boss = manager.start()
    local child = run(boss, 'app.listen("a", function() end)')
    boss:expect "READY=1"
    write(child.command[#child.command], "this is no Lua")
    child:signal "HUP"
    boss:expect "STATUS=svc: the last reload failed, the version before runs"
    boss:expect_end()
    assert.equal(0, child:stop())
  end)

  it("gets the sign of life of the loop: none while a script holds it", function()
    local name, boss = subject(), manager.start()
    run(boss, ([[
      app.listen(%q, function()
        local began = os.time()
        while os.time() < began + 2 do end
        return 2
      end)
    ]]):format(name), { "--slice", "off" }, { env = { WATCHDOG_USEC = "200000" } })
    boss:expect "READY=1"
    eventually("signs of life", function() return #boss:told "^WATCHDOG=1$" >= 3 end)
    assert.equal(2, assert(app.request(name, "", { timeout = 20 })).data)
    local before = #boss:told "^WATCHDOG=1$"
    eventually("signs of life again", function()
      return #boss:told "^WATCHDOG=1$" > before
    end)
    local signs, longest = boss:told "^WATCHDOG=1$", 0
    for i = 2, #signs do longest = math.max(longest, signs[i].ms - signs[i - 1].ms) end
    assert.is_true(longest >= 900, longest)
  end)

  it("does not get it when it asks another process for it", function()
    local boss = manager.start()
    local child = run(boss, 'app.listen("a", function() end)', {},
      { env = { WATCHDOG_USEC = "2000", WATCHDOG_PID = "1" } })
    boss:expect "READY=1"
    assert.equal(0, child:stop())
    boss:expect "STOPPING[^\n]*"
    assert.same({}, boss:told "^WATCHDOG")
  end)

  it("is no matter of what the services start", function()
    local boss = manager.start()
    local child = run(boss, [[
      print("socket", os.getenv "NOTIFY_SOCKET", os.getenv "WATCHDOG_USEC")
      app.listen("a", function() end)
    ]], {}, { env = { WATCHDOG_USEC = "30000000" } })
    child:expect "socket\tnil\tnil"
  end)

  it("may have gone, or be none at all: the services serve", function()
    for path, reason in pairs { ["/nowhere/socket"] = "no such file or directory",
      ["vsock:2:1"] = "it has to be a path or @NAME" } do
      local name = subject()
      local child = process.run(
        ("app.listen(%q, function() return 1 end)"):format(name), {},
        { env = { NOTIFY_SOCKET = path } })
      child:expect "started, connected"
      assert.equal(1, assert(app.request(name, "")).data)
      assert.truthy(child:output():find("WARN  NOTIFY_SOCKET.*: " .. reason))
      assert.equal(1, child:count "NOTIFY_SOCKET")
      assert.equal(0, child:stop())
    end
  end)

  it("is told of the end when a service ends itself", function()
    local boss = manager.start()
    local child = run(boss, "app.task(function() app.sleep(0.1); os.exit(7) end)")
    assert.equal(7, child:wait())
    assert.same({ "READY=1", STOPPING }, boss:phases(2))
  end)
end)
