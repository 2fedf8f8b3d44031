-- More comes, or is sent, than can be done: what waits is bounded in messages and bytes, and
-- holds nothing else up; the log tells with numbers.
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local unique = require "spec.support.unique"

after_each(process.close_all)

---The number of a child's listener, by a request.
local function ask(subject) return assert(app.request(subject, nil, { timeout = 20 })).data end

describe("a listener that is too slow", function()
  local SLOW = [[
    app.listen("%s", { concurrency = 2, %s }, function() app.sleep(3600) end)
    app.listen("%s.dropped", function() return app.nats.stats().dropped end)
  ]]

  local function slow(subject, opts)
    local child = process.run(SLOW:format(subject, opts, subject))
    child:expect "started"
    return child
  end

  it("is told once a second how much waits, is dropped, and runs", function()
    local subject = unique "slow"
    local child = slow(subject, "pending = 10")
    local began = app.now()
    eventually("drops for two seconds", function()
      for _ = 1, 50 do app.publish(subject, ("x"):rep(1000)) end
      assert(app.flush())
      return app.now() - began > 2.5 and child:count "is too slow" >= 3
    end)
    child:expect("WARN +svc: listener " .. subject .. " is too slow: its queue is full; "
      .. "1 messages %(0%.0 MB%) are dropped, 1 so far; 10 %(0%.0 MB%) wait, "
      .. "2 of 2 handlers run")
    child:expect "is full; %d%d+ messages %(%d+%.%d MB%) are dropped, %d%d+ so far; 10 %("
    assert.is_true(child:count "is too slow" <= app.now() - began + 2, child:output())
  end)

  it("keeps as many bytes as pending_bytes says", function()
    local subject = unique "slow"
    local child = slow(subject, "pending_bytes = 1000000")
    for _ = 1, 30 do app.publish(subject, ("x"):rep(100000)) end
    assert(app.flush())
    eventually("the drops", function() return ask(subject .. ".dropped") == 30 - 2 - 9 end)
    child:expect "9 %(0%.9 MB%) wait"
  end)
end)

describe("a task that publishes without end", function()
  it("leaves room for listeners", function()
    local subject = unique "bomb"
    local child = process.run(([[
      local sent = 0
      app.task(function()
        while true do assert(app.publish("%s.flood", "x")) sent = sent + 1 end
      end)
      app.listen("%s", function() return sent end)
    ]]):format(subject, subject))
    child:expect "started"
    local before = 0
    for _ = 1, 5 do
      local sent = ask(subject)
      assert.is_true(sent > before)
      before = sent
    end
  end)

  it("does not hold the loop in an outage, when no more can be kept", function()
    local server = process.server()
    local child = process.run([[
      local failed
      app.task(function()
        app.sleep(0.2)
        while true do
          local ok, err = app.publish("flood", ("x"):rep(100000))
          if not ok and not failed then
            failed = true
            app.log.info("refused", { code = err.code })
          end
        end
      end)
      app.timer(0.1, function() if failed then app.log.info "tick" end end)
    ]], {}, { servers = { server.url } })
    child:expect "started"
    server:stop()
    child:expect "refused code=full.*tick.*tick"
    assert.equal(0, child:stop())
  end)
end)

