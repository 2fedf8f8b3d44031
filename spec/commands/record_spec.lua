-- lunats record, and testing.replay of what it has written.
local eventually = require "spec.support.eventually"
local testing = require "lunats.testing"
local process = require "spec.support.process"

after_each(process.close_all)

local SHOP = [[
app.listen("shop.price", function(msg)
  if msg.data.item == "none" then return nil, { code = 404, message = "no such item" } end
  return { item = msg.data.item, price = %s, id = math.random(1 << 40), tags = { "a", %q } }
end)
app.listen("shop.raw", function(msg) return msg.raw end)
app.listen("shop.event", function() end)
]]

local function read_lines(path)
  local list = {}
  for line in io.lines(path) do list[#list + 1] = assert(app.json.decode(line)) end
  return list
end

---Records what the function sends; returns the path of the file.
local function record(fn, ...)
  local path = process.path "jsonl"
  local child = process.spawn { process.lunats(), "record", "-s", testing.server_url(),
    "shop.>", "-o", path, ... }
  child:expect "recording shop"
  fn()
  return path, child
end

local function start(price, tag)
  local svc = testing.start(SHOP:format(price, tag))
  finally(function() svc:stop() end)
  return svc
end

describe("lunats record", function()
  it("writes messages with headers and replies; SIGINT ends it with a summary", function()
    local svc = start(5, "b")
    local path, child = record(function()
      assert(svc:request("shop.price", { item = "pen" }, { headers = { Trace = "t1" } }))
      svc:publish("shop.event", "\xff\x00")
      svc:publish("other", "not recorded")
      assert(svc:request("shop.raw", "hello"))
    end)
    eventually("three lines", function() return #read_lines(path) == 3 end)
    child:signal "INT"
    assert.equal(130, child:wait())
    child:expect "recorded 3 messages, 2 of them with a reply, in "
    local pipe <close> = assert(io.popen("stat -c %a " .. path))
    assert.equal("600", pipe:read "l")
    local lines = read_lines(path)
    assert.equal(3, #lines)
    assert.equal("shop.price", lines[1].subject)
    assert.equal('{"item":"pen"}', lines[1].data)
    assert.equal("t1", lines[1].headers.Trace)
    assert.matches("^_INBOX%.", lines[1].reply)
    assert.matches('"price":5', lines[1].response.data)
    assert.same({ "shop.event", "/wA=" }, { lines[2].subject, lines[2].base64 })
    assert.is_nil(lines[2].response)
    assert.equal("hello", lines[3].response.data)
    assert.is_true(math.abs(lines[1].time - app.now()) < 60)
  end)

  it("sees the replies of clients with another --inbox-prefix", function()
    local svc = testing.start(SHOP:format(5, "b"), { inbox_prefix = "_INBOX_shop.me" })
    finally(function() svc:stop() end)
    local path, child = record(function()
      assert(svc:request("shop.raw", "hello"))
    end, "--count", "1", "--inbox-prefix", "_INBOX_shop.me")
    assert.equal(0, child:wait())
    local lines = read_lines(path)
    assert.matches("^_INBOX_shop%.me%.", lines[1].reply)
    assert.equal("hello", lines[1].response.data)
  end)

  it("stops after --count messages", function()
    local svc = start(5, "b")
    local path, child = record(function()
      for i = 1, 3 do assert(svc:request("shop.raw", tostring(i))) end
    end, "--count", "2")
    assert.equal(0, child:wait())
    local lines = read_lines(path)
    assert.equal(2, #lines)
    assert.equal("2", lines[2].response.data)
  end)

  it("stops after --seconds and writes requests that nobody answered", function()
    local svc = start(5, "b")
    local path, child = record(function()
      svc:request("shop.event", "x", { timeout = 0.05 })
    end, "--seconds", "1.5")
    assert.equal(0, child:wait())
    local lines = read_lines(path)
    assert.equal(1, #lines)
    assert.is_nil(lines[1].response)
  end)

  it("writes to the standard output for -", function()
    local child = process.spawn { process.lunats(), "record", "-s", testing.server_url(),
      "shop.>", "-o", "-", "--count", "1" }
    child:expect "recording"
    app.publish("shop.event", "x")
    assert.equal(0, child:wait())
    assert.matches('"subject":"shop.event"', child:output())
  end)

  for _, case in ipairs {
    { { "record", "x" }, "needs %-o FILE", 2 },
    { { "record", "-o", "f" }, "no SUBJECT given", 2 },
    { { "record", "x", "-o", "f", "--count", "0" }, "0 is not a whole number", 2 },
  } do
    it("explains a mistake: " .. case[2], function()
      local status, output = process.lunats_to_end(case[1])
      assert.equal(case[3], status)
      assert.matches(case[2], output)
    end)
  end

  it("writes the fields of a line in a stable order", function()
    local svc = start(5, "b")
    local path, child = record(function()
      assert(svc:request("shop.raw", "hello", { headers = { B = "2", A = "1" } }))
    end, "--count", "1")
    assert.equal(0, child:wait())
    local file <close> = assert(io.open(path))
    assert.matches('^{"data":"hello","headers":{"A":"1","B":"2"},"reply":"_INBOX[^"]+",'
      .. '"response":{"data":"hello","subject":"_INBOX[^"]+","time":[%d.e+]+},'
      .. '"subject":"shop%.raw","time":[%d.e+]+}\n$', file:read "a")
  end)

  it("ends with 1 when the server does not permit a subject", function()
    local config = process.write("server.conf", [[
      authorization { users = [ { user: u, password: p, permissions: {
        subscribe: ["ok.>", "_INBOX.>"] } } ] }
    ]])
    local server = process.server { args = { "-c", config } }
    local status, output = process.lunats_to_end { "record", "-o", process.path "jsonl", "-s",
      ("nats://u:p@127.0.0.1:%d"):format(server.port), "shop.>" }
    assert.equal(1, status)
    assert.matches('[Pp]ermissions [Vv]iolation for [Ss]ubscription to "shop%.>"', output)
  end)

  it("says when it cannot write", function()
    local status, output = process.lunats_to_end { "record", "-s", testing.server_url(), "x",
      "-o", "/no/such/folder/f" }
    assert.equal(1, status)
    assert.matches("cannot write /no/such/folder/f", output)
  end)
end)

describe("testing.replay", function()
  local path

  before_each(function()
    local svc = testing.start(SHOP:format(5, "b"))
    local child
    path, child = record(function()
      assert(svc:request("shop.price", { item = "pen" }))
      svc:publish("shop.event", "x")
      svc:request("shop.price", { item = "none" })
      assert(svc:request("shop.raw", "\xff\xfe"))
    end, "--count", "4")
    assert.equal(0, child:wait())
    svc:stop()
  end)

  it("passes when the replies are the same but for what is ignored", function()
    local svc = start(5, "b")
    assert.equal(3, testing.replay(svc, path, { ignore = { "id" } }))
  end)

  it("names the places that differ", function()
    local svc = start(6, "c")
    local ok, err = pcall(testing.replay, svc, path, { ignore = { "id" } })
    assert.is_false(ok)
    assert.truthy(err:find(path .. ":1: the reply of shop.price differs\n"
      .. "  at price: expected 5, got 6\n  at tags[2]: expected \"b\", got \"c\"", 1, true),
      err)
    assert.truthy(err:find("1 of 3 replies differ", 1, true), err)
  end)

  it("does not ignore anything by itself", function()
    local ok, err = pcall(testing.replay, start(5, "b"), path)
    assert.is_false(ok)
    assert.truthy(err:find("at id: expected ", 1, true), err)
  end)

  it("compares errors and tells when nobody answers", function()
    local svc = testing.start [[
      app.listen("shop.price", function(msg) return { price = 5, item = "pen" } end)
      app.listen("shop.event", function() end)
    ]]
    finally(function() svc:stop() end)
    local ok, err = pcall(testing.replay, svc, path, { timeout = 5, ignore = { "id" } })
    assert.is_false(ok)
    assert.truthy(err:find("expected the error 404 (no such item), got ", 1, true), err)
    assert.truthy(err:find(":4: the reply of shop.raw differs", 1, true), err)
    assert.truthy(err:find("got the error: ", 1, true), err)
    assert.truthy(err:find('at tags: expected ["a","b"], got nothing', 1, true), err)
  end)

  it("refuses files that hold something else", function()
    local svc = start(5, "b")
    assert.error_matches(function()
      testing.replay(svc, process.write("x.jsonl", '{"a":1}\n'))
    end, "x.jsonl:1 is no recorded message")
    assert.error_matches(function() testing.replay(svc, "/no/file") end, "/no/file")
    assert.error_matches(function() testing.replay(svc, path, { ignor = {} }) end,
      "'ignore'")
  end)
end)
