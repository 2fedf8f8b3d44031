-- `lunats run --workers`: the life of a parent and its workers, seen from outside.
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local lfs = require "lfs"
local process = require "spec.support.process"
local testing = require "lunats.testing"
local workers = require "spec.support.workers"

local WHO, run, pids, signal = workers.WHO, workers.run, workers.pids, workers.signal

after_each(process.close_all)

---The instances that answer within some requests.
local function instances(subject)
  local seen, count = {}, 0
  for _ = 1, 40 do
    local reply = app.request(subject, "", { timeout = 5 })
    if reply and not seen[reply.data.id] then
      seen[reply.data.id] = true
      count = count + 1
    end
  end
  return count
end

describe("workers", function()
  it("share the requests, each as an instance of its own", function()
    local child = run(WHO, 3)
    eventually("all three to answer", function()
      return instances "spec.workers.who" == 3
    end)
    local infos = assert(app.request_many("$SRV.INFO.spec_workers", "",
      { timeout = 20, max = 3 }))
    assert.equal(3, #infos)
    assert.equal(0, child:stop())
    assert.equal(3, child:count "spec_workers: stopped")
  end)

  it("write whole lines with their number", function()
    local child = run([[
      for i = 1, 50 do
        app.task(function() app.log.info(("x"):rep(3000), { i = i }) end)
      end
    ]], 2, "--log-limit", "off", "--log-format", "json")
    local counts = {}
    eventually("all lines", function() return child:count(("x"):rep(3000)) == 100 end)
    assert.equal(0, child:stop())
    for text in child:output():gmatch "[^\n]+" do
      local entry = app.json.decode(text)
      if entry.i then counts[entry.worker] = (counts[entry.worker] or 0) + 1 end
    end
    assert.same({ 50, 50 }, counts)
  end)

  it("end with the status of the script, if that cannot be run", function()
    local child = process.run("error 'no'", { "--workers", "2" })
    assert.equal(1, child:wait())
    child:expect "worker %d could not start: exit status 1"
  end)

  it("end with status 3 without a server at the start", function()
    local child = process.run(WHO, { "--workers", "2" }, { servers = { "nats://127.0.0.1:1" } })
    assert.equal(3, child:wait())
  end)

  for _, one in ipairs {
    { "--workers", "0", says = "0 is neither auto nor a number from 1 to 256" },
    { "--workers", "257", says = "257 is neither auto nor a number from 1 to 256" },
    { "--workers", "many", says = "many is neither auto" },
  } do
    it(("refuse %s %s"):format(one[1], one[2]), function()
      local child = process.run(WHO, { one[1], one[2] })
      assert.equal(2, child:wait())
      assert.truthy(child:output():find(one.says, 1, true), child:output())
    end)
  end

  it("refuse a private server, of which each would have one", function()
    local child = process.run(WHO, { "--workers", "2", "--embedded" }, { servers = {} })
    assert.equal(2, child:wait())
    child:expect "%-%-workers and %-%-embedded exclude each other"
  end)

  it("may be as many as there are processors", function()
    local child = process.run(WHO, { "--workers", "auto" })
    local count = tonumber(child:expect "all (%d+) workers are ready")
    assert(count >= 1 and count <= 256)
    assert.equal(0, child:stop())
  end)

  it("know no other variable of their parent than their own", function()
    local status, output = process.lunats_to_end({ "lua", "-e", "print(1)" },
      { env = { LUNATS_WORKER = "1 1 1 0 -1 0 " } })
    assert.equal(2, status)
    assert.truthy(output:find("unset it", 1, true), output)
    local child = run([[
      app.on_start(function() print("<" .. tostring(os.getenv "LUNATS_WORKER") .. ">") end)
    ]] .. WHO, 1)
    child:expect "<nil>"
    assert.equal(0, child:stop())
  end)

  it("show no password of their command line", function()
    local child = run(WHO, 1, "--user", "ada", "--password", "secret-word")
    for _, pid in ipairs { child.pid, pids(child)[1] } do
      local file = assert(io.open(("/proc/%d/cmdline"):format(pid), "rb"))
      local line = file:read "a"
      file:close()
      assert.is_nil(line:find("secret-word", 1, true))
    end
    assert.equal(0, child:stop())
  end)
end)

describe("a worker that ends", function()
  it("is started again within a second, with an event that says why", function()
    local child = run(WHO, 2)
    local began, first = core.hrtime(), pids(child)[1]
    local svc = testing.start([[
      app.listen("lunats.events.spec_workers.>", { queue = false }, function(msg)
        if msg.data.last_end ~= "" then app.state.event = msg.data end
      end)
      app.listen("spec.workers.event", function() return app.state.event end)
    ]], { server = testing.server_url() })
    signal(first, "KILL")
    child:expect "worker 1 has ended: killed by signal 9 %(Killed%); the next one starts in 0.1"
    eventually("another process", function()
      local now = pids(child)[1]
      return now ~= first and now
    end)
    local event = eventually("the event", function()
      local reply = svc:request("spec.workers.event", "", { timeout = 0.2 })
      return reply and reply.data
    end)
    assert(core.hrtime() - began < 20) -- a deadline for machines under load
    assert.same({ 1, 2, 1, "killed by signal 9 (Killed)" },
      { event.worker, event.workers, event.restarts, event.last_end })
    svc:stop()
    eventually("both to answer", function() return instances "spec.workers.who" == 2 end)
    assert.equal(0, child:stop())
  end)

  it("is told to be in a crash loop when it does so again and again", function()
    local flag = process.path "crash"
    local child = run(([[
      local file = io.open(%q)
      if file then os.exit(7) end
    ]]):format(flag) .. WHO, 2)
    assert(io.open(flag, "w")):close()
    signal(pids(child)[2], "KILL")
    child:expect "worker 2 is in a crash loop: it has ended 5 times within"
    assert.equal(0, child:count "could not start") -- another one serves
    os.remove(flag)
    assert.equal(1, instances "spec.workers.who")
    child:signal "HUP" -- does not wait for the rest of the delay
    child:expect "all 2 workers have reloaded"
    eventually("both to answer", function() return instances "spec.workers.who" == 2 end)
    assert.equal(0, child:stop())
  end)

  it("fails only the requests that it had", function()
    local child = run([[
      app.listen("spec.workers.slow", { concurrency = 1000 }, function()
        app.sleep(0.02)
        return 1
      end)
    ]], 2)
    local answered, failed, victim = 0, {}, pids(child)[1]
    local fibers = {}
    local stop = false
    for _ = 1, 50 do
      fibers[#fibers + 1] = app.spawn(function()
        while not stop do
          local reply, err = app.request("spec.workers.slow", "", { timeout = 2 })
          if reply then
            answered = answered + 1
          else
            failed[err.code] = (failed[err.code] or 0) + 1
          end
        end
      end)
    end
    eventually("answers", function() return answered > 100 end)
    signal(victim, "KILL")
    child:expect "worker 1 has ended"
    eventually("the next one", function()
      return child:count "started, connected to" == 3
    end)
    local before = answered
    eventually("more answers", function() return answered > before + 100 end)
    stop = true
    for _, fiber in ipairs(fibers) do fiber:await() end
    local total = 0
    for code, count in pairs(failed) do
      assert(code == "timeout" or code == "no_responders", code)
      total = total + count
    end
    assert(total <= 50, total) -- of each fiber one request was under way
    assert.equal(0, child:stop())
  end)
end)

describe("the end of the parent", function()
  it("is that of all workers, in order, with status 0", function()
    local child = run([[
      app.config { name = "spec_workers" }
      app.listen("spec.workers.slow", function()
        app.log.info "begun"
        app.sleep(1)
        return "done"
      end)
    ]], 2)
    local reply = app.spawn(function()
      return assert(app.request("spec.workers.slow", "")).raw
    end)
    child:expect "begun"
    assert.equal(0, child:stop())
    assert.equal("done", reply:await())
    workers.expect_gone(child)
    child:expect "all workers have ended"
  end)

  it("comes at once with a second signal", function()
    local child = run([[
      app.listen("spec.workers.stuck", function()
        app.log.info "begun"
        app.sleep(100)
      end)
    ]], 2)
    app.publish("spec.workers.stuck", "")
    child:expect "begun"
    child:signal "TERM"
    child:expect "stopping all workers"
    app.sleep(0.6) -- signals closer together are one
    child:signal "TERM"
    assert.equal(143, child:wait())
    workers.expect_gone(child)
  end)

  it("is that of a worker in a function in C that does not end, too", function()
    local child = run([[
      app.listen("spec.workers.stuck", function()
        app.log.info "begun"
        return string.find(("a"):rep(60), ("a-"):rep(40) .. "b")
      end)
    ]], 2, "--drain-timeout", "0")
    app.publish("spec.workers.stuck", "")
    child:expect "begun"
    assert.equal(1, child:stop())
    child:expect "worker %d has not ended 10 s after it was told to: it is killed"
    workers.expect_gone(child)
  end)

  it("is that of all workers, however it comes", function()
    local child = run(WHO, 2)
    child:signal "KILL"
    assert.equal(137, child:wait())
    workers.expect_gone(child)
    eventually("both to have stopped", function()
      return child:count "spec_workers: stopped" == 2
    end)
  end)

  it("is not hurt by a signal to all processes at once", function()
    local child = run(WHO, 2)
    for _, pid in pairs(pids(child)) do signal(pid, "TERM") end
    child:signal "TERM"
    assert.equal(0, child:wait())
  end)
end)

describe("a reload", function()
  local function versioned(version, more)
    return ([[
      app.config { name = "spec_workers", version = "%d.0.0" }
      app.listen("spec.workers.who", function()
        return { id = app.instance_id, version = %d }
      end)
      %s
    ]]):format(version, version, more or "")
  end

  local function rewrite(child, text)
    local file = assert(io.open(child.command[#child.command], "wb"))
    file:write(text)
    file:close()
  end

  it("goes from worker to worker and loses nothing", function()
    local child = run(versioned(1), 2)
    local stop, asked, versions = false, 0, {}
    local fibers = {}
    for i = 1, 10 do
      fibers[i] = app.spawn(function()
        while not stop do
          local reply = assert(app.request("spec.workers.who", "", { timeout = 10 }))
          versions[reply.data.version] = (versions[reply.data.version] or 0) + 1
          asked = asked + 1
        end
        return true
      end)
    end
    eventually("answers", function() return asked > 50 end)
    rewrite(child, versioned(2, 'app.on_start(function() app.sleep(0.2) end)'))
    child:signal "HUP"
    child:expect "all 2 workers have reloaded"
    eventually("answers of the new version", function() return (versions[2] or 0) > 50 end)
    stop = true
    for _, fiber in ipairs(fibers) do assert(fiber:await()) end
    local output = child:output()
    local first = assert(output:find("worker 1 of 2 reloads", 1, true))
    local done = assert(output:find("spec_workers: reloaded", first, true))
    assert(done < assert(output:find("worker 2 of 2 reloads", 1, true)))
    assert.equal(0, child:stop())
  end)

  it("that fails stays with the first worker", function()
    local child = run(versioned(1), 3)
    rewrite(child, "error 'no'")
    child:signal "HUP"
    child:expect "worker 1: the reload has failed, its log says why: the workers behind"
    assert.equal(0, child:count "worker 2 of 3 reloads")
    assert.equal(3, instances "spec.workers.who")
    assert.equal(0, child:stop())
  end)

  it("takes new scripts of a folder", function()
    local folder = process.path "services"
    assert(lfs.mkdir(folder))
    local function write(name, text)
      local file = assert(io.open(folder .. "/" .. name, "wb"))
      file:write(text)
      file:close()
    end
    write("a.lua", WHO)
    local child = process.spawn { process.lunats(), "run", "-s", testing.server_url(),
      "--workers", "2", folder }
    child:expect "all 2 workers are ready"
    write("b.lua", 'app.listen("spec.workers.more", function() return 2 end)')
    child:signal "HUP"
    child:expect "all 2 workers have reloaded"
    eventually("the new service", function()
      return child:count "b: started, connected" == 2
    end)
    assert.equal(0, child:stop())
  end)
end)

describe("SIGUSR1", function()
  it("goes to all workers, and the parent says what it knows of them", function()
    local child = run(WHO, 2)
    child:signal "USR1"
    child:expect "a worker worker=2 pid=%d+ state=ready restarts=0"
    eventually("both", function()
      return child:count "spec.workers.who" >= 2
    end)
    assert.equal(0, child:stop())
  end)
end)
