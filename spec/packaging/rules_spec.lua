---What packaging/ has for Prometheus and Grafana: each metric that it names is there, each
---expression is one that Prometheus evaluates, alerts fire and resolve.
local admin = require "spec.support.admin"
local eventually = require "spec.support.eventually"
local lfs = require "lfs"
local process = require "spec.support.process"
local prometheus = require "spec.support.prometheus"
local read = require "spec.support.read"

local RULES = "packaging/prometheus/lunats.rules.yml"
local TESTS = "packaging/prometheus/lunats.test.yml"
local DASHBOARD = "packaging/grafana/lunats.json"

---Skipped where there is no Prometheus.
local function test(name, fn)
  if prometheus.found then return it(name, fn) end
  return pending(name .. " (no prometheus, no promtool)")
end

local stop_traffic

after_each(function()
  if stop_traffic then stop_traffic() end
  stop_traffic = nil
  process.close_all()
end)

---Everything in a dashboard that is an expression, by what it belongs to.
local function expressions(dashboard)
  local found = {}
  local function walk(value, title)
    if type(value) ~= "table" then return end
    title = value.title or value.name or title
    if type(value.expr) == "string" then
      found[#found + 1] = { title = title, expr = value.expr }
    end
    for _, inner in pairs(value) do walk(inner, title) end
  end
  walk(dashboard, "")
  return found
end

---A variable as Grafana fills it in when all is chosen.
local function fill(expr)
  return (expr:gsub("%$__rate_interval", "1m"):gsub("%$%a+", ".*"))
end

---The selectors of an expression: 'lunats_x_total{code="200"}'.
local function selectors(expr)
  local found = {}
  for name, braces in expr:gmatch "%f[%w_](lunats_[%w_]+)(%b{})" do
    found[#found + 1] = name .. braces
  end
  for name, after in expr:gmatch "%f[%w_](lunats_[%w_]+)(.?)" do
    if after ~= "{" then found[#found + 1] = name end
  end
  return found
end

---A service in which everything happens that can be counted.
local BUSY = [[
  app.config { name = "orders", version = "1.2.3" }
  app.health("database", { interval = 0.1 }, function() return true end)
  app.listen("spec.fine", { name = "fine" }, function(msg)
    if msg.data.code == 404 then return nil, { code = 404, message = "no" } end
    if msg.data.code == 500 then error "it broke" end
    return 1
  end)
  app.http.get("/orders/:id", function() return 1 end)
  app.timer(0.05, { name = "tick" }, function() end)
  app.timer(0.05, { name = "broken" }, function() error "it broke" end)
  app.leader("sweep", function() end)
  app.cron("0 3 * * *", { name = "report" }, function() end)
  local c = app.metrics.counter { name = "ids_total", help = "Too many.", labels = { "id" } }
  for id = 1, 1001 do c:inc { id = id } end
  app.on_start(function()
    assert(app.js.ensure_stream { name = "S", subjects = { "s.>" } })
    assert(app.js.ensure_stream { name = "DEAD", subjects = { "dead" } })
  end)
  app.task(function()
    local one = app.js.pull_subscribe("s.>", { durable = "hangs" })
    assert(one:consume(function() app.sleep(3600) end))
    local two = app.js.pull_subscribe("s.>", { durable = "fails" })
    assert(two:consume({ max_deliver = 1, dead_letter = "dead" }, function() error "no" end))
    for i = 1, 5 do app.js.publish("s.x", i) end
  end)
]]

---The service, with requests of all kinds all the time.
local function run_busy()
  local server = process.server { args = { "-js", "-sd", process.path "js" } }
  local child = process.run(BUSY, { "--admin", "127.0.0.1:0", "--watch",
    "--drain-timeout", "0", "--http", "127.0.0.1:0" }, { servers = { server.url } })
  child:expect "started, connected to"
  local conn = assert(app.connect { server = server.url })
  local traffic = app.spawn(function()
    while true do
      for _, code in ipairs { 200, 404, 500 } do conn.request("spec.fine", { code = code }) end
      app.sleep(0.02)
    end
  end)
  function stop_traffic()
    traffic:cancel()
    conn.close()
  end
  return child, admin.url(child)
end

local function edit(child, text)
  local file = assert(io.open(child.command[#child.command], "w"))
  file:write(text)
  file:close()
end

describe("the alert rules", function()
  test("are rules for promtool", function()
    local status, output = prometheus.promtool("check", "rules", RULES)
    assert.equal(0, status, output)
    assert.falsy(output:find(" 0 rules found", 1, true))
    status, output = prometheus.promtool("check", "config",
      "packaging/prometheus/prometheus.yml")
    assert.equal(0, status, output)
  end)

  test("fire and resolve", function()
    local status, output = prometheus.promtool("test", "rules", TESTS)
    assert.equal(0, status, output)
  end)

  it("have a test and a section of docs/operations.md each", function()
    local pages, tests = read "docs/operations.md", read(TESTS)
    for name in read(RULES):gmatch "%- alert: (%w+)\n" do
      assert.truthy(tests:find("alertname: " .. name .. "\n", 1, true), name)
      assert.truthy(pages:find("\n#### " .. name .. "\n", 1, true), name)
    end
    for name in read(RULES):gmatch "runbook_url: docs/operations.md#(%w+)\n" do
      assert.truthy(pages:lower():find("\n#### " .. name .. "\n", 1, true), name)
    end
  end)
end)

describe("the dashboard", function()
  local dashboard = app.json.decode(read(DASHBOARD))

  it("can be imported: numbers and places of its panels, its variables", function()
    local taken, ids, variables = {}, {}, {}
    for _, variable in ipairs(dashboard.templating.list) do variables[variable.name] = true end
    assert.same({ datasource = true, job = true, service = true, instance = true }, variables)
    for _, panel in ipairs(dashboard.panels) do
      assert.is_nil(ids[panel.id], panel.title)
      ids[panel.id] = true
      local at = panel.gridPos
      assert.is_true(at.x + at.w <= 24, panel.title)
      for x = at.x, at.x + at.w - 1 do
        for y = at.y, at.y + at.h - 1 do
          local cell = ("%d %d"):format(x, y)
          assert.is_nil(taken[cell], panel.title)
          taken[cell] = true
        end
      end
      if panel.type ~= "row" then
        assert.equal("${datasource}", panel.datasource.uid, panel.title)
        assert.is_true(#panel.targets > 0, panel.title)
      end
    end
    for _, at in ipairs(expressions(dashboard)) do
      for variable in at.expr:gmatch "%$(%a[%w_]*)" do
        assert.is_true(variables[variable], at.title .. ": $" .. variable)
      end
      assert.truthy(at.expr:find('job=~"$job"', 1, true), at.title)
      assert.truthy(at.expr:find('instance=~"$instance"', 1, true), at.title)
    end
  end)

  test("and the rules ask for what a service has", function()
    local child, url = run_busy()
    local server = prometheus.start({ url }, { rules = lfs.currentdir() .. "/" .. RULES })
    server:expect('max(up{job="lunats"})', 1)
    server:expect('lunats_connection_up{service="orders"}', 1)
    edit(child, BUSY .. "-- changed")
    child:expect "orders: reloaded"
    server:expect('lunats_reloads_total{result="ok"}', 1)
    edit(child, "app.config {")
    child:expect "reload failed"
    for _, at in ipairs(expressions(dashboard)) do
      eventually("something in " .. at.title .. ": " .. at.expr, function()
        return #server:query(fill(at.expr)) > 0
      end, 30)
    end
    for _, variable in ipairs(dashboard.templating.list) do
      local selector = (variable.definition or ""):match "^label_values%((.*), %w+%)$"
      assert.is_true(variable.type == "datasource" or #server:query(fill(selector)) > 0,
        variable.name)
    end
    local rules = eventually("an evaluation of all rules", function()
      local list = assert(server:get "rules").groups[1].rules
      for _, rule in ipairs(list) do
        assert.not_equal("err", rule.health, rule.lastError)
        if rule.health ~= "ok" then return nil end
      end
      return list
    end)
    local asked = 0
    for _, rule in ipairs(rules) do
      for _, selector in ipairs(selectors(rule.query)) do
        asked = asked + 1
        eventually(("a sample of %s: %s"):format(rule.name, selector), function()
          return #server:query(selector) > 0
        end, 30)
      end
    end
    assert.is_true(asked >= #rules)
  end)
end)
