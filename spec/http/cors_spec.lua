-- The option cors: what browsers let pages of other origins do.
local process = require "spec.support.process"
local testing = require "lunats.testing"
local web = require "spec.support.web"

after_each(process.close_all)

local function run(source, ...)
  local child = process.run(source, { "--http", "127.0.0.1:0", ... })
  child:expect "started, connected to"
  return child, web.url(child)
end

local function start(cors)
  local svc = testing.start(([[
    app.http.get("/a", { cors = %s }, function() return 1 end)
    app.http.put("/a", { cors = %s }, function() return 2 end)
    app.http.get("/b", function() return 3 end)
  ]]):format(cors, cors))
  finally(function() svc:stop() end)
  return svc
end

local function headers(svc, method, path, origin)
  local res = svc:http(method, path, { headers = { Origin = origin,
    ["Access-Control-Request-Method"] = method == "OPTIONS" and "PUT" or nil,
    ["Access-Control-Request-Headers"] = method == "OPTIONS" and "x-one" or nil } })
  local h = res.headers
  return { res.status, h["access-control-allow-origin"], h["access-control-allow-methods"],
    h["access-control-allow-headers"], h["access-control-max-age"],
    h["access-control-allow-credentials"], h.vary, n = nil }
end

describe("cors", function()
  it("= true lets all pages in, and answers what browsers ask before", function()
    local svc = start "true"
    assert.same({ 200, "*" }, headers(svc, "GET", "/a", "https://x.y"))
    assert.same({ 204, "*", "GET, HEAD, PUT", "x-one" },
      headers(svc, "OPTIONS", "/a", "https://x.y"))
    assert.same({ 200 }, headers(svc, "GET", "/b", "https://x.y"))
    assert.same({ 204 }, headers(svc, "OPTIONS", "/b", "https://x.y"))
  end)

  it("with origins lets these in", function()
    local svc = start '{ origins = { "https://x.y" }, credentials = true, max_age = 60 }'
    local res = svc:http("GET", "/a", { headers = { Origin = "https://x.y" } })
    assert.same({ "https://x.y", "true", "Origin" }, {
      res.headers["Access-Control-Allow-Origin"],
      res.headers["Access-Control-Allow-Credentials"], res.headers.Vary })
    res = svc:http("OPTIONS", "/a", { headers = { Origin = "https://x.y",
      ["Access-Control-Request-Method"] = "PUT" } })
    assert.equal("60", res.headers["Access-Control-Max-Age"])
    res = svc:http("GET", "/a", { headers = { Origin = "https://evil.y" } })
    assert.same({ 200, "Origin" }, { res.status, res.headers.Vary })
    assert.is_nil(res.headers["Access-Control-Allow-Origin"])
  end)

  it("lets pages read what went wrong, too", function()
    local svc = testing.start [[
      app.http.get("/:how", { cors = "https://x.y" }, function(req)
        if req.params.how == "raised" then error { code = 409, message = "taken" } end
        if req.params.how == "returned" then return nil, { code = 404, message = "gone" } end
        return nil, { code = 429, message = "later", retry_after = 2 }
      end)
    ]]
    finally(function() svc:stop() end)
    for how, status in pairs { raised = 409, returned = 404, later = 429 } do
      local res = svc:http("GET", "/" .. how, { headers = { Origin = "https://x.y" } })
      assert.same({ status, "https://x.y", "Origin" }, { res.status,
        res.headers["access-control-allow-origin"], res.headers.vary })
    end
    assert.equal(1, #svc:errors())
  end)

  ---What a page may see of an answer.
  local function shown(res)
    local h = res.headers
    return { res.status, h.vary, h["access-control-allow-origin"],
      h["access-control-allow-credentials"], h["access-control-expose-headers"] }
  end

  local TOO_LONG = [[
    app.http.post("/a", { max_body = 10, cors = { origins = { "https://x.y", "https://z.y" },
      credentials = true, expose = { "X-One", "X-Two" } } }, print)
    app.http.post("/any", { max_body = 10, cors = true }, print)
    app.http.post("/none", { max_body = 10 }, print)
  ]]

  ---@param post function(path, origin) with a body that is too long
  local function refuses(post)
    for _, origin in ipairs { "https://x.y", "https://z.y" } do
      assert.same({ 413, "Origin", origin, "true", "X-One, X-Two" }, shown(post("/a", origin)))
    end
    for _, origin in ipairs { "https://x.yz", "ttps://x.y", "https://x.y https://z.y", "" } do
      assert.same({ 413, "Origin" }, shown(post("/a", origin)))
    end
    assert.same({ 413, nil, "*" }, shown(post("/any", "https://x.y")))
    assert.same({ 413 }, shown(post("/none", "https://x.y")))
    assert.same({ 404 }, { shown(post("/nothing", "https://x.y"))[1] })
  end

  it("lets pages read that a body is too long, before there is a handler", function()
    local svc = testing.start(TOO_LONG)
    finally(function() svc:stop() end)
    refuses(function(path, origin)
      return svc:http("POST", path, { body = ("x"):rep(11), headers = { Origin = origin } })
    end)
    local child, url = run(TOO_LONG)
    refuses(function(path, origin)
      return web.get(url .. path, "-d", ("x"):rep(11), "-H", "Origin: " .. origin)
    end)
    -- Told before the body is sent, as curl asks for with a larger one.
    local large = process.write("large", ("x"):rep(2 * 2^20))
    local res = web.get(url .. "/a", "--data-binary", "@" .. large,
      "-H", "Expect: 100-continue", "-H", "Origin: https://x.y")
    assert.same({ 413, "Origin", "https://x.y", "true", "X-One, X-Two" }, shown(res))
    assert.equal(0, child:stop())
  end)

  it("lets pages read that the service is stopping", function()
    local go = process.path "go"
    local child, url = run(([[
      app.http.get("/a", { cors = "https://x.y" }, function()
        print "asked"
        while not io.open(%q) do app.sleep(0.01) end
      end)
      app.http.post("/large", { cors = "https://x.y", max_body = "4M" }, print)]]):format(go))
    local function get() return web.get(url .. "/a", "-H", "Origin: https://x.y") end
    local running = app.spawn(get)
    child:expect "asked"
    child:signal "TERM"
    child:expect "stopping"
    assert.same({ 503, "Origin", "https://x.y" }, shown(get()))
    local large = process.write("large", ("x"):rep(3 * 2^20))
    assert.same({ 503, "Origin", "https://x.y" }, shown(web.get(url .. "/large",
      "--data-binary", "@" .. large, "-H", "Expect:", "-H", "Origin: https://x.y")))
    assert(io.open(go, "w")):close()
    assert.same({ 204, "Origin", "https://x.y" }, shown(assert(running:await())))
    assert.equal(0, child:wait())
  end)

  it("lets pages read that a handler was cancelled at a stop", function()
    local child, url = run([[
      app.http.get("/a", { cors = "https://x.y" }, function()
        print "asked"
        app.sleep(1000)
      end)]], "--drain-timeout", "0.2")
    local running = app.spawn(function()
      return web.get(url .. "/a", "-H", "Origin: https://x.y")
    end)
    child:expect "asked"
    child:signal "TERM"
    assert.same({ 503, "Origin", "https://x.y" }, shown(assert(running:await())))
    child:wait()
  end)

  it("has no credentials for everybody, and no nonsense", function()
    for source, text in pairs {
      ['{ credentials = true }'] = "credentials need a list of origins",
      ['"x.y"'] = "'x.y' is no origin",
      ['{ origin = "https://x.y" }'] = "origin",
      ['{ origins = { 1 } }'] = "'1' is no origin",
      ['{ max_age = 0 / 0 }'] = "cors: max_age must be a number of seconds",
    } do
      local ok, err = pcall(testing.start,
        ('app.http.get("/a", { cors = %s }, print)\n'):format(source))
      assert.is_false(ok)
      assert.matches(text, err, 1, true)
    end
  end)
end)
