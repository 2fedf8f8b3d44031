-- What makes a service reload by itself: files, SIGHUP, the control subject.
local core = require "lunats.core"
local lfs = require "lfs"
local process = require "spec.support.process"
local eventually = require "spec.support.eventually"
local testing = require "lunats.testing"

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

---A service of its own name, so that specs do not share queue groups.
local count = 0
local function names()
  count = count + 1
  return ("trigger_%s_%d"):format(core.new_inbox():sub(-6), count)
end

local function source(name, value)
  return ([[
    app.config { name = %q, version = "%s.0.0" }
    app.listen(%q, function() return %s end)
  ]]):format(name, math.abs(value), name, value)
end

local function run(options, text)
  local path = process.write("svc.lua", text)
  local command = { process.lunats(), "run", "--server", testing.server_url() }
  for _, word in ipairs(options) do command[#command + 1] = word end
  command[#command + 1] = path
  local child = process.spawn(command)
  child:expect "started, connected"
  return child, path
end

local function answer(name)
  local reply = app.request(name, "", { timeout = 5 })
  return reply and reply.data
end

local function becomes(name, value)
  eventually(("the answer %s"):format(value), function() return answer(name) == value end)
end

---That there were so many reloads: the log may tell of the last one behind its first answer.
local function reloaded(child, times)
  eventually("its log", function() return child:count "reloaded" >= times end)
  assert.equal(times, child:count "reloaded")
end

describe("a service with --watch", function()
  after_each(process.close_all)

  it("reloads when its file is written", function()
    local name = names()
    local _, path = run({ "--watch" }, source(name, 1))
    assert.equal(1, answer(name))
    write(path, source(name, 2))
    becomes(name, 2)
  end)

  it("watches no module of the binary, wherever it is started", function()
    local path = process.write("svc.lua", "app.task(function() print(app.js.find_stream) end)")
    local child = process.spawn({ process.lunats(), "dev", path }, { cwd = "/" })
    child:expect "started, connected"
    child:stop()
    assert.equal(0, child:count "cannot watch")
  end)

  it("is not held up by another file of its folder that is written all the time", function()
    local name = names()
    local _, path = run({ "--watch" }, source(name, 1))
    local noisy = true
    app.spawn(function()
      while noisy do
        write(path .. ".log", "noise")
        app.sleep(0.005)
      end
    end)
    finally(function() noisy = false end)
    local short = 0
    for value = 2, 13 do
      local began = core.hrtime()
      write(path, source(name, value))
      becomes(name, value)
      if core.hrtime() - began < 1 then short = short + 1 end
    end
    -- On a busy machine some take longer for other reasons.
    assert.is_true(short >= 4, "a burst lasts a second only if it must")
  end)

  it("loads what is saved at any moment of a reload", function()
    local name = names()
    local begun
    local listener = app.listen(name .. ".begun", function(msg) begun = msg.data end)
    finally(function() listener:stop() end)
    local slow = "app.on_start(function() app.publish('%s.begun', %d) app.sleep(0.05) end)\n"
    local _, path = run({ "--watch" }, source(name, 1))
    for value = 2, 12 do
      write(path, slow:format(name, value) .. source(name, -value))
      eventually("its on_start", function() return begun == value end)
      app.sleep((value - 2) / 100) -- from the begin of on_start to behind its switch
      write(path, source(name, value))
      becomes(name, value)
    end
  end)

  it("reloads when an editor renames a new file over it", function()
    local name = names()
    local _, path = run({ "--watch" }, source(name, 1))
    write(path .. "~", source(name, 2))
    assert(os.rename(path .. "~", path))
    becomes(name, 2)
  end)

  it("reloads when it was edited while it started", function()
    local name = names()
    local go_on
    local gate = app.listen(name .. ".gate", function()
      return eventually("the edits", function() return go_on end)
    end)
    finally(function() gate:stop() end)
    local module = process.write("rates.lua", "return 1\n")
    local text = ([[
      local rate = dofile %q
      app.config { name = %q }
      app.on_start(function() assert(app.request("%s.gate", "", { timeout = 20 })) end)
      app.listen(%q, function() return rate + %%d end)
      io.stderr:write("loaded\n")
    ]]):format(module, name, name, name)
    local path = process.write("svc.lua", text:format(10))
    local child = process.spawn { process.lunats(), "run", "--watch", "--server",
      testing.server_url(), path }
    child:expect "loaded"
    write(module, "return 2\n")
    write(path, text:format(20))
    go_on = true
    becomes(name, 22)
    reloaded(child, 1)
  end)

  it("reloads once for an editor that empties the file before it writes it", function()
    local name = names()
    local child, path = run({ "--watch" }, source(name, 1))
    write(path, "")
    app.sleep(0.2) -- longer than a burst
    write(path, source(name, 2))
    becomes(name, 2)
    write(path, source(name, 3)) -- a second reload for the first change would have come before
    becomes(name, 3)
    reloaded(child, 2)
    assert.equal(0, child:count "reload failed")
  end)

  it("does not reload for a module that it writes itself as it is loaded", function()
    local name = names()
    local module = process.path "made.lua"
    local text = ([[
      local file = assert(io.open(%q, "w"))
      file:write("return " .. app.json.encode(app.now()))
      file:close()
      dofile(%q)
    ]]):format(module, module)
    local child, path = run({ "--watch" }, text .. source(name, 1))
    write(path, text .. source(name, 2))
    becomes(name, 2)
    write(path, text .. source(name, 3))
    becomes(name, 3)
    reloaded(child, 2)
  end)

  it("looks for itself with --watch-poll, which implies --watch", function()
    local name = names()
    local child, path = run({ "--watch-poll", "0.02" }, source(name, 1))
    write(path, source(name, 2))
    becomes(name, 2)
    write(path .. "~", source(name, 3))
    assert(os.rename(path .. "~", path))
    becomes(name, 3)
    reloaded(child, 2)
  end)

  it("goes on with what works through every kind of broken file", function()
    local name = names()
    local child, path = run({ "--watch" }, source(name, 1))
    local good = source(name, 1)
    for i, text in ipairs { "", "   \n", good:sub(1, #good // 2), "error 'top'\n", "\27Lua",
      good .. "\0", "local x <close> = 1\n" } do
      write(path, text)
      eventually("a failed reload", function() return child:count "reload failed" == i end)
      assert.equal(1, answer(name))
    end
    os.remove(path)
    assert.equal(1, answer(name))
    write(path, source(name, 2))
    becomes(name, 2)
    assert.is_nil(child:status())
  end)

  it("notices a module that is broken and mended", function()
    local name = names()
    local child, path = run({ "--watch" }, source(name, 1))
    local module = path:gsub("svc%.lua$", "rates.lua")
    write(module, "return { rate = 2 }\n")
    write(path, ([[
      app.config { name = %q }
      app.listen(%q, function() return require("rates").rate end)
      require "rates"
    ]]):format(name, name))
    becomes(name, 2)
    write(module, "return { rate = \n")
    child:expect "rates.lua:2"
    assert.equal(2, answer(name))
    write(module, "return { rate = 3 }\n")
    becomes(name, 3)
  end)

  it("starts what could not start without a server, once there is one again", function()
    local broker = testing.broker()
    finally(function() broker:stop() end)
    local name = names()
    local path = process.write("svc.lua", source(name, 1))
    local child = process.spawn { process.lunats(), "run", "--watch", "--server", broker.url,
      path }
    child:expect "started, connected"
    broker:kill()
    child:expect "connection lost"
    write(path, source(name, 2)
      .. "app.on_start(function() assert(app.js.account_info()) end)")
    child:expect "reload failed"
    broker:restart()
    child:expect "reloaded, version 2"
  end)

  it("tries again what could not start, though the connection was there", function()
    local name = names()
    local child, path = run({ "--watch" }, source(name, 1))
    local sign = path .. ".sign"
    write(path, source(name, 2)
      .. ("app.on_start(function() assert(io.open(%q)):close() end)"):format(sign))
    child:expect "tried again in 2 s"
    assert.equal(1, answer(name))
    write(sign, "")
    becomes(name, 2)
  end)

  it("reloads only the service whose file has changed", function()
    local one, two = names(), names()
    local first = process.write("one.lua", source(one, 1))
    local second = process.write("two.lua", source(two, 1))
    local child = process.spawn { process.lunats(), "run", "--watch", "--server",
      testing.server_url(), first, second }
    child:expect(one .. ": started")
    child:expect(two .. ": started")
    write(first, source(one, 2))
    becomes(one, 2)
    assert.equal(1, answer(two))
    assert.equal(0, child:count(two .. ": reloaded"))
  end)
end)

describe("a service with --watch behind links", function()
  after_each(process.close_all)

  local root, name
  before_each(function()
    root, name = process.path "links", names()
    assert(lfs.mkdir(root))
  end)

  ---Turns a link elsewhere in one step, as ln and mv -T do.
  local function turn(path, target)
    assert(lfs.link(target, root .. "/turned", true))
    assert(os.rename(root .. "/turned", root .. "/" .. path))
  end

  ---A folder with a script and a module of it that has the value.
  local function release(folder, value)
    assert(lfs.mkdir(root .. "/" .. folder))
    write(("%s/%s/rates.lua"):format(root, folder), ("return %d\n"):format(value))
    write(("%s/%s/svc.lua"):format(root, folder), ([[
      local rate = require "rates"
      app.config { name = %q }
      app.listen(%q, function() return rate end)
    ]]):format(name, name))
  end

  local function start(path, opts)
    local child = process.spawn({ process.lunats(), "run", "--watch", "--server",
      testing.server_url(), path }, opts)
    child:expect "started, connected"
    assert.equal(1, answer(name))
    return child
  end

  ---The answer, and that each change was one reload.
  local function reloaded_to(child, times, value)
    becomes(name, value)
    reloaded(child, times)
  end

  it("reloads when what the script or a module leads to is edited", function()
    release("shared", 1)
    assert(lfs.mkdir(root .. "/svc"))
    turn("svc/svc.lua", "../shared/svc.lua")
    turn("svc/rates.lua", "../shared/rates.lua")
    local child = start(root .. "/svc/svc.lua")
    write(root .. "/shared/rates.lua", "return 2\n")
    reloaded_to(child, 1, 2)
    write(root .. "/shared/svc.lua", source(name, 3))
    reloaded_to(child, 2, 3)
  end)

  it("reloads at each update of a ConfigMap, once", function()
    assert(lfs.mkdir(root .. "/map"))
    release("map/..1", 1)
    turn("map/..data", "..1")
    turn("map/svc.lua", "..data/svc.lua")
    turn("map/rates.lua", "..data/rates.lua")
    local child = start(root .. "/map/svc.lua")
    for value = 2, 5 do
      local old = ("%s/map/..%d/"):format(root, value - 1)
      release(("map/..%d"):format(value), value)
      turn("map/..data", ("..%d"):format(value))
      for _, file in ipairs { "svc.lua", "rates.lua", "" } do assert(os.remove(old .. file)) end
      reloaded_to(child, value - 1, value)
    end
    write(root .. "/map/..data/rates.lua", "return 6\n")
    reloaded_to(child, 5, 6)
  end)

  it("reloads when its folder is turned to another release", function()
    release("1", 1)
    release("2", 2)
    turn("current", "1")
    local child = start(root .. "/current/svc.lua")
    turn("current", "2")
    reloaded_to(child, 1, 2)
  end)

  it("reloads when the folder that it was started in is turned", function()
    release("1", 1)
    release("2", 2)
    turn("current", "1")
    local child = start("svc.lua", { cwd = root .. "/current" })
    turn("current", "2")
    reloaded_to(child, 1, 2)
  end)
end)

describe("SIGHUP", function()
  after_each(process.close_all)

  it("reloads all services", function()
    local name = names()
    local child, path = run({}, source(name, 1))
    write(path, source(name, 2))
    assert.equal(1, answer(name))
    child:signal "HUP"
    becomes(name, 2)
  end)

  it("is logged once for each reload that it makes", function()
    local name = names()
    local child, path = run({}, source(name, 1))
    local begun, go_on = 0, false
    local gate = app.listen(name .. ".gate", function()
      begun = begun + 1
      return eventually("the other signals", function() return go_on end)
    end)
    finally(function() gate:stop() end)
    write(path, ("app.on_start(function() assert(app.request('%s.gate')) end)\n"):format(name)
      .. source(name, 2))
    child:signal "HUP"
    eventually("its on_start", function() return begun == 1 end)
    for _ = 1, 4 do
      child:signal "HUP"
      assert.equal(1, answer(name)) -- and so the loop has turned since the signal
    end
    go_on = true
    eventually("the on_start of the second reload", function() return begun == 2 end)
    assert.equal(2, child:count "hang-up: reloading", child:output())
  end)
end)

describe("the control subject", function()
  after_each(process.close_all)

  local function control(name)
    local events = {}
    local listener = app.listen("lunats.events." .. name .. ".*.*", { queue = false },
      function(msg) events[#events + 1] = msg.subject:match "[^.]+$" end)
    finally(function() listener:stop() end)
    assert(app.flush())
    local path = process.write("svc.lua", source(name, 1)
      .. ("app.listen(%q, function() return app.instance_id end)"):format(name .. ".id"))
    local child = process.spawn { process.lunats(), "run", "--control", "--server",
      testing.server_url(), path }
    child:expect "started, connected"
    local id = assert(app.request(name .. ".id", "")).raw
    return child, path, ("lunats.control.%s.%s.reload"):format(name, id), events
  end

  it("reloads and answers with the version", function()
    local name = names()
    local _, path, subject, events = control(name)
    write(path, source(name, 2))
    local reply = assert(app.request(subject, ""))
    assert.same({ status = "reloaded", version = "2.0.0" }, reply.data)
    assert.equal(2, answer(name))
    eventually("the event", function() return events[#events] == "reloaded" end)
  end)

  it("answers with the reason of a failure", function()
    local name = names()
    local _, path, subject, events = control(name)
    write(path, "app.listen(\n")
    local reply, err = app.request(subject, "")
    assert.is_nil(reply)
    assert.equal(500, err.status)
    assert.truthy(err.message:find("svc.lua:2", 1, true), err.message)
    eventually("the event", function() return events[#events] == "reload_failed" end)
    assert.equal(1, answer(name))
  end)

  it("does not swallow another trigger", function()
    local name = names()
    local child, path, subject = control(name)
    local begun, go_on
    local gate = app.listen(name .. ".gate", function()
      begun = true
      return eventually("the other trigger", function() return go_on end)
    end)
    finally(function() gate:stop() end)
    write(path, ("app.on_start(function() assert(app.request('%s.gate')) end)\n"):format(name)
      .. source(name, 2))
    app.spawn(function() app.request(subject, "") end)
    eventually("its on_start", function() return begun end)
    write(path, source(name, 3))
    child:signal "HUP"
    assert.equal(1, answer(name)) -- and so the loop has turned since the signal
    go_on = true
    becomes(name, 3)
  end)

  it("needs no reply subject", function()
    local name = names()
    local child, path, subject = control(name)
    write(path, source(name, 2))
    assert(app.publish(subject, ""))
    becomes(name, 2)
    assert(app.request(name, "")) -- a frame without a subject would have ended the connection
    assert.equal(0, child:count "connection lost")
  end)

  it("takes no orders from answers, to where a sender has them sent", function()
    local name = names()
    local child, _, subject = control(name)
    local level = subject:gsub("%.reload$", ".log_level")
    for _, reply_to in ipairs { subject, level, "lunats.console." .. name } do
      assert(app.publish(name, "", { reply_to = reply_to }))
    end
    child:expect(("listener %s: nothing is sent to the reply subject"):format(name))
    assert.equal(1, answer(name))
    assert.equal(0, child:count "reloaded in")
  end)

  it("does not exist without --control", function()
    local name = names()
    local child = run({}, source(name, 1))
    local _, err = app.request(("lunats.control.%s.x.reload"):format(name), "")
    assert.equal("no_responders", err.code)
    assert.is_nil(child:status())
  end)
end)
