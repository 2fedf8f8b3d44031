-- Dead letters of psub:consume(): they hold what a peer can send, none gets lost or goes round.
local consumes = require "lunats.js.consume"
local dead_letter = require "lunats.js.dead_letter"
local eventually = require "spec.support.eventually"
local own = require "spec.support.own"
local reporting = require "spec.support.reports"
local raw = require "spec.support.raw"
local since = require "spec.support.since"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

describe("A dead letter", function()
  local stream, graves, reports
  local retry = dead_letter.retry_first

  before_each(function()
    reports = reporting.catch()
    dead_letter.retry_first = 0.02
    stream, graves = own.stream "work", own.stream "dead"
  end)
  after_each(function()
    own.close()
    reporting.release()
    dead_letter.retry_first = retry
  end)

  local function subscribe(filter, opts)
    opts = opts or { durable = "d" }
    opts.stream = opts.stream or stream
    return own.keep(app.js.pull_subscribe(filter or stream .. ".>", opts))
  end

  local function fail() return nil, "it fails" end

  local function consume(opts, fn, psub)
    local all = { max_deliver = 1, dead_letter = graves .. ".x", data_type = "string" }
    for name, value in pairs(opts or {}) do all[name] = value end
    return assert((psub or subscribe()):consume(all, fn or fail))
  end

  local function letter(seq)
    return eventually("a dead letter", function()
      return (app.js.get_msg(graves, { seq = seq or 1 }, { data_type = "string" }))
    end)
  end

  ---Publishes bytes as only other programs do: headers as they are.
  local function send_raw(block, payload)
    raw(testing.server_url(), stream .. ".a", nil, "NATS/1.0\r\n" .. block .. "\r\n", payload)
  end

  describe("of a message with headers for the server", function()
    it("keeps them readable, under a name that does nothing", function()
      assert(app.js.publish(stream .. ".a", "x", { msg_id = "m1", expected_stream = stream,
        headers = { Colour = { "red", "blue" }, ["nats-trace-only"] = "true",
          ["Nats-Something-New"] = "1" } }))
      consume()
      local dead = letter()
      assert.equal("x", dead.data)
      assert.same({ "red", "blue" }, dead.headers.Colour)
      assert.equal("m1", dead:header "Dead-Letter-Nats-Msg-Id")
      assert.equal(stream, dead:header "Dead-Letter-Nats-Expected-Stream")
      assert.equal("true", dead:header "Dead-Letter-nats-trace-only")
      assert.equal("1", dead:header "Dead-Letter-Nats-Something-New")
      for name in pairs(dead.headers) do
        assert.is_truthy(name == "Nats-Msg-Id" or not name:lower():find "^nats%-", name)
      end
    end)

    since.it("2.12", "is stored for batches and counters, too", function()
      local counted = own.stream("count", { allow_msg_counter = true })
      assert(app.js.publish(counted .. ".a", nil, { headers = { ["Nats-Incr"] = "+5" } }))
      consume(nil, nil, subscribe(counted .. ".>", { stream = counted, durable = "d" }))
      assert.equal("+5", letter():header "Dead-Letter-Nats-Incr")
      assert(app.js.update_stream { name = stream, allow_atomic = true })
      for i = 1, 2 do
        assert(app.request(stream .. ".a", "x", { headers = { ["Nats-Batch-Id"] = "b",
          ["Nats-Batch-Sequence"] = i, ["Nats-Batch-Commit"] = i == 2 and 1 or nil } }))
      end
      consume()
      assert.equal("b", letter(3):header "Dead-Letter-Nats-Batch-Id")
    end)
  end)

  it("of a dead letter tells of the last failure", function()
    assert(app.js.publish(stream .. ".a", "x", { headers = { ["dead-letter-reason"] = "old",
      ["Dead-Letter-Nats-Msg-Id"] = "first", ["Dead-Letter-Colour"] = "red" } }))
    consume()
    local dead = letter()
    assert.equal("the handler failed", dead:header "Dead-Letter-Reason")
    assert.equal("first", dead:header "Dead-Letter-Nats-Msg-Id")
    assert.equal("red", dead:header "Dead-Letter-Colour")
  end)

  it("is stored again after the stream was made again", function()
    for round = 1, 2 do
      assert(app.js.publish(stream .. ".a", "round " .. round))
      local psub = subscribe()
      local handle = consume(nil, nil, psub)
      assert.equal("round " .. round, letter(round).data)
      handle:stop()
      psub:stop()
      assert(app.js.delete_stream(stream))
      assert(app.js.add_stream { name = stream, subjects = { stream .. ".>" } })
    end
  end)

  describe("holds what a peer can send:", function()
    it("names that publishing refuses, encoded and marked", function()
      send_raw("Bad Name: 100%\r\nN\u{e4}me: x\r\nFine: 50%\r\n", "bytes")
      consume()
      local dead = letter()
      assert.equal("100%", dead:header "Bad%20Name")
      assert.equal("x", dead:header "N%C3%A4me")
      assert.equal("50%", dead:header "Fine")
      assert.equal("Bad%20Name, N%C3%A4me", dead:header "Dead-Letter-Encoded")
      assert.equal("bytes", dead.data)
    end)

    it("values that publishing refuses, encoded and marked", function()
      send_raw("A: 1% x\ry\r\n", "bytes")
      consume()
      local dead = letter()
      assert.equal("1%25 x%0Dy", dead:header "A")
      assert.equal("A", dead:header "Dead-Letter-Encoded")
    end)

    it("a payload as large as the server takes, cut and marked", function()
      local size = app.nats.max_payload
      assert(app.js.publish(stream .. ".a", ("x"):rep(size)))
      consume()
      local dead = letter()
      assert.equal(tostring(size), dead:header "Dead-Letter-Size")
      assert.equal(stream, dead:header "Dead-Letter-Stream")
      assert.equal("1", dead:header "Dead-Letter-Sequence")
      assert.is_true(#dead.data > size - 1000)
    end)

    it("headers as large as a stream takes, left out and marked", function()
      local headers = { A = ("a"):rep(60000), B = ("b"):rep(5400) }
      assert(app.js.publish(stream .. ".a", "the payload", { headers = headers }))
      consume()
      local dead = letter()
      assert.equal("2", dead:header "Dead-Letter-Headers-Left-Out")
      assert.is_nil(dead:header "A")
      assert.equal("the payload", dead.data)
      assert.is_nil(dead:header "Dead-Letter-Size")
    end)

    it("more than the stream of the dead letters takes, cut and marked", function()
      assert(app.js.update_stream { name = graves, max_msg_size = 1000 })
      assert(app.js.publish(stream .. ".a", ("x"):rep(5000)))
      consume()
      local dead = letter()
      assert.equal("5000", dead:header "Dead-Letter-Size")
      assert.is_true(#dead.data > 300)
      eventually("the report", function() return reports[1] end)
      assert.matches(", cut to %d+ of 5000 bytes: ", reports[1])
      assert.equal(1, #reports)
    end)
  end)

  it("that is refused for good ends with an error, and its slot is free", function()
    assert(app.js.update_stream { name = graves, max_msg_size = 50 })
    assert(app.js.publish(stream .. ".a", "bad"))
    assert(app.js.publish(stream .. ".a", "good"))
    local good
    consume({ concurrency = 1 }, function(msg)
      if msg.data == "bad" then return fail() end
      good = true
    end)
    eventually("the next one", function() return good end)
    eventually("nothing pending", function()
      return assert(app.js.consumer_info(stream, "d")).num_ack_pending == 0
    end)
    eventually("the last report", function() return #reports > dead_letter.tries end)
    assert.matches("is given up after 1 delivery (the handler failed) without a dead letter, "
      .. "which '" .. graves .. ".x' refuses: ", reports[#reports], 1, true)
    assert.equal(dead_letter.tries + 1, #reports)
  end)

  it("waits for room in an account that is full, however long", function()
    local broker = own.keep(testing.broker { config = [[
      accounts { A { users: [ { user: a, password: b } ], jetstream: { max_file: 8KB } } }
    ]] })
    local svc = own.start([[
      local js = app.js
      require "lunats.js.dead_letter".retry_first = 0.01
      require "lunats.js.dead_letter".retry_last = 0.01
      app.on_start(function()
        for _, name in ipairs { "W", "D", "FULL" } do
          assert(js.add_stream { name = name, subjects = { name } })
        end
        assert(js.publish("W", ("x"):rep(1000)))
        repeat until not js.publish("FULL", ("x"):rep(900))
      end)
      js.pull_subscribe("W", { durable = "d" }):consume({ max_deliver = 1, dead_letter = "D",
        data_type = "string" }, function() return nil, "it fails" end)
      app.listen("purge", function() return assert(js.purge_stream "FULL") end)
      app.listen("letters", function() return js.stream_info "D".state.messages end)
    ]], { server = broker.url, user = "a", password = "b" })
    eventually("more attempts than of one that is refused for good", function()
      local text = table.concat(svc:errors(), "\n")
      return select(2, text:gsub("cannot be published", "")) >= 2 * dead_letter.tries
    end)
    assert(svc:request "purge")
    eventually("the dead letter", function() return svc:request "letters".data == 1 end)
    svc:errors()
  end)

  it("is said to get lost when somebody limits the consumer later", function()
    local interval = consumes.check_interval
    consumes.check_interval = 0.02
    finally(function() consumes.check_interval = interval end)
    consume()
    assert(app.js.update_consumer { stream = stream, durable_name = "d", max_deliver = 3 })
    local text = eventually("the report", function() return reports[1] end)
    assert.truthy(text:find("has max_deliver = 3", 1, true), text)
  end)

  it("that no stream takes is told of when the consumer starts", function()
    local svc = own.start(([[
      app.js.pull_subscribe("%s.>", { stream = "%s", durable = "s" }):consume(
        { max_deliver = 1, dead_letter = "nowhere.dead" }, print)
    ]]):format(stream, stream))
    eventually("the warning", function()
      return svc:logs("no stream takes the subject of its dead letters, 'nowhere.dead'")[1]
    end)
  end)

  describe("is refused at the start", function()
    local function refused(psub, subject, text)
      local handle, err = psub:consume({ max_deliver = 1, dead_letter = subject }, fail)
      assert.is_nil(handle)
      assert.truthy(err.message:find(text, 1, true), err.message)
    end
    local ROUND = "would get its own dead letters"

    it("when the consumer has a limit of its own, which loses messages", function()
      refused(subscribe(nil, { durable = "d", config = { max_deliver = 3 } }), graves .. ".x",
        "max_deliver = 3")
    end)

    it("when the consumer reads its subject", function()
      refused(subscribe(), stream .. ".dead", ROUND)
      refused(subscribe(stream .. ".*.x", { durable = "e" }), stream .. ".dead.x", ROUND)
      refused(subscribe(nil, { durable = "f", config = { filter_subject = "" } }),
        stream .. ".dead", ROUND)
      assert(subscribe(stream .. ".a", { durable = "g" }):consume(
        { max_deliver = 1, dead_letter = stream .. ".dead" }, fail))
    end)

    it("when it comes back by sources and mirrors", function()
      local function add(config)
        config.name = unique "copy"
        assert(app.js.add_stream(config))
        own.keep { stop = function() app.js.delete_stream(config.name) end }
        return config.name
      end
      local source = add { sources = { { name = graves } } }
      local mirror = add { mirror = { name = source } }
      local other = add { sources = { { name = graves, filter_subject = graves .. ".other" } } }
      for _, name in ipairs { source, mirror } do
        local all = { filter_subject = "" }
        refused(subscribe(nil, { stream = name, durable = "d", config = all }), graves .. ".x",
          ROUND)
      end
      assert(subscribe(graves .. ".y", { stream = source, durable = "y" }):consume(
        { max_deliver = 1, dead_letter = graves .. ".x" }, fail))
      assert(subscribe(graves .. ".other", { stream = other, durable = "o" }):consume(
        { max_deliver = 1, dead_letter = graves .. ".x" }, fail))
    end)

    it("by the start of the service", function()
      local ok, err = pcall(testing.start, ([[
        app.js.pull_subscribe("%s.>", { stream = "%s", durable = "s" }):consume(
          { max_deliver = 1, dead_letter = "%s.dead" }, print)
      ]]):format(stream, stream, stream))
      assert.is_false(ok)
      assert.truthy(err:find(ROUND, 1, true), err)
    end)
  end)
end)
