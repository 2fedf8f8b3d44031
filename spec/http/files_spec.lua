-- app.http.files: what a folder shows to clients, and what not.
local process = require "spec.support.process"
local testing = require "lunats.testing"

local svc, folder

local function write(name, text)
  local file = assert(io.open(folder .. "/" .. name, "wb"))
  file:write(text)
  file:close()
end

setup(function()
  folder = process.path "site"
  os.execute(("mkdir -p %s/sub/deep %s/.git %s/.well-known"):format(folder, folder, folder))
  write("index.html", "<p>index")
  write("style.css", "p {}")
  write("data.unknown", "0123456789")
  write("sub/index.html", "<p>sub")
  write("sub/a b.txt", "text")
  write(".secret", "secret")
  write(".git/config", "secret")
  write(".well-known/a.txt", "known")
  os.execute(("ln -s /etc/passwd %s/passwd; ln -s style.css %s/link.css; ln -s /etc %s/etc")
    :format(folder, folder, folder))
  os.execute(("mkfifo %s/fifo"):format(folder))
  svc = testing.start(([[
    app.http.files("/static", "%s", { max_age = 60 })
    app.http.get("/static/own", function() return "own" end)
  ]]):format(folder))
end)

teardown(function()
  svc:stop()
  process.close_all()
end)

local function get(path, headers, method)
  return assert(svc:http(method or "GET", "/static" .. path, { headers = headers }))
end

describe("app.http.files", function()
  it("serves files with their type, and the index of a folder", function()
    local res = get "/style.css"
    assert.same({ 200, "p {}", "text/css; charset=utf-8", "nosniff", "max-age=60" },
      { res.status, res.body, res.headers["content-type"],
        res.headers["x-content-type-options"], res.headers["cache-control"] })
    assert.equal("<p>index", get("/").body)
    assert.equal("<p>sub", get("/sub/").body)
    assert.equal("text", get("/sub/a%20b.txt").body)
    assert.equal("application/octet-stream", get("/data.unknown").headers["content-type"])
    assert.equal("known", get("/.well-known/a.txt").body)
    assert.equal("p {}", get("/link.css").body)
    assert.same({ 200, "" }, { get("/style.css", nil, "HEAD").status,
      get("/style.css", nil, "HEAD").body })
  end)

  it("leads to the slash behind a folder", function()
    for path, to in pairs { ["/sub"] = "/static/sub/", [""] = "/static/" } do
      local res = get(path)
      assert.same({ 301, to }, { res.status, res.headers.location })
    end
  end)

  it("lets routes that say more have their path", function()
    assert.equal("own", get("/own").body)
  end)

  it("shows no hidden files, links that lead out, devices, other folders", function()
    for _, path in ipairs { "/.secret", "/.git/config", "/passwd", "/etc/passwd", "/fifo",
      "/none", "/sub/deep/", "/style.css/", "/sub%2f..%2f..%2fx", "/%2fetc/passwd" } do
      local res = get(path)
      assert.is_true(res.status == 404 or res.status == 400, path .. res.status)
      assert.is_nil(res.body:find "secret")
      assert.is_nil(res.body:find "root")
    end
    assert.equal(405, get("/style.css", nil, "PUT").status)
  end)

  it("answers 304 to who has the file already", function()
    local res = get "/style.css"
    local etag, modified = res.headers.etag, res.headers["last-modified"]
    assert.equal(304, get("/style.css", { ["If-None-Match"] = etag }).status)
    assert.equal(304, get("/style.css", { ["If-None-Match"] = '"a", ' .. etag }).status)
    assert.equal(200, get("/style.css", { ["If-None-Match"] = '"a"' }).status)
    assert.equal(304, get("/style.css", { ["If-Modified-Since"] = modified }).status)
  end)

  it("gives parts of a file", function()
    local function part(range, headers)
      headers = headers or {}
      headers.Range = range
      local res = get("/data.unknown", headers)
      return { res.status, res.body, res.headers["content-range"] }
    end
    assert.same({ 206, "234", "bytes 2-4/10" }, part "bytes=2-4")
    assert.same({ 206, "89", "bytes 8-9/10" }, part "bytes=8-")
    assert.same({ 206, "789", "bytes 7-9/10" }, part "bytes=-3")
    assert.same({ 206, "0123456789", "bytes 0-9/10" }, part "bytes=-99")
    assert.same({ 206, "9", "bytes 9-9/10" }, part "bytes=9-99")
    assert.same({ 416, "", "bytes */10" }, part "bytes=10-")
    assert.same({ 416, "", "bytes */10" }, part "bytes=5-4")
    assert.same({ 416, "", "bytes */10" }, part "bytes=99999999999999999999-")
    assert.same({ 200, "0123456789" }, part "bytes=0-1,3-4")
    assert.same({ 200, "0123456789" }, part "lines=0-1")
    assert.same({ 200, "0123456789" }, part("bytes=0-1", { ["If-Range"] = '"other"' }))
  end)

  it("wants a folder", function()
    for source, text in pairs {
      ['app.http.files("/a", "/none")'] = "/none is no folder",
      ['app.http.files("/a", "/etc/passwd")'] = "is no folder",
      ['app.http.files("/a")'] = "the folder",
      ['app.http.files("a", "/etc")'] = "must begin with '/'",
      ['app.http.files("/a", "/etc", { indx = "x" })'] = "indx",
      ['app.http.files("/a", "/etc", { max_age = math.huge })'] = "max_age must be a number",
    } do
      local ok, err = pcall(testing.start, source .. "\n")
      assert.is_false(ok)
      assert.matches(text, err, 1, true)
    end
  end)

  it("with --libs safe has only what is below the folder of the script", function()
    local ok, err = pcall(testing.start, 'app.http.files("/a", "/etc")\n', { libs = "safe" })
    assert.is_false(ok)
    assert.matches("with --libs safe a file must be in the folder of the script", err, 1, true)
  end)
end)
