-- lunats ps and stats, as a person or a shell script uses them.
local process = require "spec.support.process"
local testing = require "lunats.testing"

after_each(process.close_all)

local function lunats(...)
  return process.lunats_to_end { (...), "-s", testing.server_url(), select(2, ...) }
end

---Columns of a line: what stands between two blanks.
local function cells(line)
  local list = {}
  for cell in (line .. "  "):gmatch "(.-)  +" do list[#list + 1] = cell end
  return list
end

local function lines(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do list[#list + 1] = line end
  return list
end

---A service in another language, with an answer of its own.
local function foreign(answer)
  local listener = app.listen({ "$SRV.STATS", "$SRV.STATS.foreign" }, { queue = false },
    function() return answer end)
  assert(app.flush())
  finally(function() listener:stop() end)
end

local ANSWER = {
  type = "io.nats.micro.v1.stats_response", name = "foreign", id = "f1", version = "2.0.0",
  started = "2020-02-29T23:30:00.5+01:00", metadata = app.json.null,
  endpoints = { { name = "e", subject = "foreign.e", queue_group = "q", num_requests = 3,
    num_errors = 1, last_error = "500:\27[2Jbad\nthing", processing_time = 3600000,
    average_processing_time = 1200000 } },
}

describe("a cluster of services", function()
  local orders, stock

  setup(function()
    orders = testing.start [[
      app.config { name = "orders", version = "1.2.0" }
      app.listen("ps.create", function(msg)
        if msg.raw == "bad" then return nil, { code = 400, message = "no such order" } end
        return "created"
      end)
      app.listen("ps.count", function() return 1 end)
    ]]
    stock = testing.start [[
      app.config { name = "stock", version = "0.3.1" }
      app.listen("ps.level", function() return 1 end)
    ]]
    for _ = 1, 3 do assert(orders:request("ps.create", "good")) end
    orders:request("ps.create", "bad")
  end)
  teardown(function()
    orders:stop()
    stock:stop()
  end)

  it("is listed by lunats ps, with sums, ages and places", function()
    local status, output = lunats "ps"
    assert.equal(0, status)
    local rows = lines(output)
    assert.same({ "NAME", "ID", "VERSION", "ENDPOINTS", "REQUESTS", "ERRORS", "AVERAGE", "UP",
      "WHERE" }, cells(rows[1]))
    assert.equal(3, #rows)
    local first, second = cells(rows[2]), cells(rows[3])
    assert.same({ "orders", "1.2.0", "2", "4", "1" },
      { first[1], first[3], first[4], first[5], first[6] })
    assert.matches("^[%d.]+ [nµm]*s$", first[7])
    assert.matches("^%d+s$", first[8])
    assert.matches("^[^/]+/%d+$", first[9])
    assert.same({ "stock", "0.3.1", "1", "0", "0", "-" },
      { second[1], second[3], second[4], second[5], second[6], second[7] })
  end)

  it("has its numbers aligned under each other", function()
    local _, output = lunats "ps"
    local rows = lines(output)
    local _, last = rows[1]:find "REQUESTS"
    assert.matches("4$", rows[2]:sub(1, last))
    assert.matches("0$", rows[3]:sub(1, last))
  end)

  it("is shown endpoint by endpoint by lunats stats", function()
    local status, output = lunats("stats", "orders")
    assert.equal(0, status)
    local rows = lines(output)
    assert.equal(3, #rows)
    local create = cells(rows[2])
    assert.matches("^orders/%w+$", create[1])
    assert.same({ "ps_create", "ps.create", "orders:ps.create", "4", "1" },
      { table.unpack(create, 2, 6) })
    assert.equal("400:no such order", create[8])
    assert.same({ "ps_count", "0" }, { cells(rows[3])[2], cells(rows[3])[5] })
  end)

  it("has one instance shown by NAME/INSTANCE", function()
    local _, output = lunats "stats"
    local which = output:match "stock/%w+"
    local status, one = lunats("stats", which)
    assert.equal(0, status)
    assert.equal(2, #lines(one))
  end)

  it("is one JSON document with --json, its fields in order", function()
    local status, output = lunats("ps", "--json")
    assert.equal(0, status)
    assert.matches('^%[{"average_seconds":[%d.e-]+,"endpoints":2,"errors":1,"id":"%w+",'
      .. '"name":"orders","requests":4,"started":"%d[^"]+Z","version":"1.2.0",'
      .. '"where":"[^"]+/%d+"},{"average_seconds":null,.*"name":"stock"[^\n]*%]\n$', output)
    status, output = lunats("stats", "stock", "--json")
    assert.equal(0, status)
    local list = app.json.decode(output)
    assert.equal(1, #list)
    assert.equal("io.nats.micro.v1.stats_response", list[1].type)
    assert.equal("ps.level", list[1].endpoints[1].subject)
  end)

  it("shows services of other languages, and nothing that a terminal would obey", function()
    foreign(ANSWER)
    local status, output = lunats("ps", "foreign")
    assert.equal(0, status)
    assert.same({ "foreign", "f1", "2.0.0", "1", "3", "1", "1.20 ms" },
      { table.unpack(cells(lines(output)[2]), 1, 7) })
    assert.matches("^%d+d%d%dh$", cells(lines(output)[2])[8])
    status, output = lunats("stats", "foreign")
    assert.equal(0, status)
    assert.matches("500: %[2Jbad thing\n$", output)
  end)

  for name, answer in pairs {
    text = "x", list = { 1, 2 }, ["no id"] = { name = "foreign" },
    numbers = { name = 1, id = 2 },
  } do
    it("is shown although somebody answers nonsense: " .. name, function()
      foreign(answer)
      local status, output = lunats "stats"
      assert.equal(0, status)
      assert.equal(4, #lines(output))
    end)
  end

  it("is shown although an answer has numbers that are none", function()
    foreign { name = "foreign", id = "f1", started = 7, metadata = { 1 },
      endpoints = { 1, { name = 1, num_requests = -1, num_errors = "x",
        processing_time = 1e300 } } }
    local status, output = lunats("ps", "foreign")
    assert.equal(0, status)
    assert.same({ "foreign", "f1", "?", "1", "0", "0", "-", "-", "-" },
      cells(lines(output)[2]))
  end)

  it("fits the width of the terminal", function()
    for _, columns in ipairs { 40, 60, 80, 120 } do
      local child = process.spawn { "script", "-qec", ("stty cols %d; %s stats -s %s"):format(
        columns, process.lunats(), testing.server_url()), "/dev/null" }
      assert.equal(0, child:wait())
      local rows = lines((child:output():gsub("\r", "")))
      assert.equal(4, #rows)
      for _, row in ipairs(rows) do
        assert.is_true(utf8.len(row) <= columns, row)
        assert.matches("^[SOos][EPrt]", row)
      end
    end
  end)

  it("is asked for as long as --timeout says", function()
    local before = app.now()
    assert.equal(0, (lunats("ps", "--timeout", "0.2")))
    assert.is_true(app.now() - before >= 0.2)
  end)
end)

describe("lunats ps", function()
  for _, command in ipairs { "ps", "stats" } do
    it("and stats say when nobody answers: " .. command, function()
      local server = process.server()
      local status, output = process.lunats_to_end { command, "-s", server.url }
      assert.equal(1, status)
      assert.matches("^lunats " .. command .. ": no service answers at nats://127", output)
    end)
  end

  it("says who is there when a service is not", function()
    local svc = testing.start [[app.config { name = "here" } app.listen("h", print)]]
    finally(function() svc:stop() end)
    local status, output = lunats("stats", "gone")
    assert.equal(1, status)
    assert.matches("there is no service gone at nats://.*, but: here\n$", output)
  end)

  it("says when it may not ask", function()
    local config = process.write("server.conf", [[
      authorization { users = [ { user: u, password: p, permissions: { publish: "ok.>" } } ] }
    ]])
    local server = process.server { args = { "-c", config } }
    local status, output = process.lunats_to_end { "ps", "-s",
      ("nats://u:p@127.0.0.1:%d"):format(server.port) }
    assert.equal(1, status)
    assert.matches("may not publish to %$SRV%.STATS", output)
  end)

  it("shows nothing that a terminal would obey, and ends, whatever somebody answers", function()
    local answer
    local listener = app.listen("$SRV.STATS", { queue = false }, function() return answer end)
    assert(app.flush())
    finally(function() listener:stop() end)
    for _, command in ipairs { "ps", "stats" } do
      for _, name in ipairs { "evil\27[2J", "a.b", "\u{202e}" } do
        answer = { name = name, id = "x", endpoints = {} }
        assert.equal(1, (lunats(command)))
      end
      answer = { name = "long", id = "x", version = ("\u{202e}v"):rep(50000), endpoints = {
        { name = ("e"):rep(100000), subject = "s\27]0;x\7", last_error = (" "):rep(200000) } } }
      local status, output = lunats(command)
      assert.equal(0, status)
      assert.is_nil(output:find "[%z\1-\9\11-\31]")
      assert.is_nil(output:find("\u{202e}", 1, true))
      assert.matches("long", output)
      assert.is_true(#output < 5000)
    end
  end)

  it("explains mistakes", function()
    local status, output = lunats("ps", "a", "b")
    assert.equal(2, status)
    assert.matches("lunats ps takes one NAME", output)
    status, output = lunats("stats", "a b")
    assert.equal(2, status)
    assert.matches("'a b' is not the name of a service", output)
  end)
end)
