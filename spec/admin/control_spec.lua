-- What can be changed by the admin port, and by whom.
local admin = require "spec.support.admin"
local process = require "spec.support.process"

local TOKEN = "0123456789abcdef0123456789abcdef"
local SIMPLE = 'app.listen("spec.control", function() return 1 end)\n'

after_each(process.close_all)

local function run(...)
  local token = process.write("token", TOKEN)
  os.execute("chmod 600 " .. token)
  local child = process.run(SIMPLE, { "--admin", "127.0.0.1:0", "--admin-token", token, ... })
  child:expect "started, connected to"
  return child, admin.url(child)
end

local function post(url, path, ...)
  return admin.get(url, path, { "-X", "POST", "-H", "Authorization: Bearer " .. TOKEN, ... })
end

local function edit(child, text)
  local file = assert(io.open(child.command[#child.command], "w"))
  file:write(text)
  file:close()
end

describe("POST /reload", function()
  it("reloads and answers when that is done, or says why it failed", function()
    local child, url = run "--control"
    edit(child, SIMPLE .. 'app.config { version = "2.0.0" }\n')
    local status, body = post(url, "/reload")
    assert.equal(200, status)
    assert.same({ reloaded = { "svc" }, failed = {} }, app.json.decode(body))
    assert.matches('"version":"2.0.0"', (select(2, admin.get(url, "/healthz"))), 1, true)
    edit(child, "app.config {")
    status, body = post(url, "/reload?service=svc")
    assert.equal(500, status)
    local failed = app.json.decode(body).failed[1]
    assert.equal("svc", failed.service)
    assert.matches("svc.lua:1:", failed.why)
    assert.equal(404, (post(url, "/reload?service=other")))
    assert.equal(400, (post(url, "/reload?servce=svc")))
    assert.equal(405, (post(url, "/reload", "-X", "PUT")))
    assert.equal(405, (admin.get(url, "/reload")))
    assert.equal(0, child:stop())
  end)

  it("needs the token, --control, and no other page's origin", function()
    local child, url = run()
    local status, body = post(url, "/reload")
    assert.equal(403, status)
    assert.matches("without %-%-control", body)
    assert.equal(0, child:stop())
    child, url = run "--control"
    assert.equal(401, (admin.get(url, "/reload", { "-X", "POST" })))
    assert.equal(403, (post(url, "/reload", "-H", "Origin: http://evil.example")))
    assert.equal(0, child:count "reloaded in", child:output())
    assert.equal(0, child:stop())
  end)

  it("that is under way does not keep the process from its end", function()
    local child, url = run("--control", "--drain-timeout", "1")
    edit(child, SIMPLE .. "app.on_start(function() app.log.info 'hook' app.sleep(30) end)\n")
    local waiting = process.spawn { "curl", "-s", "-X", "POST", "-H",
      "Authorization: Bearer " .. TOKEN, url .. "/reload" }
    child:expect "hook"
    assert.equal(0, child:stop())
    waiting:wait()
  end)
end)

describe("POST /log-level", function()
  it("sets the level of a service, by name or instance, and back", function()
    local child, url = run "--control"
    local function level(query)
      local status, body = post(url, "/log-level?" .. query)
      return status, body ~= "" and app.json.decode(body)
    end
    local status, body = level "service=svc&level=debug"
    assert.equal(200, status)
    assert.same({ service = "svc", level = "debug", option = "info" }, body)
    child:expect "svc: the log level is debug from now on"
    local one = app.json.decode((select(2, admin.get(url, "/status.json")))).services[1]
    assert.equal("debug", one.level)
    status, body = level("level=reset&service=" .. one.instance)
    assert.equal(200, status)
    assert.equal("info", body.level)
    for _, query in ipairs { "service=svc&level=loud", "service=svc", "level=info" } do
      assert.equal(400, (level(query)), query)
    end
    assert.equal(404, (level "service=other&level=info"))
    assert.equal(405, (admin.get(url, "/log-level?service=svc&level=info")))
    assert.equal(0, child:stop())
  end)

  it("needs the token, --control, and no other page's origin", function()
    local child, url = run()
    assert.equal(403, (post(url, "/log-level?service=svc&level=debug")))
    assert.equal(0, child:stop())
    child, url = run "--control"
    local path = "/log-level?service=svc&level=debug"
    assert.equal(401, (admin.get(url, path, { "-X", "POST" })))
    assert.equal(403, (post(url, path, "-H", "Origin: http://evil.example")))
    assert.equal(0, child:count "the log level is", child:output())
    assert.equal(0, child:stop())
  end)
end)
