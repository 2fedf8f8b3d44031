-- The page at / of the admin port, and what it is made of, /status.json. What is seen is looked
-- at in a headless Chromium, where there is one; its pictures are in build/pictures.
local admin = require "spec.support.admin"
local browser = require "spec.support.browser"
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local testing = require "lunats.testing"

local TOKEN = "0123456789abcdef0123456789abcdef"

after_each(process.close_all)

local function token_file()
  local path = process.write("token", TOKEN)
  os.execute("chmod 600 " .. path)
  return path
end

---A service with an admin port.
local function run(source, opts, ...)
  local child = process.run(source, { "--admin", "127.0.0.1:0", ... }, opts)
  child:expect "started, connected to"
  return child, admin.url(child)
end

local function run_controlled(source)
  return run(source, nil, "--control", "--admin-token", token_file())
end

local function status(url, query)
  local code, body = admin.get(url, "/status.json" .. (query or ""))
  assert.equal(200, code)
  return app.json.decode(body), #body
end

---Waits for a status of which `look` says something.
local function expect_status(url, what, look)
  return eventually(what, function() return look(status(url)) end)
end

local function ask(subject, data)
  local conn = assert(app.connect { server = testing.server_url(), connect_timeout = 15 })
  conn.request(subject, data or "")
  conn.close()
end

-- ---- without a browser -----------------------------------------------------

describe("the page", function()
  it("is what browsers get at /, and a list is what others get", function()
    local child, url = run 'app.listen("spec.page", print)'
    local code, list, headers = admin.get(url, "/")
    assert.equal(200, code)
    assert.matches("^text/plain", headers["content-type"])
    assert.matches("POST /reload", list)
    local page
    code, page, headers = admin.get(url, "/", { "-H", "Accept: text/html,*/*;q=0.8" })
    assert.equal(200, code)
    assert.matches("^text/html", headers["content-type"])
    assert.matches("^<!doctype html>", page)
    assert.equal("nosniff", headers["x-content-type-options"])
    assert.equal("DENY", headers["x-frame-options"])
    assert.is_nil(headers["set-cookie"])
    local policy = headers["content-security-policy"]
    for _, part in ipairs { "default%-src 'none'", "script%-src 'sha256%-[%w+/=]+';",
      "style%-src 'sha256%-[%w+/=]+';", "frame%-ancestors 'none'", "base%-uri 'none'",
      "form%-action 'none'", "trusted%-types 'none'" } do
      assert.matches(part, policy)
    end
    assert.is_nil(policy:find("unsafe", 1, true))
    assert.is_nil(page:gsub('xmlns=.http://www.w3.org/2000/svg.', '')
      :gsub('"http://www.w3.org/2000/svg"', ""):find("https?://"), "nothing from outside")
    assert.equal(0, child:stop())
  end)

  it("is not framed, and neither is anything else", function()
    local child, url = run 'app.listen("spec.page", print)'
    local _, _, headers = admin.get(url, "/status.json")
    assert.equal("default-src 'none'; frame-ancestors 'none'",
      headers["content-security-policy"])
    assert.equal("DENY", headers["x-frame-options"])
    assert.equal("no-store", headers["cache-control"])
    assert.equal(0, child:stop())
  end)
end)

