-- What the workers of `lunats run --workers` share: ports, sockets of systemd, consumers.
local admin = require "spec.support.admin"
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local lfs = require "lfs"
local process = require "spec.support.process"
local run_check = require "spec.support.check"
local testing = require "lunats.testing"
local web = require "spec.support.web"
local workers = require "spec.support.workers"

local WHO, run, pids, signal = workers.WHO, workers.run, workers.pids, workers.signal

after_each(process.close_all)

---The value of a line of /metrics.
local function metric(text, name)
  local at = text:find("\n" .. name .. " ", 1, true)
  return at and tonumber(text:match("^(%S+)", at + #name + 2))
end

describe("the admin port of workers", function()
  local TOKEN = "0123456789abcdef0123456789abcdef"

  local function run_at(source, count, ...)
    local child = run(source, count, "--admin", "127.0.0.1:0", ...)
    return child, admin.url(child)
  end

  local function expect_live(url)
    local status, body = admin.get(url, "/livez")
    assert.same({ 200, "ok\n" }, { status, body })
  end

  it("answers for all of them", function()
    local child, url = run_at(WHO, 2)
    expect_live(url)
    local ready = admin.expect_ready(url, 200)
    assert.same({ count = 2, ready = 2 }, ready.workers)
    assert.same({}, ready.reasons)
    local status, body = admin.get(url, "/healthz")
    assert.equal(200, status)
    local list = app.json.decode(body).workers
    assert.equal(2, #list)
    assert.equal(pids(child)[2], list[2].pid)
    assert.equal("spec_workers", list[2].health.services[1].name)
    assert.equal(404, (admin.get(url, "/nothing")))
    assert.equal(0, child:stop())
  end)

  it("adds up counters and histograms, and tells gauges apart", function()
    local child, url = run_at(WHO .. [[
      app.metrics.gauge { name = "spec_level", help = "x" }:set(5)
    ]], 2)
    for _ = 1, 30 do assert(app.request("spec.workers.who", "")) end
    local _, text, headers = admin.get(url, "/metrics")
    assert.equal("text/plain; version=0.0.4; charset=utf-8", headers["content-type"])
    local labels = text:match '\nlunats_requests_total(%b{})':match '^(.-),code='
    assert.is_string(labels, text)
    assert.equal(30, metric(text, "lunats_requests_total" .. labels .. ',code="200"}'))
    assert.equal(30, metric(text, "lunats_request_seconds_count" .. labels .. "}"))
    assert.equal(30, metric(text, "lunats_request_seconds_bucket" .. labels .. ',le="+Inf"}'))
    for i = 1, 2 do
      local gauge = ('spec_level{worker="%d",service="spec_workers"}'):format(i)
      assert.equal(5, metric(text, gauge))
      assert.equal(1, metric(text, ('lunats_worker_up{worker="%d"}'):format(i)))
    end
    assert.equal(2, metric(text, "lunats_workers"))
    local _, families = text:gsub("# TYPE lunats_requests_total counter\n", "")
    assert.equal(1, families)
    assert.equal(0, child:stop())
  end)

  it("does not let counters fall when a worker ends, or hangs", function()
    local child, url = run_at(WHO, 2)
    for _ = 1, 40 do assert(app.request("spec.workers.who", "")) end
    local function total()
      local _, text = admin.get(url, "/metrics")
      return metric(text, "lunats_received_messages_total{service=\"spec_workers\"}"), text
    end
    local before = total()
    assert(before >= 40, before)
    signal(pids(child)[1], "KILL")
    child:expect "worker 1 has ended"
    assert((total()) >= before)
    eventually("the next one", function() return child:count "started, connected to" == 3 end)
    local hung = pids(child)[2]
    signal(hung, "STOP")
    local began = core.hrtime()
    local now, text = total()
    assert(now >= before)
    assert.equal(0, metric(text, 'lunats_worker_up{worker="2"}'))
    assert.equal(1, metric(text, 'lunats_worker_restarts_total{worker="1"}'))
    assert(core.hrtime() - began < 15)
    expect_live(url) -- one of them lives
    local ready = admin.expect_ready(url, 200) -- and serves
    assert.equal(1, ready.workers.ready)
    assert.same({ 2, "silent" }, { ready.reasons[1].worker, ready.reasons[1].reason })
    signal(hung, "CONT")
    assert.equal(0, child:stop())
  end)

  it("is not ready before all workers have been", function()
    local flag = process.path "slow"
    local child = process.run(([[
      app.config { name = "spec_workers" }
      app.health("flag", { interval = 0.05 }, function()
        local file = io.open(%q)
        if not file then return nil, "there is no flag" end
        file:close()
        return true
      end)
    ]]):format(flag) .. WHO:gsub("app.config[^\n]*\n", ""),
      { "--workers", "2", "--admin", "127.0.0.1:0" })
    child:expect "started, connected to"
    local url = admin.url(child)
    local reasons = eventually("two reasons", function()
      local _, body = admin.get(url, "/readyz")
      local found = app.json.decode(body).reasons
      return #found == 2 and found[1].reason == "health" and found[2].reason == "health"
        and found
    end)
    assert.same({ 1, "spec_workers", "flag" },
      { reasons[1].worker, reasons[1].service, reasons[1].check })
    assert(io.open(flag, "w")):close()
    child:expect "all 2 workers are ready"
    admin.expect_ready(url, 200)
    assert.equal(0, child:stop())
  end)

  it("reloads them one after the other, for who knows the token", function()
    local token = process.write("token", TOKEN)
    os.execute("chmod 600 " .. token)
    local child, url = run_at(WHO, 2, "--control", "--admin-token", token)
    local know = { "-X", "POST", "-H", "Authorization: Bearer " .. TOKEN }
    assert.equal(401, (admin.get(url, "/reload", { "-X", "POST" })))
    local status, body = admin.get(url, "/reload", know)
    assert.same({ 200, { workers = 2, failed = {} } }, { status, app.json.decode(body) })
    eventually("their logs", function() return child:count "spec_workers: reloaded" == 2 end)
    status, body = admin.get(url, "/reload?service=none", know)
    assert.equal(500, status)
    assert.equal("it has no such service", app.json.decode(body).failed[1].why)
    assert.equal(200, (admin.get(url, "/log-level?service=spec_workers&level=debug", know)))
    assert.equal(400, (admin.get(url, "/log-level?service=spec_workers&level=loud", know)))
    assert.equal(0, child:stop())
  end)

  it("shows the page about each of them", function()
    local child, url = run_at(WHO, 2)
    for i = 1, 2 do
      local _, body = admin.get(url, "/status.json?worker=" .. i)
      local status = app.json.decode(body)
      assert.same({ pids(child)[i], i, 2 }, { status.pid, status.worker, status.workers })
    end
    assert.equal(404, (admin.get(url, "/status.json?worker=3")))
    local _, page = admin.get(url, "/", { "-H", "Accept: text/html" })
    assert.matches("^<!doctype html>", page)
    assert.equal(0, child:stop())
  end)
end)

describe("the HTTP port of workers", function()
  local SCRIPT = [[
    app.http.get("/who", function() return { id = app.instance_id } end)
    app.http.get("/slow", function() app.log.info "begun" app.sleep(0.5) return "done" end)
  ]]

  it("is shared by them, and survives those that end", function()
    local child = run(SCRIPT, 2, "--http", "127.0.0.1:0")
    local url = web.url(child)
    local seen = {}
    local function ask()
      local res = web.get(url .. "/who")
      assert.equal(200, res.status)
      seen[app.json.decode(res.body).id] = true
    end
    for _ = 1, 10 do ask() end
    assert(next(seen))
    signal(pids(child)[1], "KILL")
    for _ = 1, 10 do ask() end
    child:expect "worker 1 has ended"
    eventually("the next one", function() return child:count "started, connected to" == 3 end)
    signal(pids(child)[2], "KILL")
    child:expect "worker 2 has ended"
    for _ = 1, 10 do ask() end
    assert.equal(0, child:stop())
    assert.equal(0, web.get(url .. "/who").status)
  end)

  it("answers what has come before the stop", function()
    local child = run(SCRIPT, 2, "--http", "127.0.0.1:0")
    local url = web.url(child)
    local slow = app.spawn(function() return web.get(url .. "/slow").body end)
    child:expect "begun"
    assert.equal(0, child:stop())
    assert.equal("done", slow:await())
  end)

  it("may be a socket file, which is there until the end", function()
    local path = process.path "sock"
    local child = run(SCRIPT, 2, "--http", "unix:" .. path)
    signal(pids(child)[1], "TERM") -- ends by itself, and leaves the file alone
    child:expect "worker 1 has ended: exit status 0"
    assert.equal(200, web.get("http://localhost/who", "--unix-socket", path).status)
    assert.equal(0, child:stop())
    assert.is_nil(lfs.attributes(path))
  end)

  it("that is taken ends the parent with status 1", function()
    local first = run(SCRIPT, 1, "--http", "127.0.0.1:0")
    local port = web.url(first):match ":(%d+)$"
    local second = process.run(SCRIPT, { "--workers", "2", "--http", "127.0.0.1:" .. port })
    assert.equal(1, second:wait())
    second:expect "%-%-http: cannot listen on"
    assert.equal(0, first:stop())
  end)
end)

describe("a socket of systemd", function()
  local HELLO = 'app.http.get("/a", function() return "hello" end)'

  ---As systemd does: a socket that listens, at the first descriptor, for the process to come.
  local ACTIVATE = [[
    use IO::Socket::INET;
    use POSIX ();
    $^F = 20;
    my $socket = IO::Socket::INET->new(Listen => 5, LocalAddr => "127.0.0.1") or die;
    POSIX::dup2(fileno($socket), 3) if fileno($socket) != 3;
    @ENV{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} = ($$, 1, "web");
    exec @ARGV;
  ]]

  local function activate(...)
    return process.spawn { "perl", "-e", ACTIVATE, process.lunats(), "run", "-s",
      testing.server_url(), process.write("svc.lua", HELLO), ... }
  end

  it("serves one process", function()
    local child = activate("--http", "systemd:web")
    child:expect "started, connected to"
    assert.equal("hello", web.get(web.url(child) .. "/a").body)
    assert.equal(0, child:stop())
  end)

  it("serves workers", function()
    local child = activate("--http", "systemd:web", "--workers", "2")
    child:expect "all 2 workers are ready"
    assert.equal("hello", web.get(web.url(child) .. "/a").body)
    assert.equal(0, child:stop())
  end)

  it("may be the admin port", function()
    local child = activate("--admin", "systemd:web", "--workers", "2")
    child:expect "all 2 workers are ready"
    assert.equal(200, (admin.get(admin.url(child), "/readyz")))
    assert.equal(0, child:stop())
  end)

  it("must be given", function()
    local child = activate("--http", "systemd:other")
    assert.equal(1, child:wait())
    child:expect 'no socket "other" was given to this process'
    assert.equal(2, process.run(HELLO, { "--http", "systemd:" }):wait())
  end)
end)

describe("the manager of workers", function()
  it("is told by the parent when all are ready, reload and stop", function()
    local socket = process.path "sock"
    local manager = process.spawn { "python3", "spec/support/manager.py", socket }
    manager:expect "listens"
    local child = process.run(WHO, { "--workers", "2" }, { env = { NOTIFY_SOCKET = socket } })
    manager:expect("%d+ " .. child.pid .. " READY=1")
    child:expect "all 2 workers are ready"
    manager:expect "STATUS=2 of 2 workers are ready"
    child:signal "HUP"
    manager:expect("%d+ " .. child.pid .. " RELOADING=1 | MONOTONIC_USEC=%d+")
    eventually("the end of it", function() return manager:count "READY=1" == 2 end)
    assert.equal(0, child:stop())
    manager:expect("%d+ " .. child.pid .. " STOPPING=1")
    for number, pid in pairs(pids(child)) do
      assert.equal(0, manager:count((" %d "):format(pid)), number)
    end
  end)
end)

describe("check --workers", function()
  local function check(source, ...)
    local status, output = run_check(process.write("svc.lua", source), ...)
    assert.equal(0, status, output)
    return output
  end

  it("prints what they take from the server, which is what they take", function()
    local source = [[
      app.config { name = "spec_workers" }
      app.listen({ "spec.a", "spec.b" }, function() return 1 end)
      app.listen("spec.a", function() end)
    ]]
    local output = check(source, "--workers", "3", "--control")
    local each = tonumber(output:match "3 workers: 3 connections, (%d+) subscriptions") // 3
    local child = run(source, 3, "--control", "--admin", "127.0.0.1:0")
    local _, text = admin.get(admin.url(child), "/metrics")
    local seen = metric(text, 'lunats_subscriptions{worker="1",service="spec_workers"}')
    assert(each == seen or each == seen + 1, seen) -- the inbox comes with the first request
    assert.equal(0, child:stop())
  end)

  it("counts the requests of pull subscriptions", function()
    local source = [[
      local first = app.js.pull_subscribe("x.>", { durable = "d" })
      local second = app.js.pull_subscribe("y.>", { durable = "e" })
      app.on_start(function() print(first, second) end)
    ]]
    local output = check(source, "--workers", "4")
    assert.truthy(output:find("up to 16 pull requests at a time", 1, true), output)
    assert.truthy(output:find("up to 8 on one consumer", 1, true), output)
    local list = app.json.decode(check(source, "--workers", "4", "--json"))
    assert.equal(4, list[1].workers.connections)
    assert.is_nil(check(source):find("workers", 1, true))
  end)
end)

describe("a consumer that workers share", function()
  it("is read by each of them for its part of max_ack_pending", function()
    local broker = testing.broker()
    local conn = assert(app.connect { server = broker.url })
    assert(conn.js.add_stream { name = "SPECW", subjects = { "specw.>" } })
    assert(conn.js.add_consumer { stream = "SPECW", durable_name = "work",
      ack_policy = "explicit", max_ack_pending = 8 })
    for i = 1, 16 do assert(conn.js.publish("specw.x", tostring(i))) end
    local child = process.run([[
      app.config { name = "spec_workers" }
      app.task(function()
        local psub = assert(app.js.pull_subscribe("specw.>",
          { stream = "SPECW", durable = "work" }))
        assert(psub:consume({ concurrency = 4 }, function()
          app.log.info "taken"
          app.sleep(100)
        end))
      end)
    ]], { "--workers", "2", "--drain-timeout", "0" }, { servers = { broker.url } })
    -- Without a part for each, the first one would take all eight, and run four.
    eventually("four in each", function()
      local _, first = child:output():gsub("taken[^\n]*worker=1", "")
      local _, second = child:output():gsub("taken[^\n]*worker=2", "")
      return first == 4 and second == 4
    end)
    child:stop()
    conn.close()
    broker:stop()
  end)
end)