describe("a server that does not read", function()
  ---What a script can send without end, with the most bytes that may wait then.
  local MARK, FULL, SLACK = 2^20, 8 * 2^20, 200000
  local WAYS = {
    { "app.publish", "app.publish('flood', body)", MARK },
    { "msg:respond", "held:respond(body)", MARK },
    { "app.request", "app.request('flood', body, { timeout = 60 })", MARK },
    { "app.request_many", "app.request_many('flood', body, { timeout = 60 })", MARK },
    { "app.js.publish", "app.js.publish('flood', body)", MARK },
    { "app.js.publish_async", "app.js.publish_async('flood', body)", MARK },
    { "app.publish where it cannot wait",
      "(('x'):gsub('x', function() publish_full(body) end))", FULL },
  }

  it("lets nobody fill the memory", function()
    local server = process.server()
    local calls = {}
    for i, way in ipairs(WAYS) do
      calls[i] = ("{ %q, function() return %s end },"):format(way[1], way[2])
    end
    local child = process.run(([[
      local body, held, full = ("x"):rep(100000)
      local function publish_full(text)
        local ok, err = app.publish("flood", text)
        if not ok then full = err end
      end
      local ways = { %s }
      app.listen("hold", function(msg) held = msg app.sleep(3600) end)
      app.task(function()
        app.publish("hold", nil, { reply_to = "nobody" })
        while not held do app.sleep(0.01) end
        app.log.info "ready"
        while app.flush(1) do app.sleep(0.01) end
        for _, way in ipairs(ways) do
          for _ = 1, 200 do app.spawn(way[2]) end
          while app.nats.stats().buffered <= 2^19 do app.sleep(0.01) end
          app.sleep(0.2)
          app.log.info(("%%s: %%d bytes."):format(way[1], app.nats.stats().buffered))
        end
        app.log.info(("at last: %%s"):format(full))
      end)
    ]]):format(table.concat(calls, " ")), { "--ping-interval", "60" },
      { servers = { server.url } })
    child:expect "ready"
    server:signal "STOP"
    for _, way in ipairs(WAYS) do
      local bytes = tonumber(child:expect(way[1]:gsub("%p", "%%%0") .. ": (%d+) bytes"))
      assert.is_true(bytes > MARK / 2 and bytes < way[3] + SLACK, way[1] .. ": " .. bytes)
    end
    child:expect "at last: [^\n]*8%.%d MiB wait to be sent, and the call cannot wait"
    server:signal "CONT"
  end)

  it("is named by requests that have no time left to be sent", function()
    local server = process.server()
    local child = process.run([[
      local body = ("x"):rep(100000)
      local ways = {
        { "request", function() return app.request("flood", body, { timeout = 0.3 }) end },
        { "many", function() return app.request_many("flood", body, { timeout = 0.3 }) end },
      }
      app.task(function()
        app.log.info "ready"
        while app.flush(1) do app.sleep(0.01) end
        for _ = 1, 200 do app.spawn(app.publish, "flood", body) end
        while app.nats.stats().buffered < 2^20 do app.sleep(0.01) end
        for _, way in ipairs(ways) do
          local _, err = way[2]()
          app.log.info(("%s: %s: %s"):format(way[1], err.code, err.message))
        end
      end)]], { "--ping-interval", "60" }, { servers = { server.url } })
    child:expect "ready"
    server:signal "STOP"
    for _, way in ipairs { "request", "many" } do
      child:expect(way .. ": timeout: [^\n]*it was not sent: %d%.%d MiB wait to be sent, "
        .. "and the server takes too little")
    end
    server:signal "CONT"
  end)

  it("fills no more of a connection than of the first one, as the limit says", function()
    local server = process.server()
    local child = process.run(([[
      local body = ("x"):rep(20000)
      app.task(function()
        local other = assert(app.connect { server = %q })
        app.log.info "ready"
        while other.flush(1) do app.sleep(0.01) end
        for _ = 1, 800 do app.spawn(function() other.publish("flood", body) end) end
        while other.nats.stats().buffered <= 2^16 do app.sleep(0.01) end
        app.sleep(0.2)
        app.log.info(("waiting: %%d bytes."):format(other.nats.stats().buffered))
      end)]]):format(server.url), { "--memory", "16M", "--ping-interval", "60" })
    child:expect "ready"
    server:signal "STOP"
    local bytes = tonumber(child:expect "waiting: (%d+) bytes")
    assert.is_true(bytes > 2^16 and bytes < 2^18 + 50000, bytes)
    server:signal "CONT"
  end)
end)
