-- Requests of HTTP that scripts make: what is sent, what comes back, and all that can go wrong.
local eventually = require "spec.support.eventually"
local http_server = require "spec.support.http_server"
local own = require "spec.support.own"
local process = require "spec.support.process"

local request = app.http.request

-- The first one makes the client, which has a timer for as long as this script runs.
setup(function() request { url = "http://127.0.0.1:1/" } end)

describe("app.http.request", function()
  local server

  setup(function() server = http_server.start() end)
  teardown(process.close_all)
  after_each(own.close)

  local function url(path) return server.url .. path end

  ---What the server has got.
  local function sent(opts)
    opts.url = opts.url or url "/echo"
    return assert(request(opts)).data
  end

  ---The code of its error, which it must have.
  local function fails(opts, code, pattern)
    local res, err = request(opts)
    assert.is_nil(res)
    assert.equal(code, err.code, tostring(err))
    assert.matches(pattern, tostring(err))
    assert.matches(pattern, err.detail)
    return err
  end

  ---Half an answer comes at once, or somewhat later from a server of a busy machine.
  local function gives_up_on_half(stream)
    eventually("half an answer", function()
      local opts = { url = url "/half", timeout = 0.2, stream = stream }
      return fails(opts, "timeout", ".").detail:find "not all of the answer"
    end)
  end

  it("returns status, headers and body", function()
    local res = assert(request { url = url "/echo?a=1" })
    assert.equal(200, res.status)
    assert.is_true(res.ok)
    assert.equal(url "/echo?a=1", res.url)
    assert.equal("application/json", res.headers["content-type"])
    assert.equal("1", res.headers["X-ONE"])
    assert.is_nil(res.headers.other)
    assert.matches('^{"method": "GET"', res.body)
    assert.equal("GET", res.data.method)
    assert.equal("/echo?a=1", res.data.path)
    assert.matches("^lunats/%d", res.data.headers["user-agent"][1])
    assert.is_nil(res.data.headers["content-type"])
  end)

  it("ends when the server goes without having read what was sent", function()
    local run = app.spawn(request, { url = url "/hasty/200000", method = "POST",
      body = ("x"):rep(100000), timeout = 20 })
    app.sleep(0.01)
    os.execute "sleep 0.3" -- meanwhile all of the answer comes, and then an error of the socket
    local began = app.now()
    local res, err = run:await()
    assert.is_true(app.now() - began < 10, tostring(err))
    assert.equal(res and 200000 or "disconnected", res and #res.body or err.code)
  end)

  it("returns a status of failure as it is", function()
    local res = assert(request { url = url "/status/404" })
    assert.equal(404, res.status)
    assert.is_false(res.ok)
    assert.equal("status 404", res.data.error)
    res = assert(request { url = url "/status/204" })
    assert.is_true(res.ok)
    assert.equal("", res.body)
    assert.is_nil(res.data)
  end)

  it("joins headers of one name, but for cookies, and leaves early hints out", function()
    local headers = assert(request { url = url "/headers" }).headers
    assert.same({ ["x-twice"] = "a, b", ["set-cookie"] = { "a=1", "b=2, c" }, ["x-empty"] = "",
      ["x-blank"] = "x y", ["content-length"] = "2" }, setmetatable(headers, nil))
  end)

  it("has the body as text where it is no JSON", function()
    local res = assert(request { url = url "/text/hello" })
    assert.equal("hello", res.body)
    local ok, err = pcall(function() return res.data end)
    assert.is_false(ok)
    assert.equal("bad_json", err.code)
    assert.matches("GET http://127.*/text/hello: the answer %(status 200%) is not JSON",
      tostring(err))
    res = assert(request { url = url "/text/hello", data_type = "string" })
    assert.equal("hello", res.data)
  end)

  for _, case in ipairs {
    { "/echo", { b = 2, a = "x y&=ü" }, "a=x%20y%26%3D%C3%BC&b=2" },
    { "/echo?z=1", { a = { 1, true } }, "z=1&a=1&a=true" },
    { "/echo#part", { a = 1 }, "a=1" },
    { "/echo", "ready=made", "ready=made" },
    { "/echo", {}, "" },
  } do
    it(("adds a query to %s: %s"):format(case[1], case[3]), function()
      assert.equal(case[3], sent({ url = url(case[1]), query = case[2] }).query)
    end)
  end

  for name, case in pairs {
    ["a string"] = { { body = "a\0b" }, "POST", "a\0b", nil },
    ["an empty string"] = { { body = "" }, "POST", "", nil },
    ["JSON"] = { { json = { a = { 1 } } }, "POST", '{"a":[1]}', "application/json" },
    ["false as JSON"] = { { json = false, method = "put" }, "PUT", "false",
      "application/json" },
    ["a form"] = { { form = { b = "1+1", a = 2 } }, "POST", "a=2&b=1%2B1",
      "application/x-www-form-urlencoded" },
    ["JSON under another name"] = { { json = 1, headers = { ["content-type"] = "a/b" } },
      "POST", "1", "a/b" },
    ["a long one, at once"] = { { body = ("x"):rep(300000), method = "QUERY" }, "QUERY",
      ("x"):rep(300000), nil },
    ["none, of a POST"] = { { method = "POST" }, "POST", "", nil },
    ["one with DELETE"] = { { method = "DELETE", body = "x" }, "DELETE", "x", nil },
  } do
    it("sends " .. name .. " as its body", function()
      local got = sent(case[1])
      assert.equal(case[2], got.method)
      assert.equal(case[3], got.body)
      assert.same(case[4] and { case[4] } or nil, got.headers["content-type"])
      assert.same({ tostring(#case[3]) }, got.headers["content-length"])
      assert.is_nil(got.headers.expect)
    end)
  end

  it("sends headers, also several of one name and empty ones", function()
    local headers = sent({ headers = { ["X-A"] = { "1", 2 }, ["X-Empty"] = "", Host = "other",
      ["X-Trim"] = " x " } }).headers
    assert.same({ "1", "2" }, headers["x-a"])
    assert.same({ "" }, headers["x-empty"])
    assert.same({ "x" }, headers["x-trim"])
    assert.same({ "other" }, headers.host)
  end)

  for name, length in pairs { ["in chunks"] = false, ["with its length"] = 200000 } do
    it("sends a body that is a function, " .. name, function()
      local left = 20
      local got = sent { length = length or nil, body = function()
        app.sleep(0)
        left = left - 1
        return left >= 0 and ("%02d"):format(left):rep(5000) or nil
      end }
      assert.equal("POST", got.method)
      assert.equal(200000, #got.body)
      assert.equal("1919", got.body:sub(1, 4))
      assert.equal("0100", got.body:sub(189999, 190002))
      assert.same(length and { "200000" } or nil, got.headers["content-length"])
      assert.same(not length and { "chunked" } or nil, got.headers["transfer-encoding"])
    end)
  end

  it("sends an empty body that is a function", function()
    assert.equal("", sent({ body = function() end }).body)
    assert.equal("", sent({ body = function() end, length = 0, method = "PUT" }).body)
  end)

  it("waits with the body until the server takes it", function()
    local pieces = 0
    fails({ url = url "/deaf", timeout = 1, body = function()
      pieces = pieces + 1
      return ("x"):rep(1 << 20)
    end }, "timeout", "has not taken all of the request")
    assert.is_true(pieces < 20, pieces)
  end)

  it("asks for no more of the body when the answer is there", function()
    local res = assert(request { url = url "/refuses", body = function()
      return ("x"):rep(1 << 16)
    end })
    assert.equal(413, res.status)
    assert.equal("no", res.body)
  end)

  for text, case in pairs {
    ["more than 3 bytes"] = { { "ab", "cd" }, 3 },
    ["only 2 of 3 bytes"] = { { "ab" }, 3 },
    ["must return strings, and nil at the end, not a table"] = { { {} } },
    ["no more"] = { nil },
  } do
    it("ends with a body that goes wrong: " .. text, function()
      local at = 0
      local ok, err = pcall(request, { url = url "/echo", length = case[2], body = function()
        at = at + 1
        if not case[1] then error "no more" end
        return case[1][at]
      end })
      assert.is_false(ok)
      assert.matches(text, tostring(err))
    end)
  end

  it("has no body in the answer to HEAD", function()
    local res = assert(request { url = url "/bytes/10", method = "HEAD" })
    assert.equal("10", res.headers["content-length"])
    assert.equal("", res.body)
  end)

  it("sends user and password of the URL, and shows them nowhere", function()
    local target = url("/echo"):gsub("//", "//me:secret@")
    local res = assert(request { url = target })
    assert.same({ "Basic bWU6c2VjcmV0" }, res.data.headers.authorization)
    assert.equal(url "/echo", res.url)
    local _, err = request { url = "http://me:secret@127.0.0.1:1/x?token=t", timeout = 20 }
    assert.equal("connect", err.code)
    assert.equal("http://127.0.0.1:1/x", err.url)
    assert.is_nil(tostring(err):find("secret", 1, true))
    assert.is_nil(tostring(err):find("token", 1, true))
  end)

  it("uses a connection again, and more of them at the same time", function()
    local function connection() return sent({}).connection end
    local first = connection()
    assert.equal(first, connection())
    local fibers, seen, count = {}, {}, 0
    for i = 1, 5 do
      fibers[i] = app.spawn(function()
        return sent({ url = url("/echo/" .. ("x"):rep(i)) })
      end)
    end
    for i = 1, 5 do
      local got = fibers[i]:await()
      assert.equal("/echo/" .. ("x"):rep(i), got.path)
      if not seen[got.connection] then count = count + 1 end
      seen[got.connection] = true
    end
    assert.is_true(count > 1)
  end)

  -- ---- what goes wrong ---------------------------------------------------------

  it("gives up in time, and the connection with it", function()
    local path = "/silent/timeout"
    local err = fails({ url = url(path), timeout = 0.2 }, "timeout", "no answer in time")
    assert.matches("GET http://127.0.0.1:%d+/silent/timeout: ", tostring(err))
    server:expect("gone " .. path)
    gives_up_on_half()
  end)

  for name, case in pairs {
    ["nobody listens"] = { "http://127.0.0.1:1/", "connect", "onnect" },
    ["the name is unknown"] = { "http://" .. ("x"):rep(64) .. ".invalid/", "resolve",
      "resolve host" },
    ["the connection ends early"] = { "/cut", "disconnected", "." },
    ["the connection ends at once"] = { "/raw/", "disconnected", "mpty reply" },
    ["the answer is none"] = { "/raw/" .. ("hello\r\n"):gsub(".", function(c)
      return ("%02x"):format(c:byte())
    end), "protocol", "." },
    ["the answer has a zero byte in a header"] = { "/raw/" ..
      ("HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 0\r\n\r\n"):gsub(".", function(c)
        return ("%02x"):format(c:byte())
      end):gsub("\n", "0a"), "protocol", "." },
    ["there are too many headers"] = { "/many_headers/150", "too_large", "more than 128 KiB" },
  } do
    it("says that " .. name, function()
      local target = case[1]:find "^/" and url(case[1]) or case[1]
      fails({ url = target, timeout = 20 }, case[2], case[3])
    end)
  end

  it("takes no more than max_bytes", function()
    assert.equal(1000, #assert(request { url = url "/bytes/1000", max_bytes = 1000 }).body)
    fails({ url = url "/bytes/1001", max_bytes = 1000 }, "too_large", "more than 1000 bytes")
    fails({ url = url(("/bytes/%d"):format((16 << 20) + 1)) }, "too_large", "16777216 bytes")
    local many = (16 << 20) + 1
    local res = assert(request { url = url("/bytes/" .. many), max_bytes = math.huge,
      timeout = 60 })
    assert.equal(many, #res.body)
  end)

  for name, text in pairs {
    ["no scheme"] = "example.com/x", ["another scheme"] = "file:///etc/passwd",
    ["no host"] = "http://", ["a port that is none"] = "http://a:99999/",
    ["a line break"] = "http://a/x\r\nX: y", ["a zero byte"] = "http://a/\0",
    ["an endless path"] = "http://a/" .. ("x"):rep(9000),
  } do
    it("refuses a URL with " .. name, function()
      local err = fails({ url = text }, "invalid", ".")
      assert.matches("invalid URL", tostring(err))
    end)
  end

  for text, opts in pairs {
    ["a table expected, got nil"] = false,
    ["there is no url"] = {},
    ["unknown option 'metod'"] = { url = "http://a", metod = "GET" },
    ["'GET /' is no method"] = { url = "http://a", method = "GET /" },
    ["'CONNECT' is no method"] = { url = "http://a", method = "CONNECT" },
    ["HEAD has no body"] = { url = "http://a", method = "HEAD", body = "x" },
    ["give one of body, json and form"] = { url = "http://a", body = "x", form = {} },
    ["invalid header name 'a b'"] = { url = "http://a", headers = { ["a b"] = "1" } },
    ["the value of the header 'a' must not hold line breaks"] =
      { url = "http://a", headers = { a = "1\r\nb: 2" } },
    ["the header 'Content%-Length' cannot be set"] =
      { url = "http://a", headers = { ["Content-Length"] = 1 } },
    ["headers: the value of 'a' must be a string, .* not a function"] =
      { url = "http://a", headers = { a = print } },
    ["length is that of a body that is a function"] =
      { url = "http://a", body = "x", length = 1 },
    ["timeout must be more than 0"] = { url = "http://a", timeout = 0 },
    ["max_bytes must be a number of bytes"] = { url = "http://a", max_bytes = -1 },
    ["redirects must be a whole number from 0 to 100"] = { url = "http://a", redirects = 0.5 },
    ['data_type must be "json", "string", "msgpack", or a table'] =
      { url = "http://a", data_type = "xml" },
    ["tls: unknown option 'verfy'"] = { url = "http://a", tls = { verfy = true } },
    ["tls: a key without its cert"] = { url = "http://a", tls = { key = "x" } },
    ["proxy must be a URL, or false"] = { url = "http://a", proxy = true },
  } do
    it("refuses: " .. text, function()
      local ok, err = pcall(request, opts or nil)
      assert.is_false(ok)
      assert.matches("app.http.request: .*" .. text, tostring(err))
      assert.matches("http_client_spec", tostring(err))
    end)
  end

  -- ---- piece by piece ----------------------------------------------------------

  it("gives the answer to `stream` while it comes", function()
    local sign = process.path "sign"
    local pieces = {}
    local res = assert(request { url = url("/lines" .. sign), stream = function(piece, res)
      assert.equal(200, res.status)
      pieces[#pieces + 1] = piece
      if #pieces < 3 then assert(io.open(sign .. "." .. #pieces, "w")):close() end
    end })
    assert.same({ "line 1\n", "line 2\n", "line 3\n" }, pieces)
    assert.equal(200, res.status)
    assert.is_nil(res.body)
    assert.is_nil(res.data)
  end)

  it("ends when `stream` returns false, or fails", function()
    local bytes = 0
    assert(request { url = url "/endless/1", stream = function(piece)
      bytes = bytes + #piece
      return bytes < 1000000
    end })
    assert.is_true(bytes >= 1000000)
    server:expect "gone /endless/1"
    local ok, err = pcall(request, { url = url "/endless/2", stream = function()
      error("no more", 0)
    end })
    assert.is_false(ok)
    assert.equal("no more", err)
    server:expect "gone /endless/2"
  end)

  it("reads no faster than `stream` does", function()
    local gate
    local fiber = app.spawn(function()
      return request { url = url "/endless/slow", stream = function()
        gate = true
        app.sleep(1000)
      end, timeout = math.huge }
    end)
    eventually("a piece", function() return gate end)
    local before
    eventually("a server that waits", function() -- buffers of the system may be some MiB
      local now = server:said()
      app.sleep(0.2)
      before, now = now, server:said()
      return before == now
    end)
    fiber:cancel()
    server:expect "gone /endless/slow"
  end)

  it("bounds what is streamed by max_bytes and timeout", function()
    fails({ url = url "/endless/3", max_bytes = 1000000, stream = function() end },
      "too_large", "more than 1000000 bytes")
    server:expect "gone /endless/3"
    gives_up_on_half(function() end)
    fails({ url = url "/cut", stream = function() end }, "disconnected", ".")
  end)

  it("does not stream the answer to a failure", function()
    local res = assert(request { url = url "/status/500", stream = error })
    assert.equal("status 500", res.data.error)
    fails({ url = url "/status/500", stream = error, max_bytes = 3 }, "too_large", "3 bytes")
  end)

  it("ends with its fiber", function()
    local fiber = app.spawn(function() return request { url = url "/silent/fiber" } end)
    server:expect "asked GET /silent/fiber"
    fiber:cancel()
    server:expect "gone /silent/fiber"
  end)

  it("leaves its connections to no program that the script starts", function()
    sent {}
    local list = assert(io.popen "ls -l /proc/self/fd; echo; cat /proc/self/net/tcp")
    local files, connections = list:read("a"):match "^(.-)\n\n(.*)$"
    list:close()
    for inode in files:gmatch "socket:%[(%d+)%]" do
      assert.is_nil(connections:find(" " .. inode .. " ", 1, true), files)
    end
  end)

  it("cannot wait where nothing can", function()
    local ok, err = pcall(table.sort, { 1, 2 }, function() request { url = url "/echo" } end)
    assert.is_false(ok)
    assert.matches("app.http.request cannot wait here", tostring(err))
  end)

  -- ---- redirects ---------------------------------------------------------------

  it("follows no redirect unless told to", function()
    local res = assert(request { url = url "/redirect/302?/echo" })
    assert.equal(302, res.status)
    assert.equal("/echo", res.headers.location)
    res = assert(request { url = url "/redirect/302?/redirect?/echo", redirects = 2 })
    assert.equal(200, res.status)
    assert.equal(url "/echo", res.url)
    fails({ url = url "/redirect/302?/redirect?/redirect?/echo", redirects = 2 }, "redirect",
      "more than 2 redirects")
    fails({ url = url "/redirect?ftp://a/", redirects = 2 }, "redirect", "leads nowhere")
  end)

  for status, methods in pairs { [301] = "GET", [302] = "GET", [303] = "GET", [307] = "POST",
    [308] = "POST" } do
    it(("follows %d with %s"):format(status, methods), function()
      local got = assert(request { url = url(("/redirect/%d?/echo"):format(status)),
        json = { 1 }, redirects = 1 }).data
      assert.equal(methods, got.method)
      assert.equal(methods == "POST" and "[1]" or "", got.body)
      assert.equal(methods == "POST", got.headers["content-type"] ~= nil)
    end)
  end

  it("does not send a body again that is used up", function()
    local function body()
      local all = { "a", "b" }
      return function() return table.remove(all, 1) end
    end
    fails({ url = url "/redirect/307?/echo", body = body(), redirects = 1 }, "redirect",
      "the body is used up")
    local res = assert(request { url = url "/redirect/303?/echo", body = body(),
      redirects = 1 })
    assert.equal("GET", res.data.method)
  end)

  it("tells another server no secrets", function()
    local other = http_server.start()
    local headers = { Authorization = "x", Cookie = "y", ["X-Mine"] = "z" }
    local function get(target)
      return assert(request { url = url("/redirect?" .. target), headers = headers,
        redirects = 1 }).data.headers
    end
    local same, far = get "/echo", get(other.url .. "/echo")
    assert.same({ "x" }, same.authorization)
    assert.same({ "y" }, same.cookie)
    assert.is_nil(far.authorization)
    assert.is_nil(far.cookie)
    assert.same({ "z" }, far["x-mine"])
  end)

  -- ---- proxies -----------------------------------------------------------------

  it("goes by a proxy", function()
    local proxy = http_server.start()
    local got = sent({ url = "http://far.invalid/echo", proxy = proxy.url })
    assert.same({ "http://far.invalid/echo" }, got.headers["x-proxied"])
    local _, err = request { url = "http://far.invalid/x", proxy = "http://127.0.0.1:1" }
    assert.equal("connect", err.code)
  end)

  it("goes by no proxy where there is none", function()
    assert.is_nil(sent({ proxy = false }).headers["x-proxied"])
  end)
end)

describe("app.http.request over TLS", function()
  local server, cert, key

  setup(function()
    cert, key = http_server.certificate "localhost"
    server = http_server.start { cert, key }
  end)
  teardown(process.close_all)

  local function get(opts)
    opts.url = opts.url or server.url .. "/echo"
    return request(opts)
  end

  it("trusts what the system trusts, or a file", function()
    local res, err = get {}
    assert.is_nil(res)
    assert.equal("tls", err.code)
    assert.matches("certificate", err.detail)
    assert.equal("GET", assert(get { tls = { ca = cert } }).data.method)
    local other = http_server.certificate "localhost"
    res, err = get { tls = { ca = other } }
    assert.is_nil(res)
    assert.equal("tls", err.code)
    res, err = get { tls = { ca = "/does/not/exist.pem" } }
    assert.is_nil(res)
    assert.equal("tls", err.code)
    assert.matches("/does/not/exist.pem", err.detail)
  end)

  it("wants the name of the host in the certificate", function()
    local _, err = get { url = ("https://127.0.0.1:%d/echo"):format(server.port),
      tls = { ca = cert } }
    assert.equal("tls", err.code)
  end)

  it("may be told not to look, for this request only", function()
    assert.equal(200, assert(get { tls = { verify = false } }).status)
    local _, err = get {}
    assert.equal("tls", err.code)
  end)

  it("uses a connection again, but not of one who has trusted others", function()
    local function connection(tls) return assert(get { tls = tls }).data.connection end
    local first = connection { ca = cert }
    assert.equal(first, connection { ca = cert })
    assert.not_equal(first, connection { verify = false })
  end)

  it("shows a certificate of its own", function()
    local mine, my_key = http_server.certificate "me"
    local strict = http_server.start { cert, key, mine }
    local target = strict.url .. "/echo"
    local tls = { ca = cert, cert = mine, key = my_key }
    assert.equal(200, assert(get { url = target, tls = tls }).status)
    local _, err = get { url = target, tls = { ca = cert } }
    assert.is_true(err.code == "tls" or err.code == "disconnected", err.code)
  end)

  it("does not follow a redirect out of it", function()
    local _, err = get { url = server.url .. "/redirect?http://127.0.0.1:1/", redirects = 1,
      tls = { ca = cert } }
    assert.equal("redirect", err.code)
    assert.matches("from https to http, to http://127.0.0.1:1/", err.detail)
  end)

  it("goes through a tunnel of a proxy, who sees only where to", function()
    local proxy = http_server.start()
    local by = proxy.url:gsub("//", "//me:secret@")
    assert.equal(200, assert(get { tls = { ca = cert }, proxy = by }).status)
    proxy:expect(("connect localhost:%d Basic bWU6c2VjcmV0"):format(server.port))
    local _, err = get { url = "https://forbidden.invalid/", proxy = by }
    assert.equal("proxy", err.code)
    assert.matches("403", err.detail)
  end)
end)