describe("/status.json", function()
  it("has services, listeners, timers, and the log", function()
    local child, url = run [[
      app.config { version = "1.2.3", description = "says hello" }
      app.listen("spec.page.hello", { queue = "q" }, function() return 1 end)
      app.timer(60, { name = "tick" }, function() end)
      app.task({ name = "once" }, function() app.sleep(1000) end)
      app.health("well", function() return true end)
    ]]
    ask "spec.page.hello"
    local seen = expect_status(url, "a request", function(all)
      return all.services[1].requests == 1 and all
    end)
    local one = seen.services[1]
    assert.equal("svc", one.name)
    assert.equal("1.2.3", one.version)
    assert.equal("says hello", one.description)
    assert.equal("running", one.state)
    assert.is_true(one.connected)
    assert.is_true(seen.ready)
    assert.is_false(seen.control)
    local listener = one.listeners[1]
    assert.equal("spec.page.hello", listener.subject)
    assert.equal("q", listener.queue)
    assert.equal(1, listener.requests)
    assert.equal(#seen.bounds_ns + 1, #listener.buckets)
    assert.equal("timer tick", one.tasks.timers[1].label)
    assert.equal(1, one.tasks.timers[1].ticks)
    assert.is_true(one.tasks.timers[1].due > 50)
    assert.equal("task once", one.tasks.timers[2].label)
    assert.equal("well", one.checks[1].name)
    assert.is_true(seen.resident_bytes > 1e6)
    local last = seen.log.lines[#seen.log.lines]
    assert.equal("svc", last.service)
    assert.matches("^started, connected to", last.text)
    assert.equal("info", last.level)
    assert.equal(0, #status(url, "?log=" .. seen.log.last).log.lines)
    assert.equal(0, child:stop())
  end)

  it("has the last errors with their tracebacks, and counts those of one kind", function()
    local child, url = run [[
      app.listen("spec.page.fail", function(msg) error("no order " .. msg.data) end)
      app.listen("spec.page.other", function(msg) error "another one" end)
    ]]
    for i = 1, 3 do ask("spec.page.fail", tostring(i)) end
    local seen = expect_status(url, "three errors", function(all)
      local one = all.errors.list[1]
      return one and one.count == 3 and all
    end)
    assert.equal(1, #seen.errors.list)
    local one = seen.errors.list[1]
    assert.equal("svc", one.service)
    assert.matches("svc.lua:1: no order 3\nstack traceback:\n.*svc.lua:1:", one.text)
    assert.is_true(one.last_at > one.first_at)
    ask "spec.page.other"
    eventually("the other one alone", function()
      local list = status(url, "?errors=" .. seen.errors.last).errors.list
      return #list == 1 and list[1].text:find("another one", 1, true)
    end)
    child:stop()
  end)

  it("has the connections of app.connect", function()
    local far = process.server {}
    local child, url = run(([[
      app.task(function()
        local far = app.connect { server = %q, name = "far" }
        local none = app.connect { server = "nats://127.0.0.1:1", retry = true }
        far.publish("x", 1)
        app.sleep(1000)
        return none
      end)]]):format(far.url))
    local one = expect_status(url, "both", function(all)
      local found = all.services[1].connections
      return #found == 2 and found[2].why ~= app.json.null and found[1].out_msgs == 1 and found
    end)
    assert.equal("far", one[1].name)
    assert.is_true(one[1].connected)
    assert.equal(far.url, one[1].server)
    assert.equal("nats://127.0.0.1:1", one[2].name)
    assert.is_false(one[2].connected)
    assert.matches("refused", one[2].why)
    child:stop()
  end)

  it("stays small, however much there is", function()
    local child, url = run [[
      for i = 1, 1000 do
        app.listen("spec.page.many." .. i, function() error(("x"):rep(10000) .. "\n" .. ("%s")
          :format(("y"):rep(i))) end)
        app.timer(1000, { name = ("n"):rep(1000) .. i }, print)
      end
      app.on_start(function()
        for i = 1, 3000 do app.log.info(("z"):rep(5000)) end
      end)
    ]]
    for i = 901, 930 do ask("spec.page.many." .. i) end
    local seen, size = status(url)
    local one = seen.services[1]
    assert.equal(1000, one.listener_count)
    assert.equal(200, #one.listeners)
    assert.equal(30, one.requests)
    local busy = 0
    for _, listener in ipairs(one.listeners) do busy = busy + listener.requests end
    assert.equal(30, busy, "those that have something to do are among them")
    assert.equal(1000, one.tasks.count)
    assert.equal(100, #one.tasks.timers)
    assert.is_true(#seen.errors.list <= 20)
    assert.is_true(#seen.log.lines <= 200)
    assert.is_true(size < 600000, size)
    local _, next_size = status(url, ("?log=%d&errors=%d"):format(seen.log.last,
      seen.errors.last))
    assert.is_true(next_size < 150000, next_size)
    child:stop()
  end)

  it("tells how far behind a consumer is", function()
    local server = process.server { args = { "-js", "-sd", process.path "js" } }
    local child, url = run([[
      app.on_start(function()
        assert(app.js.ensure_stream { name = "S", subjects = { "s.>" } })
        for i = 1, 5 do assert(app.js.publish("s.a", i)) end
      end)
      app.task(function()
        local psub = app.js.pull_subscribe("s.>", { durable = "slow" })
        local first = psub:fetch(2)
        app.sleep(1000)
      end)
    ]], { servers = { server.url } })
    local one = expect_status(url, "its lag", function(all)
      local consumer = all.services[1].consumers[1]
      return consumer and consumer.ack_pending == 2 and consumer
    end)
    assert.equal("S", one.stream)
    assert.equal("slow", one.consumer)
    assert.equal("ok", one.state)
    assert.equal(3, one.pending)
    child:stop()
  end)
end)

-- ---- in a browser ----------------------------------------------------------

local seen = browser.missing and function(name)
  pending(("%s (needs %s)"):format(name, browser.missing))
end or it

local LIVE = "document.getElementById('live').textContent === 'live'"

describe("in a browser the page", function()
  seen("shows all there is, on a desk and on a phone, in light and in dark", function()
    local server = process.server { args = { "-js", "-sd", process.path "js" } }
    local child, url = run([[
      app.config { name = "orders", version = "1.4.2", description = "<b>Takes</b> orders" }
      app.listen("orders.create", function(msg)
        app.sleep(0.01 * math.random())
        if math.random() < 0.1 then error "<script>document.title = 'broken'</script>" end
        return 1
      end)
      app.listen("orders.*.cancel", { name = "<img src=x onerror=alert(1)>" }, function() end)
      app.timer(0.05, { name = "load" }, function() app.request("orders.create", 1) end)
      app.timer(0.3, { name = "more" }, function()
        app.publish("orders.7.cancel", 1)
        app.log.warn("stock is low", { article = "</div><i>" })
      end)
      app.on_start(function()
        assert(app.js.ensure_stream { name = "S", subjects = { "s.>" } })
        for i = 1, 20 do assert(app.js.publish("s.a", i)) end
      end)
      app.task(function()
        local audit = app.connect { server = app.nats.connected_url, name = "audit" }
        app.sleep(1000)
        audit.close()
      end)
      app.task({ name = "shipper" }, function()
        app.js.pull_subscribe("s.>", { durable = "shipper" }):consume({ concurrency = 1 },
          function() app.sleep(2) end)
        app.sleep(1000)
      end)
    ]], { servers = { server.url } }, "--control", "--admin-token", token_file())
    local steps = {
      { "screen", 1280, 900, "light" },
      { "open", url .. "/" },
      { "wait", LIVE .. " && document.querySelectorAll('.log .text').length > 5"
        .. " && document.querySelector('#errors details') !== null"
        .. " && document.querySelector('.chart .line.s0').getAttribute('d').length > 80" },
      { "picture", browser.picture "desk-light" },
      { "screen", 1280, 900, "dark" },
      { "picture", browser.picture "desk-dark" },
      { "screen", 390, 844, "light" },
      { "wait", "document.querySelector('.chart svg').viewBox.baseVal.width < 390" },
      { "picture", browser.picture "phone-light" },
      { "screen", 390, 844, "dark" },
      { "picture", browser.picture "phone-dark" },
      { "evaluate", "document.documentElement.scrollWidth" },
      { "evaluate", "document.body.innerText" },
      { "evaluate", "document.querySelectorAll('main img, main script, main i').length"
        .. " + (document.title.includes('broken') ? 1 : 0)" },
      { "complaints" },
    }
    local page = browser.start(steps)
    assert.same({}, page:finish())
    assert.equal(390, page:step(12), "nothing sticks out on a phone")
    local text = page:step(13)
    for _, part in ipairs { "orders", "<b>Takes</b> orders", "version 1.4.2",
      "<img src=x onerror=alert(1)>", "<script>document.title = 'broken'</script>",
      "timer load", "task shipper", "audit", "stream S", "stock is low article=</div><i>",
      "p95", "ready" } do
      assert.is_truthy(text:find(part, 1, true), part .. " is missing in:\n" .. text)
    end
    assert.equal(0, page:step(14), "what scripts say is text")
    child:stop()
  end)

  seen("goes on by itself, also after the process has hung, or was away", function()
    local child, url = run 'app.listen("spec.page.live", function() return 1 end)'
    local steps = {
      { "open", url .. "/" },
      { "wait", LIVE },
      { "wait", "document.querySelector('td[data-label=Requests]').textContent === '1'" },
      { "wait", "document.getElementById('live').textContent === 'lost'" },
      { "wait", LIVE },
      { "wait", "!document.getElementById('lost').hidden"
        .. " && document.getElementById('lost').textContent" },
      { "picture", browser.picture "lost" },
      { "wait", LIVE .. " && document.getElementById('lost').hidden"
        .. " && document.querySelector('td[data-label=Requests]').textContent === '0'" },
      { "evaluate", "document.querySelectorAll('#services section').length" },
    }
    local page = browser.start(steps)
    page:step(2)
    ask "spec.page.live"
    page:step(3)
    child:signal "STOP"
    page:step(4)
    child:signal "CONT"
    page:step(5)
    child:stop()
    assert.matches("No answer from the process for %d+ s", page:step(7) and page:step(6))
    child = process.run('app.listen("spec.page.live", function() return 1 end)',
      { "--admin", url:match "//(.*)" })
    assert.equal(1, page:finish())
    child:stop()
  end)

  seen("asks nothing while nobody looks", function()
    local child, url = run 'app.listen("spec.page.live", function() return 1 end)'
    local function hide(hidden)
      return { "evaluate", ("Object.defineProperty(document, 'hidden', "
        .. "{ value: %s, configurable: true }); "
        .. "document.dispatchEvent(new Event('visibilitychange')); asked = 0"):format(hidden) }
    end
    local page = browser.start {
      { "open", url .. "/" },
      { "wait", LIVE },
      { "evaluate", "asked = 0; real = fetch; fetch = (...all) => (asked++, real(...all)); 0" },
      { "wait", "asked > 1" },
      hide "true",
      { "evaluate", "new Promise((done) => setTimeout(() => done(asked), 2500))" },
      hide "false",
      { "wait", "asked > 1" },
    }
    page:finish()
    assert.is_true(page:step(6) <= 0, "requests while it was hidden")
    child:stop()
  end)

  seen("reloads a service and sets its level, for those who know the token", function()
    local child, url = run_controlled 'app.listen("spec.page.tools", function() return 1 end)'
    local toast = "!document.getElementById('toast').hidden"
      .. " && document.getElementById('toast').textContent"
    local press = { "evaluate", "document.querySelector('#services .tools button').click()" }
    local page = browser.start {
      { "screen", 1000, 700, "light" },
      { "open", url .. "/" },
      { "wait", LIVE .. " && document.querySelector('#services .tools:not([hidden])')" },
      press,
      { "wait", "document.activeElement.id === 'token'" },
      { "type", "not-the-token-at-all" },
      { "key", "Enter", "\r" },
      { "wait", "document.getElementById('ask').open"
        .. " && document.getElementById('ask-error').textContent" },
      { "picture", browser.picture "token", true },
      { "type", TOKEN },
      { "key", "Enter", "\r" },
      { "wait", toast },
      { "evaluate", "document.cookie + Object.keys(localStorage).length"
        .. " + sessionStorage.getItem('lunats-token')" },
      { "evaluate", "document.getElementById('toast').hidden = true" },
      { "evaluate", "{ const level = document.querySelector('#services .tools select');"
        .. " level.value = 'debug'; level.dispatchEvent(new Event('change')); }" },
      { "wait", toast },
      { "complaints" },
    }
    local complaints = page:finish()
    assert.equal(1, #complaints, "that of the browser about the status 401")
    assert.matches("401", complaints[1])
    assert.equal("This is not the token.", page:step(8))
    assert.equal("svc reloaded", page:step(12))
    assert.equal("0" .. TOKEN, page:step(13), "only in the storage of the tab")
    assert.equal("svc logs from debug on", page:step(16))
    assert.equal("debug", status(url).services[1].level)
    assert.equal(1, status(url).services[1].reloads)
    child:stop()
  end)

  seen("can be used without a mouse, and by what reads it aloud", function()
    local child, url = run [[
      app.listen("spec.page.keys", function() error "x" end)
    ]]
    ask "spec.page.keys"
    local nameless = "[...document.querySelectorAll('button, input, select, summary, a, table, "
      .. "[role=img]')].filter((one) => one.checkVisibility() && !(one.labels?.length)"
      .. " && !one.textContent.trim() && !one.getAttribute('aria-label'))"
      .. ".map((one) => one.outerHTML)"
    local page = browser.start {
      { "open", url .. "/" },
      { "wait", LIVE .. " && document.querySelector('#errors details') !== null" },
      { "key", "Tab" },
      { "evaluate", "document.activeElement.textContent" },
      { "evaluate", "document.querySelector('#errors summary').focus()" },
      { "key", "Enter", "\r" },
      { "wait", "document.querySelector('#errors details').open" },
      { "evaluate", nameless },
      { "evaluate", "document.querySelector('h1, h2, h3').tagName" },
      { "evaluate", "document.documentElement.lang"
        .. " + document.querySelectorAll('main').length" },
      { "evaluate", "document.querySelector('.chart svg').getAttribute('aria-label')" },
    }
    assert.matches("^Per second: requests ", page:finish())
    assert.equal("Skip to content", page:step(4))
    assert.same({}, page:step(8))
    assert.equal("H1", page:step(9))
    assert.equal("en1", page:step(10))
    child:stop()
  end)
end)
