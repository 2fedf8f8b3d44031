-- Errors about streams and consumers: they name what was meant, and what is there.
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

local js = app.js

describe("an error of JetStream", function()
  local name

  before_each(function()
    name = unique "advice"
    assert(js.add_stream { name = name, subjects = { name .. ".>" } })
  end)
  after_each(function()
    js.delete_stream(name)
    process.close_all()
  end)

  it("names the stream that there is not, and how to make it", function()
    local sub, err = js.subscribe(name .. ".a", { stream = name .. "x" }, function() end)
    assert.is_nil(sub)
    assert.equal(("stream '%sx' not found: app.js.add_stream makes one (JetStream error 10059)")
      :format(name), err.message)
    assert.equal("stream not found", err.description)
    local info
    info, err = js.consumer_info(name .. "x", "c")
    assert.is_nil(info)
    assert.matches(("stream '%sx' not found"):format(name), err.message, 1, true)
  end)

  it("names the stream, and not the consumer, when both are in capitals", function()
    for _, request in ipairs {
      function() return js.consumer_info("ORDERS", "WORKER") end,
      function() return js.delete_consumer("ORDERS", "WORKER") end,
      function() return js.add_consumer { stream = "ORDERS", durable_name = "WORKER" } end,
      function()
        return js.pull_subscribe("a", { stream = "ORDERS", durable = "w" }):fetch(1)
      end,
      function() return js.get_msg("ORDERS", { seq = 1 }) end,
      function() return js.delete_msg("ORDERS", 1) end,
      function() return js.stream_info "MSG" and nil, { message = "stream 'ORDERS' not" } end,
    } do
      local result, err = request()
      assert.is_nil(result)
      assert.matches("^stream 'ORDERS' not", err.message)
    end
  end)

  it("is not needed to see that a consumer was lost and is made again", function()
    for way, read in pairs {
      push = "app.js.subscribe(name .. '.>', { durable = 'push', heartbeat = 0.1 }, print)",
      pull = "assert(app.js.pull_subscribe(name .. '.>', { durable = 'pull', config = {} })"
        .. ":consume({ heartbeat = 0.2 }, print))",
    } do
      local svc = testing.start(("local name = %q\napp.task(function() %s end)\n"):format(name,
        read))
      local function there() return js.consumer_info(name, way) end
      eventually("its reader", function()
        local info = there()
        return info and (info.num_waiting > 0 or info.push_bound)
      end)
      assert(js.delete_consumer(name, way))
      eventually("another one", there)
      local line = eventually("the warning", function()
        return svc:logs("is gone, and is made again")[1]
      end)
      svc:stop()
      assert.equal("warn", line.level)
      assert.equal(("consumer '%s' of stream '%s' is gone, and is made again"):format(way,
        name), line.message)
    end
  end)

  it("names the subjects of a stream that does not have the one to read", function()
    for _, way in ipairs { "subscribe", "pull" } do
      local svc = testing.start(([[
        local way, name = "%s", "%s"
        app.task(function()
          local opts = { stream = name, durable = way }
          local _, err = "", ""
          if way == "pull" then
            _, err = app.js.pull_subscribe("other." .. name, opts):info()
          else
            _, err = app.js.subscribe("other." .. name, opts, print)
          end
          app.publish("told." .. name, err and err.message or "")
        end)
      ]]):format(way, name))
      local message = svc:expect("told." .. name).raw
      svc:stop()
      if message == "" then -- from 2.10 on
        message = svc:logs("nothing can come")[1].message
        assert.equal(("nothing can come on 'other.%s': stream '%s' takes '%s.>'")
          :format(name, name, name), message)
      else
        assert.matches(("stream '%s' takes '%s.>', so a consumer cannot read 'other.%s' from")
          :format(name, name, name), message, 1, true)
      end
    end
  end)

  it("names the stream that has the subjects of a new one", function()
    local info, err = js.add_stream { name = name .. "x", subjects = { name .. ".a" } }
    assert.is_nil(info)
    assert.equal(10065, err.err_code)
    assert.matches(("%s.a is among those of stream '%s'. A subject belongs to one stream")
      :format(name, name), err.message, 1, true)
  end)

  it("says how a server gets JetStream", function()
    local server = process.server()
    local svc = testing.start([[
      app.listen("ask", function()
        local _, err = app.js.stream_info "S"
        return err.message
      end)
    ]], { server = server.url })
    finally(function() svc:stop() end)
    assert.matches("where nobody answers $JS.API.STREAM.INFO.S: start it with "
      .. "`nats-server --jetstream`", assert(svc:request "ask").raw, 1, true)
  end)

  it("about a misspelt subject of a stream comes before anything is sent", function()
    for _, subject in ipairs { "a b", "a..b", "" } do
      assert.error_matches(function() js.add_stream { name = name, subjects = { subject } } end,
        "app.js.add_stream: subjects[1]: invalid subject '" .. subject .. "'", 1, true)
    end
    assert.error_matches(function() js.ensure_stream { name = name, subjects = name } end,
      "subjects")
  end)
end)
