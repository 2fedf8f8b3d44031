---The patterns of examples/patterns: what each is for, and that it bears what it says it does.
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local read = require "spec.support.read"
local testing = require "lunats.testing"
local web = require "spec.support.web"

local running = {}

local function start(name, opts)
  local svc = testing.start(("examples/patterns/%s.lua"):format(name), opts)
  running[#running + 1] = svc
  return svc
end

after_each(function()
  for _, svc in ipairs(running) do svc:stop() end
  running = {}
  testing.reset()
end)

local function ask(subject, data, opts) return assert(app.request(subject, data, opts)).data end

---The status of the error with which the request is answered.
local function status(subject, data, opts)
  local reply, err = app.request(subject, data, opts)
  assert.is_nil(reply)
  assert.equal("service_error", err.code)
  return err.status, err.message
end

describe("events", function()
  local function letter(id) return (app.request("users.letter", { id = id })) end

  it("reach a reader, once", function()
    local svc = start "events"
    local id = ask("users.create", { name = "Ada" }).id
    eventually("the letter", function() return letter(id) end)
    assert.same({ text = "Welcome, Ada!" }, letter(id).data)
    assert(app.js.publish("users.created", { id = id, name = "Eve" })) -- once more
    eventually("both", function()
      return app.js.consumer_info("USERS", "letters").ack_floor.stream_seq == 2
    end)
    assert.same({ text = "Welcome, Ada!" }, letter(id).data)
    assert.is_true(#svc:logs "^a new user$" > 0)
    assert.equal(404, status("users.letter", { id = "nobody" }))
  end)

  it("wait for a reader that is away", function()
    start("events"):stop()
    assert(app.js.publish("users.created", { id = "late", name = "Bob" }))
    start "events"
    eventually("the letter", function() return letter "late" end)
  end)
end)

describe("a saga", function()
  local function book(id, cents) return ask("trips.book", { id = id, cents = cents }) end

  local function outcome(id)
    return eventually("the end of " .. id, function()
      local trip = ask("trips.get", { id = id })
      return (trip.state == "booked" or trip.state == "cancelled") and trip
    end)
  end

  it("books all of it", function()
    start "saga"
    book("t1", 900)
    assert.same({ state = "booked", done = 3, cents = 900 }, outcome "t1")
    assert.equal("booked", book("t1", 900).state) -- the same request once more
    assert.equal(409, status("trips.book", { id = "t1", cents = 7 }))
    assert.equal(404, status("trips.get", { id = "t2" }))
  end)

  it("cancels what is booked when a step is refused", function()
    local svc = start "saga"
    book("t1", 200000)
    local trip = outcome "t1"
    assert.equal("cancelled", trip.state)
    assert.equal("the card is good for 1000.00", trip.why)
    local sent = {}
    for _, msg in ipairs(svc:calls "*.*") do
      if msg.subject:find "%.book$" or msg.subject:find "%.cancel$" then
        sent[#sent + 1] = msg.subject
      end
    end
    assert.same({ "flight.book", "room.book", "payment.book", "room.cancel", "flight.cancel" },
      sent)
    assert.is_false(ask("room.cancel", { id = "t1" }).cancelled)
  end)

  it("goes on where a process has died", function()
    local svc = start "saga"
    local trips = assert(app.js.key_value "trips")
    for id, trip in pairs {
      forth = { state = "booking", done = 1, cents = 900 },
      back = { state = "cancelling", done = 1, cents = 900 },
    } do
      assert(trips:create(id, trip))
      assert(app.js.publish("trips.wanted", { id = id }))
    end
    assert.equal("booked", outcome("forth").state)
    assert.equal("cancelled", outcome("back").state)
    assert.equal(0, #svc:calls "flight.book")
    assert.equal(1, #svc:calls "flight.cancel")
  end)
end)

describe("a cache", function()
  it("asks the bucket once, and again after a change", function()
    start "cache"
    assert.same({ sku = "A1", cents = 250 }, ask("prices.set", { sku = "A1", cents = 250 }))
    local before = ask("prices.stats").misses
    for _ = 1, 3 do assert.equal(250, ask("prices.get", { sku = "A1" }).cents) end
    assert.equal(before + 1, ask("prices.stats").misses)
    ask("prices.set", { sku = "A1", cents = 260 })
    assert.equal(260, ask("prices.get", { sku = "A1" }).cents)
    assert.equal(404, status("prices.get", { sku = "B2" }))
    assert.equal(400, status("prices.set", { sku = "A1", cents = 2.5 }))
  end)

  it("hears of changes by others", function()
    start "cache"
    ask("prices.set", { sku = "A1", cents = 250 })
    ask("prices.get", { sku = "A1" })
    assert(app.js.key_value("prices"):put("A1", { sku = "A1", cents = 300 }))
    assert.equal(250, ask("prices.get", { sku = "A1" }).cents)
    app.publish("prices.changed", "A1")
    eventually("the new price", function()
      return ask("prices.get", { sku = "A1" }).cents == 300
    end)
  end)

  it("lets one read for all that ask at once", function()
    local svc = start "cache"
    ask("prices.set", { sku = "A1", cents = 250 })
    app.flush()
    local all = {}
    for i = 1, 50 do all[i] = app.spawn(ask, "prices.get", { sku = "A1" }) end
    for _, one in ipairs(all) do assert.equal(250, assert(one:await()).cents) end
    assert.is_true(#svc:calls "$JS.API.DIRECT.GET.KV_prices.>" < 5)
  end)
end)

describe("a rate limiter", function()
  it("gives each client its allowance, and tells when there is more", function()
    local svc = start("rate_limiter", { clock = "manual" })
    local ada, eve = { headers = { Client = "ada" } }, { headers = { Client = "eve" } }
    for _ = 1, 10 do ask("quotes.get", nil, ada) end
    local code, message = status("quotes.get", nil, ada)
    assert.equal(429, code)
    assert.matches("try again in 0%.2 s", message)
    ask("quotes.get", nil, eve)
    svc:advance(0.4)
    for _ = 1, 2 do ask("quotes.get", nil, ada) end
    assert.equal(429, status("quotes.get", nil, ada))
    svc:advance(60)
    for _ = 1, 10 do ask("quotes.get", nil, ada) end
    assert.equal(429, status("quotes.get", nil, ada))
  end)
end)

describe("a scheduler", function()
  it("makes the report of the night", function()
    local svc = start("scheduler", { clock = "manual" })
    assert(app.js.publish("sales.done", { cents = 900 }))
    local day = ask("reports.next").due:match "^(.*)T03:00:00Z$"
    assert.equal(404, status("reports.get", { day = day }))
    local function report() return (app.request("reports.get", { day = day })) end
    local hours = 0
    while hours < 24 and not report() do -- a tick is worth nothing six hours later
      svc:advance(3600)
      hours = hours + 1
    end
    eventually("the report", report)
    assert.same({ day = day, sales = 1, attempt = 1 }, ask("reports.get", { day = day }))
    assert.equal(400, status("reports.get", { day = "today" }))
  end)
end)

describe("a leader", function()
  it("is followed by another instance, which goes on with a greater token", function()
    local first = start "leader"
    eventually("a number", function() return ask("count.status").number > 0 end)
    local before = ask "count.status"
    start "leader"
    first:stop()
    local after = eventually("the next one", function()
      local now = ask "count.status"
      return now.number > before.number and now.token > before.token and now
    end)
    assert.is_true(after.leads)
    assert.is_true(after.instance ~= before.instance)
  end)

  it("does not write over what a later one has written", function()
    local svc = start "leader"
    eventually("a number", function() return ask("count.status").number > 0 end)
    local count = assert(app.js.key_value "count")
    assert(count:put("number", { token = 1 << 40, number = 500 }))
    local errors = eventually("the error", function()
      local all = svc:errors()
      return #all > 0 and all
    end)
    assert.matches("is of the past", tostring(errors[1]))
    assert.equal(500, count:get("number").data.number)
  end)
end)

describe("a fan-out", function()
  it("takes the best of the answers that come in time", function()
    start "fan_out"
    local best
    eventually("three answers in time", function() -- a busy machine may be slow as well
      best = ask("offers.best", { sku = "A1", count = 3 })
      return best.asked == 3
    end)
    assert.same({ vendor = "north", cents = 270, asked = 3 }, best)
    assert.equal(404, status("offers.best", { sku = "B2", count = 3 }))
  end)

  it("leaves out who is slow, or answers with nonsense", function()
    local others = {}
    for name, answer in pairs {
      slow = function() app.sleep(2) return { vendor = "slow", cents = 1 } end,
      odd = function() return "no JSON" end,
      text = function() return { vendor = "text", cents = "1" } end,
      cheap = function() return { vendor = "cheap", cents = 5 } end,
    } do
      others[#others + 1] = app.listen("vendors.offer", { queue = name }, answer)
    end
    app.flush()
    start "fan_out"
    local best
    eventually("all others, without the slow one", function()
      local began = app.now()
      best = ask("offers.best", { sku = "A1", count = 3 })
      return best.asked == 6 and app.now() - began < 2
    end)
    assert.equal("cheap", best.vendor)
    for _, other in ipairs(others) do other:stop() end
  end)
end)

describe("uploads", function()
  it("come back as they were, and are gone when they are deleted", function()
    local svc = start "upload"
    local bytes = ("\0\1\255"):rep(300000)
    for _, body in ipairs { bytes, "", "notes" } do
      local res = svc:http("PUT", "/files/a.bin", { body = body })
      assert.equal(201, res.status)
      assert.equal(#body, res.data.size)
      res = svc:http("GET", "/files/a.bin")
      assert.equal(200, res.status)
      assert.is_true(res.body == body)
      assert.equal("attachment", res.headers["content-disposition"])
    end
    assert.equal("a.bin", svc:http("GET", "/files").data[1].name)
    assert.equal(204, svc:http("DELETE", "/files/a.bin").status)
    assert.equal(404, svc:http("GET", "/files/a.bin").status)
    assert.equal(404, svc:http("DELETE", "/files/a.bin").status)
    assert.same({}, svc:http("GET", "/files").data)
  end)

  it("are refused with a wrong name", function()
    local svc = start "upload"
    for _, name in ipairs { "%20", ".hidden", ("x"):rep(101), "a%2Fb" } do
      assert.equal(400, svc:http("PUT", "/files/" .. name, { body = "x" }).status, name)
    end
  end)

  it("are refused when they are too large, and bear clients that go", function()
    finally(process.close_all)
    local child = process.spawn { process.lunats(), "dev", "--admin", "off", "--http",
      "127.0.0.1:0", "examples/patterns/upload.lua" }
    child:expect "upload: started"
    local url = web.url(child)
    local function put(name, size)
      local path = process.write(name, ("x"):rep(size))
      return web.get(url .. "/files/" .. name, "-T", path).status
    end
    assert.equal(413, put("large", 17000000))
    assert.equal(201, put("good", 8000000))
    local clients = {}
    for i = 1, 8 do
      clients[i] = app.spawn(web.curl, "-s", "-o", "/dev/null", "--limit-rate", "200k",
        "--max-time", "0.3", url .. "/files/good")
    end
    for _, client in ipairs(clients) do client:await() end
    assert.equal(0, child:stop())
    assert.is_nil(child:output():match "[^\n]* ERROR [^\n]*")
  end)

  it("break off when what is stored is damaged", function()
    local svc = start "upload"
    svc:http("PUT", "/files/a.bin", { body = ("x"):rep(300000) })
    assert(app.js.purge_stream("OBJ_uploads", { subject = "$O.uploads.C.>", keep = 1 }))
    assert.equal(0, svc:http("GET", "/files/a.bin").status)
    assert.is_true(#svc:errors() > 0)
  end)
end)

describe("commands and queries", function()
  it("book, and show what is booked", function()
    start "cqrs"
    assert.same({ cents = 0, seq = 0 }, ask("accounts.balance", { id = "ada" }))
    assert.equal(500, ask("accounts.book", { id = "ada", cents = 500 }).cents)
    assert.equal(300, ask("accounts.book", { id = "ada", cents = -200 }).cents)
    local code, message = status("accounts.book", { id = "ada", cents = -301 })
    assert.equal(409, code)
    assert.equal("only 300 are there", message)
    eventually("the view", function()
      return ask("accounts.balance", { id = "ada" }).cents == 300
    end)
  end)

  it("let one of two bookings through if there is enough for one only", function()
    start "cqrs"
    ask("accounts.book", { id = "ada", cents = 500 })
    local both, paid = {}, 0
    for i = 1, 2 do
      both[i] = app.spawn(app.request, "accounts.book", { id = "ada", cents = -400 })
    end
    for _, one in ipairs(both) do
      if one:await() then paid = paid + 1 end
    end
    assert.equal(1, paid)
    eventually("the view", function()
      return ask("accounts.balance", { id = "ada" }).cents == 100
    end)
  end)

  it("refuse nothing because the view is behind", function()
    start "cqrs"
    for i = 1, 20 do
      assert(app.js.publish("accounts.booked.a" .. i, { cents = 500 }))
      assert.equal(100, ask("accounts.book", { id = "a" .. i, cents = -400 }).cents)
    end
  end)

  it("make the view again from the events", function()
    start "cqrs"
    ask("accounts.book", { id = "ada", cents = 500 })
    ask("accounts.book", { id = "eve", cents = 7 })
    running[1]:stop()
    assert(app.js.delete_consumer("ACCOUNTS", "balances"))
    assert(app.js.delete_key_value "balances")
    start "cqrs"
    eventually("the view", function()
      return ask("accounts.balance", { id = "ada" }).cents == 500
        and ask("accounts.balance", { id = "eve" }).cents == 7
    end)
  end)
end)

it("examples/README.md lists every example", function()
  local page = read "examples/README.md"
  local lfs = require "lfs"
  for _, folder in ipairs { "", "patterns/", "jetstream/" } do
    for file in lfs.dir("examples/" .. folder) do
      if file:find "%.lua$" then
        assert.truthy(page:find(("](%s%s)"):format(folder, file), 1, true), folder .. file)
      end
    end
  end
end)
