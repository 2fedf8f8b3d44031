-- lunats metrics, as Prometheus and a person see it.
local admin = require "spec.support.admin"
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local testing = require "lunats.testing"

after_each(process.close_all)

local function metrics(...)
  return { process.lunats(), "metrics", "-s", testing.server_url(), "--srv", ... }
end

---What promtool says; nil without it.
local function complaints(text)
  local path = process.write("metrics", text)
  if not os.execute "command -v promtool >/dev/null" then return nil end
  local child = process.spawn { "sh", "-c", "promtool check metrics <" .. path }
  local status = child:wait()
  return status ~= 0 and child:output() or nil
end

describe("lunats metrics --srv", function()
  local svc, id

  setup(function()
    svc = testing.start [[
      app.config { name = "counted", version = "1.2.0" }
      app.listen("counted.a", function(msg)
        if msg.raw == "bad" then return nil, { code = 400, message = "bad" } end
        return 1
      end)
      app.listen("counted.b", function() return 1 end)
      app.listen("counted.c", function() return 1 end)
    ]]
    assert(svc:request("counted.a", "good"))
    svc:request("counted.a", "bad")
    id = svc:request("$SRV.PING.counted").data.id
  end)
  teardown(function() svc:stop() end)

  local function sample(name, endpoint)
    return ('\n%s{service="counted",id="%s",endpoint="%s"} '):format(name, id, endpoint)
  end

  it("prints the numbers of all endpoints once", function()
    local child = process.spawn(metrics "--once")
    assert.equal(0, child:wait())
    local text = child:output()
    for name, value in pairs { lunats_srv_requests_total = 2, lunats_srv_errors_total = 1 } do
      assert.truthy(text:find(sample(name, "counted_a") .. value .. "\n", 1, true), text)
      assert.truthy(text:find(sample(name, "counted_b") .. "0\n", 1, true), text)
    end
    local seconds = sample("lunats_srv_processing_seconds_total", "counted_a")
    assert.truthy(text:find(seconds, 1, true))
    assert.truthy(text:find(('{service="counted",id="%s",version="1.2.0"} 1\n'):format(id), 1,
      true))
    assert.is_nil(complaints(text))
  end)

  it("has services of other languages in it, whatever they call themselves", function()
    local endpoint = { name = 'e"\\\n', subject = "x", num_requests = 2, num_errors = 1,
      processing_time = 1500000000 }
    local listener = app.listen("$SRV.STATS", { queue = false }, function()
      return { name = "foreign", id = "1", version = "1.0.0", started = "nonsense",
        endpoints = { endpoint, endpoint } }
    end)
    assert(app.flush())
    finally(function() listener:stop() end)
    local child = process.spawn(metrics "--once")
    assert.equal(0, child:wait())
    local text = child:output()
    for name, value in pairs { requests = "4", errors = "2", processing_seconds = "3" } do
      local line = ([[lunats_srv_%s_total{service="foreign",id="1",endpoint="e\"\\\n"} %s]])
        :format(name, value) .. "\n"
      assert.truthy(text:find(line, 1, true), line .. text)
    end
    assert.is_nil(text:find 'start_time_seconds{service="foreign"')
    assert.is_nil(complaints(text))
  end)

  it("serves them at an admin port, and goes on asking", function()
    local child = process.spawn(metrics("--admin", "127.0.0.1:0", "--interval", "0.1"))
    local url = admin.url(child)
    local function shows(text)
      eventually(text, function()
        local _, body = admin.get(url, "/metrics")
        return body:find(text, 1, true)
      end)
    end
    shows(sample("lunats_srv_requests_total", "counted_c") .. "0\n")
    assert(svc:request("counted.c", "x"))
    shows(sample("lunats_srv_requests_total", "counted_c") .. "1\n")
    local status, body = admin.get(url, "/metrics")
    assert.equal(200, status)
    assert.matches("\nlunats_srv_up 1\n", body)
    assert.is_nil(complaints(body))
    status, body = admin.get(url, "/metrics", { "-H", "Accept: application/openmetrics-text" })
    assert.equal(200, status)
    assert.matches("\n# TYPE lunats_srv_requests counter\nlunats_srv_requests_total{", body)
    assert.matches("\n# EOF\n$", body)
    assert.equal(143, child:stop())
  end)

  it("shows nothing old when the server is gone, and says so", function()
    local server = process.server()
    local child = process.spawn { process.lunats(), "metrics", "-s", server.url, "--srv",
      "--admin", "127.0.0.1:0", "--interval", "0.1" }
    local url = admin.url(child)
    local function up(value)
      eventually("lunats_srv_up " .. value, function()
        local _, body = admin.get(url, "/metrics")
        return body:find("\nlunats_srv_up " .. value .. "\n", 1, true)
      end)
    end
    up "1"
    server:stop()
    up "0"
    process.server { port = server.port }
    up "1"
  end)

  it("says when nobody answers, and what is missing", function()
    local server = process.server()
    local status, output = process.lunats_to_end { "metrics", "-s", server.url, "--srv",
      "--once" }
    assert.equal(1, status)
    assert.matches("no service answers", output)
    for _, case in ipairs {
      { { "metrics" }, "lunats metrics %-%-srv" },
      { { "metrics", "--srv" }, "needs %-%-admin ADDRESS or %-%-once" },
      { { "metrics", "--srv", "--once", "--admin", "127.0.0.1:0" }, "%-%-admin ADDRESS or" },
      { { "metrics", "--srv", "x" }, "lunats metrics %-%-srv" },
    } do
      status, output = process.lunats_to_end(case[1])
      assert.equal(2, status)
      assert.matches(case[2], output)
    end
    status = process.lunats_to_end({ "metrics", "-s", testing.server_url(), "--srv", "--once" },
      { env = { LUNATS_ADMIN = "127.0.0.1:0" } })
    assert.equal(0, status)
  end)
end)
