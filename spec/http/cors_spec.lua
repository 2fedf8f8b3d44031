-- The option cors: what browsers let pages of other origins do.
local testing = require "lunats.testing"

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

  it("has no credentials for everybody, and no nonsense", function()
    for source, text in pairs {
      ['{ credentials = true }'] = "credentials need a list of origins",
      ['"x.y"'] = "'x.y' is no origin",
      ['{ origin = "https://x.y" }'] = "origin",
      ['{ origins = { 1 } }'] = "'1' is no origin",
    } do
      local ok, err = pcall(testing.start,
        ('app.http.get("/a", { cors = %s }, print)\n'):format(source))
      assert.is_false(ok)
      assert.matches(text, err, 1, true)
    end
  end)
end)
