-- Routes of app.http: which one a request meets, what its handler gets, what its answer is.
local clean_loop = require "spec.support.clean_loop"
local process = require "spec.support.process"
local testing = require "lunats.testing"
local web = require "spec.support.web"

after_each(process.close_all)

local function start(source, opts)
  local svc = testing.start(source .. "\n", opts)
  finally(function() svc:stop() end)
  return svc
end

---The status, the body as JSON, and all of it.
local function ask(svc, method, path, opts)
  local res = assert(svc:http(method, path, opts))
  return res.status, res.data, res
end

---The first two of them.
local function told(...)
  local status, data = ask(...)
  return { status, data }
end

local function fails(source, text)
  local ok, err = pcall(testing.start, source .. "\n")
  if ok then err:stop() end
  assert.is_false(ok)
  assert.matches(text, tostring(err), 1, true)
end

describe("a route", function()
  it("gets parameters, query, headers and body of a request", function()
    local svc = start [[
      app.http.post("/orders/:id/items/:item", function(req)
        return { req.method, req.path, req.params.id, req.params.item, req.query.q, req.query.r,
          req.query_string, req.headers["X-One"], req.headers["x-one"], req.remote, req.body,
          req.data.a }
      end)]]
    assert.same({ 200, { "POST", "/orders/a%20b/items/c%2Fd", "a b", "c/d", "x y", "",
      "q=x+y&r", "v", "v", "127.0.0.1", '{"a":1}', 1 } },
      told(svc, "POST", "/orders/a%20b/items/c%2Fd?q=x+y&r",
        { json = { a = 1 }, headers = { ["X-One"] = "v" } }))
  end)

  it("is the one whose path says the most, whatever was declared first", function()
    local svc = start [[
      app.http.any("/*", function() return { "rest" } end)
      app.http.get("/:a", function() return { "parameter" } end)
      app.http.get("/b", function() return { "literal" } end)
      app.http.any("/b", function() return { "any" } end)]]
    local function met(method, path) return told(svc, method, path)[2][1] end
    assert.equal("literal", met("GET", "/b"))
    assert.equal("any", met("POST", "/b"))
    assert.equal("parameter", met("GET", "/c"))
    assert.equal("rest", met("POST", "/c"))
    assert.equal("rest", met("GET", "/c/d"))
  end)

  it("that another method has is 405 with Allow, one that nobody has is 404", function()
    local svc = start 'app.http.get("/a", function() end) app.http.put("/a", function() end)'
    local status, data, res = ask(svc, "DELETE", "/a")
    assert.same({ 405, 405, "GET, HEAD, PUT, OPTIONS" },
      { status, data.code, res.headers.allow })
    assert.same({ 404, { code = 404, message = "there is nothing at this path" } },
      told(svc, "GET", "/b"))
  end)

  it("answers HEAD and OPTIONS", function()
    local svc = start 'app.http.get("/a", function(req) return { req.method } end)'
    local head = svc:http("HEAD", "/a")
    assert.same({ 200, "" }, { head.status, head.body })
    local options = svc:http("OPTIONS", "/a")
    assert.same({ 204, "GET, HEAD, OPTIONS" }, { options.status, options.headers.Allow })
    assert.equal(204, svc:http("OPTIONS", "*").status)
  end)

  it("is not met by a malformed path", function()
    local svc = start 'app.http.any("/*", function(req) return req.params["*"] end)'
    for _, path in ipairs { "/%", "/%zz", "/a/../b", "/%2e%2e/b", "/a%00" } do
      assert.equal(400, svc:http("GET", path).status, path)
    end
    assert.equal("a//b c", svc:http("GET", "/a//b%20c").body)
  end)

  it("can be stopped", function()
    local svc = start [[
      local route = app.http.get("/a", function() return 1 end)
      app.http.post("/stop", function() route:stop() end)]]
    assert.equal(200, svc:http("GET", "/a").status)
    assert.equal(204, svc:http("POST", "/stop").status)
    assert.equal(404, svc:http("GET", "/a").status)
  end)

  it("is refused when it is malformed, or there already", function()
    fails('app.http.get("a", print)', "the path 'a' must begin with '/'")
    fails('app.http.get("/*/a", print)', "has something behind '*'")
    fails('app.http.get("/:a/:a", print)', "two parameters with one name")
    fails('app.http.get("/:a", print) app.http.get("/:b", print)', "is declared already, at")
    fails('app.http.get("/a", 1)', "app.http.get: ")
    fails('app.http.get("/a", { max_bdy = 1 }, print)', "max_body")
    fails('app.http.get("/a", { max_body = "1T" }, print)', "max_body is a number of bytes")
    fails('app.http.get("/a", { max_body = "33M" }, print)', "at most 33554432")
    fails('app.http.fetch("/a", print)', "app.http")
  end)
end)

