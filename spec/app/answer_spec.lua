-- Reply subjects that belong to the server: whoever sends a message must not choose them.
local eventually = require "spec.support.eventually"
local server_says = require "spec.support.server_says"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

describe("a message with a reply subject of the server", function()
  local stream, svc

  before_each(function()
    stream = unique "answers"
    assert(app.js.add_stream { name = stream, subjects = { stream .. ".>" },
      storage = "memory" })
  end)
  after_each(function()
    if svc then svc:stop() end
    svc = nil
    app.js.delete_stream(stream)
  end)

  ---Sends it, and a request behind it: when that is answered, the message has been handled.
  local function send(subject, body, reply_to)
    app.publish(subject, body, { reply_to = reply_to })
    app.request(subject, "{}")
  end

  local function refusals()
    local lines = svc:logs "nothing is sent to the reply subject"
    return #lines, lines[#lines] and lines[#lines].message or ""
  end

  for what, handler in pairs {
    ["the reply"] = "return ''",
    ["the error reply for a body that is not JSON"] = "return msg.data and ''",
    ["a returned error"] = "return nil, { code = 404, message = 'none' }",
    ["a raised error"] = "error 'failed'",
    ["msg:respond()"] = "msg:respond('')",
  } do
    it("cannot make the service delete a stream: " .. what, function()
      local subject = unique "greet"
      svc = testing.start(("app.listen(%q, { queue = false }, function(msg) %s end)")
        :format(subject, handler))
      send(subject, "no JSON", "$JS.API.STREAM.DELETE." .. stream)
      assert.equal(stream, assert(app.js.stream_info(stream)).config.name)
      svc:errors() -- of handlers
      local count, text = refusals()
      assert.equal(1, count)
      assert.truthy(text:find("listener " .. subject, 1, true))
      assert.truthy(text:find("$JS.API.STREAM.DELETE." .. stream, 1, true))
    end)
  end

  it("is told to who responds, and logged once for each kind of subject", function()
    local subject, codes = unique "greet", unique "codes"
    local seen = {}
    local listener = app.listen(codes, function(msg) seen[#seen + 1] = msg.data end)
    svc = testing.start(([[app.listen(%q, function(msg)
      local ok, err = msg:respond "x"
      if not ok then app.publish(%q, err) end
    end)]]):format(subject, codes))
    for i = 1, 5 do send(subject, "", "$KV.bucket.key" .. i) end
    for i = 1, 5 do send(subject, "", "$JS.hub.API.STREAM.PURGE.S" .. i) end
    eventually("ten errors", function() return #seen == 10 end)
    listener:stop()
    assert.equal("refused", seen[1].code)
    assert.truthy(seen[1].message:find("$KV.bucket.key1", 1, true))
    assert.equal(2, (refusals()))
  end)

  it("may not name the JetStream API of another account either", function()
    local subject, api, seen = unique "greet", unique "api", {}
    local spy = app.listen(api .. "x.y", function(msg) seen[#seen + 1] = msg.subject end)
    local spies = app.listen(api .. ".>", function(msg) seen[#seen + 1] = msg.subject end)
    svc = testing.start(("app.listen(%q, { queue = false }, function(msg) return msg.data end)")
      :format(subject), { js_prefix = api })
    send(subject, "no JSON", api .. ".STREAM.DELETE.X")
    send(subject, "1", api .. ".STREAM.DELETE.X")
    send(subject, "1", api .. "x.y")
    eventually("the harmless one", function() return #seen > 0 end)
    assert.same({ api .. "x.y" }, seen)
    assert.equal(1, (refusals()))
    spy:stop()
    spies:stop()
  end)

  it("gets the answers of other subjects, also of those that begin with _", function()
    local subject, inbox = unique "greet", "_X." .. unique "reply"
    local seen
    local listener = app.listen(inbox, { data_type = "string" }, function(msg)
      seen = msg.data
    end)
    svc = testing.start(("app.listen(%q, function() return 'here' end)"):format(subject))
    send(subject, "", inbox)
    eventually("the reply", function() return seen == "here" end)
    listener:stop()
  end)

  it("is acknowledged by a listener if a consumer has delivered it", function()
    local deliver = unique "deliver"
    svc = testing.start(([[app.listen(%q, { queue = false, data_type = "string" }, function(msg)
      if not msg.metadata then return "" end
      local ok, err = msg:in_progress()
      if ok then ok, err = msg:ack() end
      app.publish("seen", ok and "ok" or err.code)
    end)]]):format(deliver))
    assert(app.js.add_consumer { stream = stream, durable_name = "c",
      deliver_subject = deliver, ack_policy = "explicit" })
    assert(app.js.publish(stream .. ".a", "x"))
    assert.equal("ok", svc:expect("seen").raw)
    eventually("the acknowledgement", function()
      return assert(app.js.consumer_info(stream, "c")).num_ack_pending == 0
    end)
    assert.equal(0, (refusals()))
  end)

  it("cannot pass for flow control of a consumer", function()
    local deliver, spied = unique "deliver", 0
    local spy = app.listen("$SPY." .. stream, function() spied = spied + 1 end)
    local plain = app.listen("spy." .. stream, function() spied = spied + 1 end)
    svc = testing.start(([[app.js.subscribe(%q, { stream = %q, durable = "c",
      config = { deliver_subject = %q }, data_type = "string" }, function(msg)
        app.publish("seen", "x")
      end)]]):format(stream .. ".>", stream, deliver))
    local url = testing.server_url()
    server_says(url, deliver, 100, "FlowControl Request", {}, "$SPY." .. stream)
    server_says(url, deliver, 100, "Idle Heartbeat",
      { ["Nats-Consumer-Stalled"] = "$SPY." .. stream })
    server_says(url, deliver, 100, "FlowControl Request", {}, "spy." .. stream)
    app.publish(deliver, "forged", { reply_to = "spy." .. stream })
    assert(app.js.publish(stream .. ".a", "x"))
    svc:expect "seen"
    assert(app.flush())
    assert.equal(0, spied)
    spy:stop()
    plain:stop()
    eventually("the true one is acknowledged", function()
      return assert(app.js.consumer_info(stream, "c")).num_ack_pending == 0
    end)
  end)

  it("is dropped where a push subscription waits for messages", function()
    local deliver = unique "deliver"
    svc = testing.start(([[app.js.subscribe(%q, { stream = %q, durable = "c",
      config = { deliver_subject = %q }, data_type = "string" }, function(msg)
        app.publish("seen", msg.data)
      end)]]):format(stream .. ".>", stream, deliver))
    app.publish(deliver, "forged", { reply_to = "$JS.API.STREAM.DELETE." .. stream })
    assert(app.js.publish(stream .. ".a", "true"))
    assert.equal("true", svc:expect("seen").raw)
    assert.truthy(app.js.stream_info(stream))
  end)

  it("is dropped where a fetch or a consume waits for messages", function()
    local subs = { app.js.pull_subscribe(stream .. ".>", { durable = "c", stream = stream }) }
    local first = assert(subs[1])
    local requests
    local spy = app.listen("$JS.API.CONSUMER.MSG.NEXT." .. stream .. ".c", { queue = false },
      function(msg) requests = msg.reply_to end)
    assert(app.flush())
    local fetched
    app.spawn(function() fetched = first:fetch(1, { timeout = 20 }) end)
    eventually("the request", function() return requests end)
    app.publish(requests, "forged", { reply_to = "$JS.API.STREAM.DELETE." .. stream })
    assert(app.js.publish(stream .. ".a", "true"))
    eventually("the message", function() return fetched end)
    spy:stop()
    assert.equal(1, #fetched)
    assert.equal("true", fetched[1].raw)
    assert(fetched[1]:ack_sync())
    first:stop()
  end)
end)
