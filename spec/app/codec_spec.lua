-- The option data_type beyond "json" and "string": MessagePack, and codecs of the script.
local clean_loop = require "spec.support.clean_loop"
local eventually = require "spec.support.eventually"
local http_server = require "spec.support.http_server"
local listening = require "spec.support.listening"
local msgpack = require "lunats.msgpack"
local own = require "spec.support.own"
local process = require "spec.support.process"
local testing = require "lunats.testing"

local subject, listen = listening.subject, listening.listen

---Words between bars; nothing else can be written.
local bars = {
  content_type = "text/bars",
  encode = function(value)
    if type(value) ~= "table" then error("only words, not a " .. type(value), 0) end
    return "|" .. table.concat(value, "|") .. "|"
  end,
  decode = function(bytes)
    if bytes:sub(1, 1) ~= "|" then return nil, "there is no bar" end
    local words = {}
    for word in bytes:gmatch "[^|]+" do words[#words + 1] = word end
    return words
  end,
}

---The same for services, whose code begins with it.
local BARS = [[
  local bars = {
    encode = function(value) return "|" .. table.concat(value, "|") .. "|" end,
    decode = function(bytes)
      if bytes:sub(1, 1) ~= "|" then return nil, "there is no bar" end
      local words = {}
      for word in bytes:gmatch "[^|]+" do words[#words + 1] = word end
      return words
    end,
  }
]]

local function serve(code)
  return own.start(BARS .. code .. "\n")
end

-- The first one makes the client, which has a timer for as long as this script runs.
setup(function() app.http.request { url = "http://127.0.0.1:1/" } end)

after_each(function()
  listening.stop_all()
  own.close()
end)

describe("data_type msgpack", function()
  local MSGPACK = { data_type = "msgpack" }

  it("is what a handler gets and what its results are sent as", function()
    local s = subject()
    listen(s, MSGPACK, function(msg)
      return { got = msg.data, kind = math.type(msg.data.n), again = msg.data == msg.data }
    end)
    local reply = assert(app.request(s, { n = 1700000000123456789, list = { "a" } }, MSGPACK))
    assert.same({ got = { n = 1700000000123456789, list = { "a" } }, kind = "integer",
      again = true }, reply.data)
    assert.same(reply.data, msgpack.decode(reply.raw))
  end)

  it("encodes strings, numbers and booleans as well", function()
    local s = subject()
    listen(s, MSGPACK, function(msg) return msg.data end)
    for _, value in ipairs { "text", "", "\xff", 0, 2.5, false, true } do
      local reply = assert(app.request(s, value, MSGPACK))
      assert.equal(value, reply.data)
      assert.equal(msgpack.encode(value), reply.raw)
    end
    assert.equal(app.json.null, assert(app.request(s, app.json.null, MSGPACK)).data)
  end)

  it("has nil for an empty payload, which is what nil is sent as", function()
    local s = subject()
    listen(s, MSGPACK, function(msg) return { kind = type(msg.data), bytes = #msg.raw } end)
    assert.same({ kind = "nil", bytes = 0 }, assert(app.request(s, nil, MSGPACK)).data)
  end)

  it("answers 400 with the reason when the body is something else", function()
    local svc = serve [[
      app.listen("codec.read", { data_type = "msgpack" }, function(msg) return msg.data end)]]
    local reply, err = svc:request("codec.read", "\x93\x01")
    assert.is_nil(reply)
    assert.same({ 400, "codec.read: the message cannot be decoded: not MessagePack: it ends "
      .. "too early" }, { err.status, err.message })
    assert.same({}, svc:errors())
    assert.equal(1, #svc:logs "codec.read: the message cannot be decoded")
  end)

  it("is told when a result cannot be encoded, like one that is not JSON", function()
    local svc = serve [[
      app.listen("codec.bad", { data_type = "msgpack" }, function() return { f = print } end)]]
    local reply, err = svc:request("codec.bad", nil)
    assert.is_nil(reply)
    assert.equal(500, err.status)
    assert.matches("cannot encode a function", err.message)
    assert.equal(1, #svc:errors())
  end)

  it("raises where a message cannot be encoded, for the line of the caller", function()
    for _, call in ipairs { "publish", "request", "request_many" } do
      local ok, err = pcall(app[call], "codec.nobody", { print }, MSGPACK)
      assert.is_false(ok)
      assert.matches("codec_spec.lua:%d+: msgpack.encode: cannot encode a function",
        tostring(err))
    end
  end)
end)

describe("a codec of the script", function()
  it("reads requests and writes answers", function()
    local s = subject()
    listen(s, { data_type = bars }, function(msg) return { msg.data[2], msg.data[1] } end)
    assert.equal("|b|a|", assert(app.request(s, "|a|b|", { data_type = "string" })).data)
    assert.same({ "d", "c" }, assert(app.request(s, { "c", "d" }, { data_type = bars })).data)
  end)

  it("may be a module that has encode and decode", function()
    local s = subject()
    listen(s, { data_type = app.json }, function(msg) return msg.data end)
    assert.equal('"text"', assert(app.request(s, '"text"')).raw)
  end)

  it("has nothing to do with error replies, nil, and messages that are passed on", function()
    local behind, s = subject "behind", subject()
    listen(behind, function(msg) return { json = msg.raw } end)
    listen(s, { data_type = bars }, function(msg)
      if msg.data[1] == "error" then return nil, { code = 404, message = "not here" } end
      if msg.data[1] == "nil" then return nil end
      return app.request(behind, msg.data[1])
    end)
    local reply, err = app.request(s, { "error" }, { data_type = bars })
    assert.same({ nil, 404 }, { reply, err.status })
    reply, err = app.request(s, { "nil" }, { data_type = bars, timeout = 0.05 })
    assert.same({ nil, "timeout" }, { reply, err.code })
    assert.equal('{"json":"x"}', assert(app.request(s, { "x" }, { data_type = bars })).raw)
  end)

  it("writes what msg:respond sends, headers and all", function()
    local s, behind = subject(), subject "behind"
    listen(behind, function() return "|as|it|is|" end)
    listen(s, { data_type = bars }, function(msg)
      if msg.data[1] == "on" then return msg:respond(assert(app.request(behind))) end
      assert(msg:respond({ "now" }, { headers = { Kind = "x" } }))
    end)
    local reply = assert(app.request(s, { "a" }, { data_type = bars }))
    assert.same({ { "now" }, "x" }, { reply.data, reply:header "kind" })
    assert.equal("|as|it|is|", assert(app.request(s, { "on" }, { data_type = bars })).raw)
  end)

  it("decodes once, and not at all what nobody reads", function()
    local s, calls = subject(), 0
    local counting = { encode = bars.encode, decode = function(bytes)
      calls = calls + 1
      return bars.decode(bytes)
    end }
    listen(s, { data_type = counting }, function(msg)
      if #msg.raw > 4 then return { msg.data[1], msg.data[2] } end
      return { "unread" }
    end)
    assert.equal("|unread|", assert(app.request(s, "|a|")).raw)
    assert.equal(0, calls)
    assert.equal("|a|b|", assert(app.request(s, "|a|b|")).raw)
    assert.equal(1, calls)
  end)

  it("is not asked for a result that nobody gets", function()
    local s, done = subject(), 0
    listen(s, { data_type = bars }, function(msg)
      if msg.reply_to then msg:respond { "now" } end
      done = done + 1
      return true
    end)
    assert.equal("|now|", assert(app.request(s, "|a|")).raw)
    assert(app.publish(s, "|a|"))
    eventually("both", function() return done == 2 end)
  end)

  it("lets msg.data be set", function()
    local s = subject()
    listen(s, { data_type = bars }, function(msg)
      msg.data = { "set" }
      return msg.data
    end)
    assert.equal("|set|", assert(app.request(s, "no bars")).raw)
  end)

  it("gets empty messages, too: what they mean is its own matter", function()
    local s = subject()
    local zero = { encode = function() return "" end,
      decode = function(bytes) return { bytes = #bytes } end }
    listen(s, { data_type = zero }, function(msg) return msg.data end)
    assert.same({ bytes = 0 }, assert(app.request(s, {}, { data_type = zero })).data)
  end)

  it("is that of all replies of request_many", function()
    local s = subject()
    listen(s, { data_type = bars }, function(msg)
      assert(app.publish(msg.reply_to, { "x" }, { data_type = bars }))
      return { "x" }
    end)
    local replies = assert(app.request_many(s, { "a" }, { data_type = bars, max = 2 }))
    assert.same({ { "x" }, { "x" } }, { replies[1].data, replies[2].data })
  end)

  it("encodes what app.publish sends", function()
    local s, got = subject(), nil
    listen(s, { data_type = "string" }, function(msg) got = msg.data end)
    assert(app.publish(s, { "a", "b" }, { data_type = bars, headers = { A = "1" } }))
    eventually("the message", function() return got == "|a|b|" end)
    assert(app.publish(s, nil, { data_type = bars }))
    eventually("the empty one", function() return got == "" end)
  end)

  it("is not asked for what is sent with json or string", function()
    local s = subject()
    listen(s, function(msg) return msg.raw end)
    for _, kind in ipairs { "json", "string" } do
      assert.equal("text", assert(app.request(s, "text", { data_type = kind })).raw)
      assert(app.publish(s, "text", { data_type = kind }))
    end
  end)

  it("serves a further connection and a group", function()
    local s = subject()
    local other <close> = assert(app.connect { server = testing.server_url() })
    local handle = other.listen(s, { data_type = bars }, function(msg) return msg.data end)
    assert(other.flush())
    assert.same({ "a" }, assert(app.request(s, { "a" }, { data_type = bars })).data)
    assert.same({ "b" }, assert(other.request(s, { "b" }, { data_type = bars })).data)
    handle:stop()
    local group = app.group(s)
    listening.keep(group:listen("in", { data_type = bars }, function(msg) return msg.data end))
    assert.same({ "c" }, assert(app.request(s .. ".in", { "c" }, { data_type = bars })).data)
  end)

  it("may close the connection that it is used on", function()
    local other = assert(app.connect { server = testing.server_url() })
    local closing = { decode = print, encode = function()
      other.close()
      collectgarbage()
      return "x"
    end }
    local reply, err = other.request("codec.nobody", {}, { data_type = closing })
    assert.same({ nil, "closed" }, { reply, err.code })
    reply, err = other.publish("codec.nobody", {}, { data_type = closing })
    assert.same({ nil, "closed" }, { reply, err.code })
  end)
end)

describe("a codec that fails", function()
  ---Asks a service whose codec is made of these functions; returns the error of the request.
  local function fails(encode, decode)
    local svc = testing.start(([[
      app.listen("codec.fails", { data_type = { encode = %s, decode = %s } }, function(msg)
        return { msg.data }
      end)
    ]]):format(encode, decode))
    local reply, err = svc:request("codec.fails", "body")
    assert.is_nil(reply)
    return err, svc
  end

  local FINE = 'function() return "x" end'

  it("with a request is answered with 400 and the reason, raised or returned", function()
    for decode, reason in pairs {
      ['function() return nil, "no tea" end'] = "no tea",
      ['function() return nil, { message = "no milk" } end'] = "no milk",
      ['function() error("no cup", 0) end'] = "no cup",
      ['function() error { message = "no spoon" } end'] = "no spoon",
      ['function(bytes) return bytes.a.b end'] = "attempt to index a nil value",
      ['function() app.sleep(0) end'] = "app.sleep cannot wait",
    } do
      local err, svc = fails(FINE, decode)
      assert.equal(400, err.status)
      assert.matches("codec.fails: the message cannot be decoded: ", err.message, 1, true)
      assert.matches(reason, err.message, 1, true)
      assert.same({}, svc:errors())
      svc:stop()
    end
  end)

  it("with an answer is an error of the service", function()
    for encode, reason in pairs {
      ['function() end'] = "encode must return a string, not a nil",
      ['function() return 5 end'] = "encode must return a string, not a number",
      ['function() return nil, "no tea" end'] = "encode cannot do it: no tea",
      ['function() error("no cup", 0) end'] = "no cup",
    } do
      local err, svc = fails(encode, FINE)
      assert.equal(500, err.status)
      assert.matches(reason, err.message, 1, true)
      assert.equal(1, #svc:errors())
      svc:stop()
    end
  end)

  it("with msg:respond raises in the handler", function()
    local svc = serve [[
      local silent = { encode = function() end, decode = function() end }
      app.listen("codec.respond", { data_type = silent }, function(msg)
        local ok, err = pcall(msg.respond, msg, { 1 })
        return app.request("codec.echo", tostring(ok) .. " " .. err)
      end)
      app.listen("codec.echo", function(msg) return msg.raw end)]]
    assert.matches("^false .*service.lua:%d+: data_type: encode must return a string",
      assert(svc:request("codec.respond", "")).raw)
  end)

  it("raises a catchable error for a message that nobody answers", function()
    local s = subject()
    listen(s, function() return "no bars" end)
    local reply = assert(app.request(s, { "a" }, { data_type = bars }))
    local ok, err = pcall(function() return reply.data end)
    assert.is_false(ok)
    assert.equal("bad_data", err.code)
    assert.matches(": the message cannot be decoded: there is no bar", err.message)
    assert.is_nil(err.status)
    assert.equal("no bars", reply.raw)
  end)

  it("does not hide that its time is over", function()
    local svc = serve [[
      app.config { limits = { slice = 0.05 } }
      local slow = { encode = print, decode = function() while true do end end }
      app.listen("codec.slow", { data_type = slow }, function(msg) return msg.data end)]]
    local reply, err = svc:request("codec.slow", "x", { timeout = 10 })
    assert.is_nil(reply)
    assert.equal(500, err.status)
    assert.matches("service.lua:%d+", svc:errors()[1])
  end)

  it("is refused where it is none", function()
    local function refused(data_type, text)
      for _, call in ipairs {
        function() app.listen("codec.x", { data_type = data_type }, print) end,
        function() app.request("codec.x", "", { data_type = data_type }) end,
        function() app.js.get_msg("S", { seq = 1 }, { data_type = data_type }) end,
        function() app.js.subscribe("codec.x", { data_type = data_type }, print) end,
        function() app.http.request { url = "http://127.0.0.1:1/", data_type = data_type } end,
        function() app.http.get("/codec", { data_type = data_type }, print) end,
      } do
        local ok, err = pcall(call)
        assert.is_false(ok)
        assert.matches(text, tostring(err), 1, true)
        assert.matches("codec_spec.lua:%d+: ", tostring(err))
      end
    end
    refused("xml", 'data_type must be "json", "string", "msgpack", or a table')
    refused({ decode = print }, "data_type: encode must be a function, not a nil")
    refused({ encode = print, decode = 1 },
      "data_type: decode must be a function, not a number")
    refused({ encode = print, decode = print, content_type = 5 },
      "data_type: content_type must be a string")
  end)
end)

describe("a codec and what is around a handler", function()
  it("shows values to middleware, not bytes", function()
    local svc = serve [[
      app.use("listen", function(ctx, next)
        ctx.msg.data[1] = "first"
        local result = next(ctx)
        result[#result + 1] = "last"
        return result
      end)
      app.use("request", function(ctx, next)
        ctx.data[#ctx.data + 1] = "asked"
        return next(ctx)
      end)
      app.listen("codec.mw", { data_type = bars }, function(msg)
        return app.request("codec.mw.behind", msg.data, { data_type = bars }).data
      end)
      app.listen("codec.mw.behind", { data_type = bars }, function(msg) return msg.data end)]]
    assert.equal("|first|b|asked|last|last|", assert(svc:request("codec.mw", "|a|b|")).raw)
  end)

  it("has values checked by schemas", function()
    local svc = serve [[
      local words = { type = "array", items = { type = "string" }, maxItems = 2 }
      app.listen("codec.schema", { data_type = bars, schema = { request = words,
        response = { type = "array", minItems = 2 } } }, function(msg) return msg.data end)]]
    assert.equal("|a|b|", assert(svc:request("codec.schema", "|a|b|")).raw)
    local _, err = svc:request("codec.schema", "|a|b|c|")
    assert.same({ 400 }, { err.status })
    assert.matches("invalid request", err.message)
    _, err = svc:request("codec.schema", "|a|")
    assert.equal(500, err.status)
    assert.equal(1, #svc:errors())
    _, err = svc:request("codec.schema", "a")
    assert.equal(400, err.status)
    assert.matches("there is no bar", err.message)
  end)

  it("is part of what a new version declares", function()
    local svc = serve [[
      app.listen("codec.reload", { data_type = bars }, function(msg) return msg.data end)]]
    assert.equal("|a|", assert(svc:request("codec.reload", "|a|")).raw)
    assert(svc:reload [[
      app.listen("codec.reload", { data_type = "msgpack" }, function(msg) return msg.data end)
    ]])
    local reply = assert(svc:request("codec.reload", { 1 }, { data_type = "msgpack" }))
    assert.same({ 1 }, reply.data)
  end)

  it("works with the libraries of --libs safe", function()
    local svc = own.start([[
      app.listen("codec.safe", { data_type = "msgpack" }, function(msg) return msg.data end)
    ]], { libs = "safe" })
    local reply = assert(svc:request("codec.safe", { 1 }, { data_type = "msgpack" }))
    assert.same({ 1 }, reply.data)
  end)
end)

describe("lunats.testing", function()
  it("reads what a service sends by a data_type", function()
    local svc = serve [[
      app.listen("codec.go", function()
        app.publish("codec.sent", { "a", "b" }, { data_type = bars })
        app.publish("codec.sent.packed", { n = 1 }, { data_type = "msgpack" })
      end)]]
    svc:publish("codec.go")
    local msg = svc:expect("codec.sent", { data_type = bars,
      where = function(m) return m.data[1] == "a" end })
    assert.same({ "a", "b" }, msg.data)
    assert.same({ n = 1 }, svc:expect("codec.sent.packed", { data_type = "msgpack" }).data)
    assert.error_matches(function() return svc:calls("codec.sent")[1].data[3].x end, "nil")
    local call = svc:calls("codec.sent", { data_type = "string" })[1]
    assert.equal("|a|b|", call.data)
    call = svc:calls("codec.sent", { data_type = "json" })[1]
    assert.error_matches(function() return call.data end, "codec.sent: the message is not JSON")
  end)

  it("publishes and has stubs with a data_type", function()
    local svc = own.start([[
      app.listen("codec.pass", { data_type = "msgpack" }, function(msg)
        app.publish("codec.passed", app.request("codec.stub", msg.data,
          { data_type = "msgpack" }).data)
      end)
    ]], { stubs = { ["codec.stub"] = { data_type = "msgpack", function(msg)
      return { got = msg.data }
    end } } })
    assert.error_matches(function()
      testing.start("app.listen('x', print)\n", { stubs = { y = { data_type = "msgpack" } } })
    end, "the stub of 'y' is a function, or a table with one")
    svc:publish("codec.pass", { 1, 2 }, { data_type = "msgpack" })
    assert.same({ got = { 1, 2 } }, svc:expect("codec.passed").data)
  end)
end)

describe("a codec in JetStream", function()
  local stream

  before_each(function() stream = own.stream "codec" end)

  local function put(...)
    for _, words in ipairs { ... } do
      assert(app.js.publish(stream .. ".a", words, { data_type = bars }))
    end
  end

  it("writes what is published, with and without waiting", function()
    put { "a" }
    assert(app.js.publish_async(stream .. ".a", { "b" }, { data_type = bars }):await())
    assert(app.js.publish(stream .. ".a", { 7 }, { data_type = "msgpack", msg_id = "m" }))
    for i, raw in ipairs { "|a|", "|b|", "\x91\x07" } do
      assert.equal(raw, assert(app.js.get_msg(stream, { seq = i })).raw)
    end
    local function read(seq, data_type)
      return assert(app.js.get_msg(stream, { seq = seq }, { data_type = data_type })).data
    end
    assert.same({ 7 }, read(3, "msgpack"))
    assert.same({ "a" }, read(1, bars))
  end)

  it("reads what is fetched", function()
    put({ "a" }, { "b", "c" })
    local psub = own.keep(app.js.pull_subscribe(stream .. ".a"))
    local list = assert(psub:fetch(2, { data_type = bars, timeout = 5 }))
    assert.same({ { "a" }, { "b", "c" } }, { list[1].data, list[2].data })
    for _, msg in ipairs(list) do assert(msg:ack()) end
  end)

  it("reads what is consumed, pushed, and read in order", function()
    put { "a" }
    local got = {}
    local function note(name) return function(msg) got[name] = msg.data end end
    local psub = own.keep(app.js.pull_subscribe(stream .. ".a"))
    assert(psub:consume({ data_type = bars }, note "consumed"))
    own.keep(assert(app.js.subscribe(stream .. ".a", { data_type = bars }, note "pushed")))
    own.keep(assert(app.js.subscribe(stream .. ".a", { data_type = bars, ordered = true },
      note "ordered")))
    eventually("all", function() return got.consumed and got.pushed and got.ordered end)
    assert.same({ consumed = { "a" }, pushed = { "a" }, ordered = { "a" } }, got)
  end)

  it("has a message that it cannot read treated as one that is not JSON", function()
    clean_loop.expected_errors(1)
    assert(app.js.publish(stream .. ".a", "no bars"))
    put { "good" }
    local deliveries, good = 0, nil
    local psub = own.keep(app.js.pull_subscribe(stream .. ".a"))
    local opts = { data_type = bars, max_deliver = 2, backoff = { 0.01 } }
    local handle = assert(psub:consume(opts, function(msg)
      if msg.raw == "no bars" then deliveries = deliveries + 1 end
      good = msg.data
    end))
    eventually("both", function() return deliveries == 2 and good ~= nil end)
    eventually("it is given up", function() return handle:stats().failed == 2 end)
    assert.same({ "good" }, good)
    handle:stop()
    assert.equal(2, #testing.errors()) -- of each delivery
  end)

  it("raises bad_data for a stored message that it cannot read", function()
    assert(app.js.publish(stream .. ".a", "no bars"))
    local msg = assert(app.js.get_msg(stream, { seq = 1 }, { data_type = bars }))
    local ok, err = pcall(function() return msg.data end)
    assert.same({ false, "bad_data" }, { ok, err.code })
    assert.matches("cannot be decoded: there is no bar", err.message)
  end)
end)

describe("a codec over HTTP", function()
  teardown(process.close_all)

  it("reads the bodies of a route and writes its answers", function()
    local svc = serve [[
      app.http.post("/packed", { data_type = "msgpack" }, function(req)
        if req.data == "text" then return "text" end
        if req.data == 404 then return nil, { code = 404, message = "not here" } end
        if req.data == "created" then
          return app.http.response { status = 201, headers = { A = "1" }, body = { 1 } }
        end
        if req.data == "page" then
          req:set_header("Content-Type", "text/html")
          return app.http.response { body = "<p>" }
        end
        return { got = req.data }
      end)
      bars.content_type = "text/bars"
      app.http.post("/bars", { data_type = bars }, function(req) return req.data end)
      app.listen("codec.packed", { data_type = bars }, function(msg) return msg.data end)
      app.http.get("/passed", function()
        return app.request("codec.packed", { "a" }, { data_type = bars })
      end)]]
    local function post(value, path)
      return assert(svc:http("POST", path or "/packed",
        { body = value ~= nil and msgpack.encode(value) or nil, data_type = "msgpack" }))
    end
    local res = post { 1, "a" }
    assert.same({ 200, "application/vnd.msgpack", { got = { 1, "a" } } },
      { res.status, res.headers["content-type"], res.data })
    assert.equal("text", post("text").data)
    assert.same({}, post(nil).data)
    assert.equal(404, post(404).status)
    res = post "created"
    assert.same({ 201, "application/vnd.msgpack", "1", { 1 } },
      { res.status, res.headers["content-type"], res.headers.a, res.data })
    res = post "page"
    assert.same({ 200, "text/html", "<p>" },
      { res.status, res.headers["content-type"], res.body })
    res = assert(svc:http("POST", "/bars", { body = "|x|y|", data_type = bars }))
    assert.same({ { "x", "y" }, "text/bars" }, { res.data, res.headers["content-type"] })
    res = assert(svc:http("GET", "/passed"))
    assert.same({ "|a|", "text/bars" }, { res.body, res.headers["content-type"] })
  end)

  it("answers 400 with the reason for a body that cannot be read", function()
    local svc = serve [[
      app.http.post("/bars", { data_type = bars }, function(req) return req.data end)]]
    local res = assert(svc:http("POST", "/bars", { body = "none" }))
    assert.same({ 400, "the body cannot be decoded: there is no bar" },
      { res.status, res.data.message or res.data.error })
  end)

  it("reads the answer of a server", function()
    local server = http_server.start()
    local res = assert(app.http.request { url = server.url .. "/echo", data_type = bars })
    local ok, err = pcall(function() return res.data end)
    assert.same({ false, "bad_data" }, { ok, err.code })
    assert.matches("GET .*: the answer %(status 200%) cannot be decoded: there is no bar",
      err.message)
    local length = { encode = print, decode = function(bytes) return #bytes end }
    res = assert(app.http.request { url = server.url .. "/echo", data_type = length })
    assert.equal(#res.body, res.data)
  end)
end)