describe("the body of a request", function()
  local svc
  setup(function()
    svc = testing.start [[
      app.http.post("/", function(req) return { data = req.data } end)
      app.http.post("/text", { data_type = "string" }, function(req) return req.data end)
      app.http.post("/unread", function(req) return "fine" end)
    ]]
  end)
  teardown(function() svc:stop() end)

  local function read(opts)
    local status, data = ask(svc, "POST", "/", opts)
    assert.equal(200, status)
    return data.data
  end

  it("is JSON, whatever its type is said to be", function()
    assert.same({ a = { 1, 2 } }, read { json = { a = { 1, 2 } } })
    assert.same({ a = 1 }, read { body = '{"a":1}' })
    assert.same({ a = 1 }, read { body = '{"a":1}', headers = { ["Content-Type"] = "text/x" } })
    assert.same({ a = 1 }, read { body = ' {"a":1}', -- as curl -d has it
      headers = { ["Content-Type"] = "application/x-www-form-urlencoded" } })
    assert.is_nil(read {})
  end)

  it("that is no JSON is the mistake of the client, unless nobody reads it", function()
    local status, data = ask(svc, "POST", "/", { body = "{" })
    assert.equal(400, status)
    assert.equal(400, data.code)
    assert.matches("not JSON", data.message)
    assert.same({}, svc:errors())
    assert.equal(200, svc:http("POST", "/unread", { body = "{" }).status)
  end)

  it("is the text, where the route wants that", function()
    assert.equal("{", svc:http("POST", "/text", { body = "{" }).body)
  end)

  it("may be a form", function()
    assert.same({ ["a b"] = "c&d", e = "" }, read { form = { ["a b"] = "c&d", e = "" } })
    assert.same({ a = "1" }, read { body = "a=1&a=2",
      headers = { ["content-type"] = "application/x-www-form-urlencoded; charset=utf-8" } })
    assert.equal(400, svc:http("POST", "/", { body = "a=%zz",
      headers = { ["content-type"] = "application/x-www-form-urlencoded" } }).status)
  end)

  local function parts(body)
    return { body = body:gsub("\n", "\r\n"),
      headers = { ["Content-Type"] = 'multipart/form-data; boundary="XX"' } }
  end

  it("may be a form with files", function()
    local file = { filename = "x.txt", type = "text/plain", body = "one\r\ntwo" }
    assert.same({ a = "1", f = file }, read(parts [[
--XX
Content-Disposition: form-data; name="a"

1
--XX
Content-Disposition: form-data; name="f"; filename="x.txt"
Content-Type: text/plain

one
two
--XX--
]]))
  end)

  it("that is a form as nobody would write it takes no long time", function()
    local long = ("x"):rep(900000)
    for _, part in ipairs { long, "a: " .. long, (" "):rep(900000), ("a="):rep(450000) } do
      local form = parts("--XX\n" .. part .. "\n\n1\n--XX--")
      assert.equal(400, svc:http("POST", "/", form).status)
    end
    assert.same({}, svc:errors())
  end)

  it("that is a broken form is the mistake of the client", function()
    for _, body in ipairs { "", "--XX", "--XX\n\n1\n--XX--",
      '--XX\nContent-Disposition: form-data; name="a"\n\n1' } do
      assert.equal(body == "" and 200 or 400, svc:http("POST", "/", parts(body)).status, body)
    end
    assert.same({}, svc:errors())
  end)
end)

describe("what a handler returns", function()
  it("is the answer: a value as JSON, a string as text, nil as 204", function()
    local svc = start [[
      app.http.get("/value", function() return { a = 1 } end)
      app.http.get("/text", function() return "héllo" end)
      app.http.get("/number", function() return 7 end)
      app.http.get("/nil", function() end)]]
    local res = svc:http("GET", "/value")
    assert.same({ 200, "application/json", '{"a":1}' },
      { res.status, res.headers["content-type"], res.body })
    res = svc:http("GET", "/text")
    assert.same({ 200, "text/plain; charset=utf-8", "héllo" },
      { res.status, res.headers["content-type"], res.body })
    assert.equal("7", svc:http("GET", "/number").body)
    res = svc:http("GET", "/nil")
    assert.same({ 204, nil, "" }, { res.status, res.headers["content-type"], res.body })
  end)

  it("may be what another service has answered, its error included", function()
    local svc = testing.start([[
      app.http.get("/:what", function(req)
        return app.request("stub." .. req.params.what, "", { timeout = 1 })
      end)
    ]], { stubs = {
      ["stub.value"] = function() return { a = 1 } end,
      ["stub.error"] = function() return nil, { code = 409, message = "taken" } end,
    } })
    finally(function() svc:stop() end)
    assert.same({ 200, { a = 1 } }, told(svc, "GET", "/value"))
    assert.same({ 409, { code = 409, message = "taken" } }, told(svc, "GET", "/error"))
    assert.equal(503, (ask(svc, "GET", "/nobody")))
  end)

  it("may be an error, with a code that HTTP has", function()
    local svc = start [[
      app.http.get("/404", function() return nil, { code = 404, message = "no order" } end)
      app.http.get("/word", function() return nil, { code = "timeout", message = "late" } end)
      app.http.get("/odd", function() return nil, { code = 123, message = "odd" } end)
      app.http.get("/text", function() return nil, "text" end)]]
    assert.same({ 404, { code = 404, message = "no order" } }, told(svc, "GET", "/404"))
    assert.equal(504, (ask(svc, "GET", "/word")))
    assert.equal(500, (ask(svc, "GET", "/odd")))
    assert.same({ 500, { code = 500, message = "text" } }, told(svc, "GET", "/text"))
  end)

  it("that is an error has the headers that the request has, but those of a body", function()
    local svc = start [[
      app.http.get("/:how", function(req)
        req:set_header("X-Request", 1)
        req:set_cookie("seen", "1")
        req:set_header("Content-Type", "text/html")
        req:set_header("ETag", '"1"')
        req:set_header("Retry-After", 7)
        if req.params.how == "later" then
          return nil, { code = 429, message = "later", retry_after = 2 }
        end
        if req.params.how == "raised" then error { code = 409, message = "taken" } end
        if req.params.how == "wrong" then req:set_header("X Y", 1) end
        return nil, { code = 409, message = "taken" }
      end)]]
    for _, how in ipairs { "raised", "returned" } do
      local status, data, res = ask(svc, "GET", "/" .. how)
      assert.same({ 409, "taken", "1", "application/json", 1 }, { status, data.message,
        res.headers["x-request"], res.headers["content-type"], #res.cookies })
      assert.same({ n = 0, "7" }, { n = 0, res.headers["retry-after"], res.headers.etag })
    end
    assert.equal("2", select(3, ask(svc, "GET", "/later")).headers["retry-after"])
    assert.equal(409, (ask(svc, "GET", "/wrong")))
    assert.equal(2, #svc:errors())
    clean_loop.expected_errors(0, 2)
  end)

  it("that is an error has all of them, however many there are", function()
    local source = [[
      app.http.get("/:how", function(req)
        for i = 1, 200 do req:set_header("X-" .. i, "v" .. i) end
        if req.params.how == "raised" then error { code = 409, message = "taken" } end
        return nil, { code = 409, message = "taken", retry_after = 2 }
      end)]]
    local svc = start(source)
    local child = process.run(source, { "--http", "127.0.0.1:0" })
    child:expect "started, connected to"
    local url = web.url(child)
    for _, how in ipairs { "/raised", "/returned" } do
      for _, res in ipairs { select(3, ask(svc, "GET", how)), (web.get(url .. how)) } do
        assert.equal(409, res.status)
        for i = 1, 200 do assert.equal("v" .. i, res.headers["x-" .. i]) end
      end
    end
    assert.equal(1, #svc:errors())
    assert.equal(0, child:stop())
  end)

  it("may have a status, headers and a body of its own", function()
    local svc = start [[
      app.http.post("/", function(req)
        req:set_header("X-Request", 1)
        local headers = { Location = "/7", ["X-A"] = { 1, "b" } }
        return app.http.response { status = 201, headers = headers, body = { id = 7 } }
      end)
      app.http.get("/", function() return app.http.response { status = 304 } end)
      app.http.get("/html", function()
        return app.http.response { headers = { ["content-type"] = "text/html" }, body = "<p>" }
      end)]]
    local status, data, res = ask(svc, "POST", "/")
    assert.same({ 201, { id = 7 } }, { status, data })
    assert.same({ "/7", "1, b", "1", "application/json" }, { res.headers.location,
      res.headers["X-A"], res.headers["x-request"], res.headers["content-type"] })
    assert.equal(304, svc:http("GET", "/").status)
    res = svc:http("GET", "/html")
    assert.same({ 200, "text/html", "<p>" },
      { res.status, res.headers["Content-Type"], res.body })
  end)

  it("must be a response that can be sent", function()
    for _, fields in ipairs { "{ status = 100 }", "{ status = 204, body = 1 }",
      "{ status = 20.5 }", "{ stream = 1 }",
      "{ body = 1, stream = print }", "{ header = {} }", "1",
      '{ headers = { ["a b"] = 1 } }', '{ headers = { a = "b\\r\\nc: d" } }',
      '{ headers = { a = {} , b = true } }', '{ headers = { ["Content-Length"] = 1 } }',
      '{ headers = { connection = "close" } }', '{ body = print }' } do
      local svc = testing.start(
        ('app.http.get("/", function() return app.http.response(%s) end)\n'):format(fields))
      local status, data = ask(svc, "GET", "/")
      assert.equal(500, status, fields)
      assert.equal("string", type(data.message))
      assert.equal(1, #svc:errors(), fields)
      svc:stop()
    end
  end)

  it("has the values of a list, and not as many as its length says", function()
    local svc = start [[
      local lying = require "spec.support.lying_list"
      app.http.get("/:bits", function(req)
        local list = lying((1 << tonumber(req.params.bits)) - 1)
        return app.http.response { headers = { a = { "a", "b" }, b = list }, body = 1 }
      end)]]
    for _, bits in ipairs { 30, 59, 60, 61, 62 } do
      local status, data = ask(svc, "GET", "/" .. bits)
      assert.equal(500, status)
      assert.matches("header b: a string, a number or a list", data.message, 1, true)
    end
    assert.equal(5, #svc:errors())
    clean_loop.expected_errors(0, 5)
  end)

  it("that is raised is logged, and told as 500 or its code", function()
    local svc = start [[
      app.http.get("/raise", function() error "boom" end)
      app.http.get("/code", function() error { code = 422, message = "no" } end)
      app.http.get("/json", function() return { print } end)]]
    local status, data = ask(svc, "GET", "/raise")
    assert.equal(500, status)
    assert.matches("boom", data.message)
    assert.equal(422, (ask(svc, "GET", "/code")))
    assert.equal(500, (ask(svc, "GET", "/json")))
    local errors = svc:errors()
    assert.equal(3, #errors)
    assert.matches("^HTTP GET /raise: .*boom.*stack traceback", errors[1])
    clean_loop.expected_errors(0, 3)
  end)
end)

describe("cookies", function()
  it("are read and set", function()
    local svc = start [[
      app.http.get("/", function(req)
        req:set_cookie("id", "7")
        req:set_cookie("theme", "dark", { max_age = 60, path = "/a", domain = "x.y",
          secure = true, http_only = false, same_site = "none" })
        return req.cookies
      end)]]
    local _, data, res = ask(svc, "GET", "/", { headers = {
      Cookie = 'a=1; b="2" ; a=3;c=; no; =x; d=e=f ' } })
    assert.same({ a = "1", b = "2", c = "", d = "e=f" }, data)
    assert.same({ "id=7; Path=/; SameSite=Lax; HttpOnly",
      "theme=dark; Path=/a; SameSite=None; Domain=x.y; Max-Age=60; Secure" }, res.cookies)
  end)

  it("are refused when they would be something else", function()
    for _, arguments in ipairs { '"a b", "1"', '"a", "1;2"', '"a", "1", { path = "/;x" }',
      '"a", "1", { same_site = "no" }', '"a", 1', '"a", "1", { maxage = 1 }',
      '"a", "1", { max_age = 0 / 0 }', '"a", "1", { max_age = math.huge }' } do
      local svc = testing.start(
        ('app.http.get("/", function(req) req:set_cookie(%s) end)\n'):format(arguments))
      assert.equal(500, svc:http("GET", "/").status, arguments)
      local errors = svc:errors()
      assert.equal(1, #errors)
      assert.matches("req:set_cookie: ", errors[1])
      svc:stop()
    end
  end)
end)

describe("a query", function()
  it("has the first of each name, and all of them on demand", function()
    local svc = start [[
      app.http.get("/", function(req)
        return { req.query, req:query_all "a", req:query_all "z" }
      end)]]
    local _, data = ask(svc, "GET", "/?a=1&b=%26&a=2&&=x")
    assert.same({ { a = "1", b = "&", [""] = "x" }, { "1", "2" }, {} }, data)
    assert.equal(400, svc:http("GET", "/?a=%").status)
  end)
end)

describe("a schema", function()
  it("is kept by what a route takes and returns", function()
    local svc = start [[
      app.http.post("/", { schema = { request = { type = "object", required = { "n" } },
        response = { type = "integer" } } }, function(req)
        if req.data.n == 3 then return app.http.response { body = "no integer" } end
        return req.data.n
      end)]]
    assert.equal("1", svc:http("POST", "/", { json = { n = 1 } }).body)
    local status, data = ask(svc, "POST", "/", { json = {} })
    assert.equal(400, status)
    assert.matches('invalid request: .*"n"', data.message)
    assert.equal(500, svc:http("POST", "/", { json = { n = "x" } }).status)
    assert.matches("the result breaks the schema", svc:errors()[1])
    assert.equal("no integer", svc:http("POST", "/", { json = { n = 3 } }).body)
    fails('app.http.get("/", { schema = { request = { type = "x" } } }, print)',
      "app.http.get: schema.request")
  end)
end)

describe("middleware", function()
  it("is around routes, files and events", function()
    local svc = start [[
      app.use("http", function(ctx, next)
        if ctx.req.headers.key ~= "k" then return nil, { code = 401, message = "no" } end
        ctx.user = "anna"
        return next(ctx)
      end)
      app.http.get("/a", { cors = true }, function(_, ctx) return ctx.user end)
      app.http.files("/etc", "/etc")
      app.http.events("/events", function(send) send "x" end)]]
    for _, path in ipairs { "/a", "/etc/hostname", "/events" } do
      assert.equal(401, svc:http("GET", path).status, path)
      local res = svc:http("GET", path, { headers = { Key = "k" } })
      assert.equal(200, res.status, path)
    end
    assert.equal("anna", svc:http("GET", "/a", { headers = { Key = "k" } }).body)
    assert.equal(204, svc:http("OPTIONS", "/a", { headers = { Origin = "http://x" } }).status)
  end)
end)

describe("handlers of app.http", function()
  it("may wait, many at a time", function()
    local svc = start([[
      app.http.get("/", function() app.sleep(1) return "slept" end)]], { clock = "manual" })
    local all = {}
    for i = 1, 20 do all[i] = app.spawn(function() return svc:http("GET", "/").body end) end
    app.sleep(0)
    svc:advance(1)
    for i = 1, 20 do assert.equal("slept", all[i]:await()) end
  end)

  it("with a body that is too long are 413 without a port, too", function()
    local svc = start [[
      app.http.post("/", { max_body = 10 }, function(req) return { bytes = #req.body } end)
      app.http.post("/large", function(req) return { bytes = #req.body } end)]]
    local large = ("x"):rep(2 ^ 20)
    assert.same({ 200, { bytes = 10 } }, told(svc, "POST", "/", { body = "0123456789" }))
    local res = svc:http("POST", "/", { body = "01234567890" })
    assert.same({ 413, '{"code":413,"message":"the body is too long"}' },
      { res.status, res.body })
    assert.equal(413, svc:http("POST", "/", { json = { title = "Emma" } }).status)
    assert.same({ 200, { bytes = #large } }, told(svc, "POST", "/large", { body = large }))
    assert.equal(413, svc:http("POST", "/large", { body = large .. "x" }).status)
    assert.equal(413, svc:http("POST", "/nowhere", { body = large .. "x" }).status)
    assert.equal(404, svc:http("POST", "/nowhere", { body = large }).status)
  end)

  it("are cancelled when the client has gone", function()
    local svc = start [[
      ended = "no"
      app.http.get("/", function()
        local _ <close> = setmetatable({}, { __close = function() ended = "yes" end })
        app.sleep(100)
      end)
      app.http.get("/ended", function() return ended end)]]
    local res, err = svc:http("GET", "/", { timeout = 0.05 })
    assert.is_nil(res)
    assert.equal("timeout", err.code)
    assert.equal("yes", svc:http("GET", "/ended").body)
  end)

  it("of the old version end after a reload, new requests meet the new one", function()
    local go = false
    local svc = testing.start([[
      app.http.get("/a", function() return app.request("stub.gate").data end)
    ]], { stubs = { ["stub.gate"] = function()
      while not go do app.sleep(0.001) end
      return '"old"'
    end } })
    finally(function() svc:stop() end)
    local old = app.spawn(function() return svc:http("GET", "/a").body end)
    svc:expect "stub.gate"
    assert(svc:reload 'app.http.get("/a", function() return "new" end)\n')
    assert.equal("new", svc:http("GET", "/a").body)
    go = true
    assert.equal("old", old:await())
  end)

  it("are closed with the version when a reload fails, which changes nothing", function()
    local svc = start 'app.http.get("/a", function() return "old" end)'
    local ok = svc:reload('app.http.get("/a", function() return "new" end) error "no"\n')
    assert.is_nil(ok)
    assert.equal("old", svc:http("GET", "/a").body)
  end)
end)
