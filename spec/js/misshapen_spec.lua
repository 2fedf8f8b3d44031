-- Answers of the JetStream API that are none: from who has taken the server's place, or from a
-- server with a mistake. A call tells them as an err, and never raises.
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

local STATE = { messages = 1, bytes = 1, first_seq = 1, last_seq = 1 }
local SEQUENCES = { consumer_seq = 0, stream_seq = 0 }
local CONSUMER = { name = "C", stream_name = "S", config = { durable_name = "C" },
  num_pending = 0, delivered = SEQUENCES, ack_floor = SEQUENCES }

local function with(fields, changes)
  local copy = {}
  for name, value in pairs(fields) do copy[name] = value end
  for name, value in pairs(changes) do copy[name] = value end
  return copy
end

describe("an answer of the JetStream API that makes no sense", function()
  local svc, api, listener, answers

  setup(function()
    api, answers = unique "api", {}
    listener = app.listen(api .. ".>", { queue = false }, function(msg)
      local answer = answers[msg.subject:sub(#api + 2)] or answers.any
      if type(answer) == "function" then return answer(msg) end
      return answer
    end)
    svc = testing.start([[
      app.listen("call", { data_type = "string" }, function(msg)
        local ok, result, err = pcall(load("local js = app.js; return " .. msg.data))
        if not ok then return { raised = tostring(result) } end
        return { result = result, err = err }
      end)]], { js_prefix = api })
  end)
  teardown(function()
    svc:stop()
    listener:stop()
  end)

  local function call(code) return assert(svc:request("call", code)).data end

  local function refused(code, answer, words)
    answers = answer.any ~= nil and answer or { any = answer }
    local reply = call(code)
    assert.is_nil(reply.raised)
    assert.is_nil(reply.result)
    assert.equal("jetstream", reply.err.code)
    assert.truthy(reply.err.message:find(words, 1, true), reply.err.message)
  end

  for words, answer in pairs {
    ["answer is a list"] = app.json.array { 1 },
    ["answer.config is missing"] = { state = STATE },
    ["answer.config.name is missing"] = { config = { subjects = { "a" } }, state = STATE },
    ["answer.config is a string"] = { config = "x", state = STATE },
    ["answer.config is a list"] = { config = app.json.array {}, state = STATE },
    ["answer.config.max_age is a string"] = { config = { max_age = "1h" }, state = STATE },
    ["answer.config.subjects[2] is a number"] = { config = { subjects = { "a", 1 } },
      state = STATE },
    ["answer.config.sources[1].external.api is a boolean"] = { state = STATE,
      config = { sources = { { name = "A", external = { api = true } } } } },
    ["answer.config.metadata is a table"] = { config = { metadata = { a = 1 } },
      state = STATE },
    ["answer.state.last_seq is missing"] = { config = { name = "S" }, state = with(STATE,
      { last_seq = app.json.null }) },
    ["answer.state.bytes is a number"] = { config = { name = "S" },
      state = with(STATE, { bytes = 1.5 }) },
    ["error is a string"] = { error = "no" },
    ["error.description is a number"] = { error = { code = 400, description = 5 } },
  } do
    it("is refused as a stream: " .. words, function()
      refused('js.stream_info "S"', answer, words)
      refused('js.ensure_stream { name = "S", subjects = { "s" } }', answer, words)
    end)
  end

  it("is refused as a consumer", function()
    refused('js.consumer_info("S", "C")', with(CONSUMER, { delivered = 5 }),
      "answer.delivered is a number")
    refused('js.ensure_consumer { stream = "S", durable_name = "C" }',
      with(CONSUMER, { config = { backoff = { "1s" } } }), "backoff[1] is a string")
    refused('js.update_consumer { stream = "S", durable_name = "C" }',
      with(CONSUMER, { name = app.json.null }), "answer.name is missing")
  end)

  it("is refused as a page of a list", function()
    refused("js.stream_names()", { total = 1, streams = { 5 } }, "streams[1] is a number")
    refused('js.find_stream "s"', { streams = { "$JS.A.b" } }, "streams[1] is no name")
    refused('js.counter("s"):get()', { streams = { "$JS.A.b" },
      any = { api = { level = 3 } }, ["STREAM.NAMES"] = { streams = { "$JS.A.b" } } },
      "streams[1] is no name")
    refused("js.streams()", { total = "x" }, "answer.total is a string")
    refused('js.consumers "S"', { consumers = { CONSUMER, { config = 1 } } },
      "consumers[2].config is a number")
  end)

  it("is refused as a message", function()
    local info = { config = { name = "S" }, state = STATE }
    local get = 'js.get_msg("S", { seq = 1 })'
    local function message(fields)
      return { any = {}, ["STREAM.INFO.S"] = info, ["STREAM.MSG.GET.S"] = { message = fields } }
    end
    refused(get, message(nil), "answer.message is missing")
    refused(get, message { seq = 1 }, "answer.message.subject is missing")
    refused(get, message { subject = "s", seq = 1, data = "*" }, "no base64")
    refused(get, message { subject = "s", seq = -1 }, "answer.message.seq is a number")
    refused(get, message { subject = "s", seq = 2^63 }, "answer.message.seq is a number")
  end)

  it("is refused as a message that was not asked for", function()
    answers = { any = { message = { subject = "s", seq = 3 } },
      ["STREAM.INFO.S"] = { config = { name = "S" }, state = with(STATE, { last_seq = 9 }) } }
    refused('js.get_msg("S", { seq = 4 })', answers, "message 3 has come")
    refused('js.get_msg("S", { seq = 4, next_by_subject = ">" })', answers,
      "message 3 has come")
    refused('js.dead_letters("S"):list { first = 4 }', answers, "message 3 has come")
    local reply = call 'js.get_msg("S", { seq = 2, next_by_subject = ">" })'
    assert.equal(3, reply.result.sequence)
  end)

  it("is refused as a list without end", function()
    local endless = { total = 1000000000000000, streams = { "A", "B" } }
    refused("js.stream_names()", endless, "without end")
    endless.streams = { { config = { name = "A" }, state = STATE } }
    refused("js.streams()", endless, "without end")
    refused('js.consumers "S"', { total = 9, consumers = { CONSUMER } }, "without end")
  end)

  describe("of a bucket", function()
    local function bucket(state, more)
      local info = { config = { name = "KV_B", max_msgs_per_subject = 1 },
        total = 1000000000000000, state = with(STATE, state) }
      return with(more or {}, { any = {}, ["STREAM.INFO.KV_B"] = info })
    end

    it("is refused as what there is", function()
      local keys = [[(function()
        local kv, err = js.key_value "B"
        if not kv then return nil, err end
        return kv:keys()
      end)()]]
      for _, count in ipairs { "x", -1, 1.5, app.json.array {} } do
        refused(keys, bucket { subjects = { ["$KV.B.a"] = count } },
          "answer.state.subjects is")
      end
      refused(keys, bucket { subjects = { ["$KV.B.a"] = 1 } }, "without end")
    end)

    it("is refused as an acknowledgement", function()
      for _, seq in ipairs { 0, -1, 2^63 } do
        refused('js.key_value("B"):put("a", 1)', bucket({}, { ["$KV.B.a"] =
          { stream = "KV_B", seq = seq } }), "does not come from a stream")
      end
    end)
  end)

  it("makes no subject of what is none", function()
    local config = { durable_name = "C", filter_subject = "a b." }
    answers = { any = with(CONSUMER, { config = config }) }
    local update = 'js.update_consumer { stream = "S", durable_name = "C", max_deliver = 2 }'
    assert.is_nil(call(update).raised)
  end)

  it("is a refusal that nothing is known of", function()
    answers = { any = { error = { code = 400, err_code = 10093, description = "why not" } } }
    local reply = call "js.stream_names()"
    assert.is_nil(reply.raised)
    assert.truthy(reply.err.message:find "why not")
  end)

  it("is an err also where it is one of another request", function()
    for _, code in ipairs { 10059, 10065, 10093 } do
      local answer = { error = { code = 400, err_code = code, description = "no" } }
      answers = { any = answer }
      for _, request in ipairs { "js.stream_names()", "js.account_info()",
        'js.add_stream { name = "S" }', 'js.add_consumer { stream = "S", name = "C" }' } do
        local reply = call(request)
        assert.is_nil(reply.raised)
        assert.equal(code, reply.err.err_code)
      end
    end
  end)

  -- All that is done with a message needs to know which one of the stream it is.
  it("is no message of a consumer", function()
    local info = { config = { name = "S" }, state = STATE }
    local sent = 0
    local function deliver(msg)
      app.publish(msg.reply_to, "{}", { reply_to = "elsewhere" })
      app.publish(msg.reply_to, "{}")
      sent = sent + 1
    end
    answers = { any = CONSUMER, ["STREAM.INFO.S"] = info, ["CONSUMER.MSG.NEXT.S.C"] = deliver }
    local subscribe = 'js.pull_subscribe(nil, { stream = "S", durable = "C" })'
    local reply = call(("#(%s:fetch(7, { timeout = 0.3 }) or {})"):format(subscribe))
    assert.is_nil(reply.raised)
    assert.equal(0, reply.result)
    assert.truthy(sent > 0)
    sent = 0
    reply = call(([[(function()
      local seen, psub = 0, %s
      local handle = assert(psub:consume({ expires = 1, heartbeat = 0.2 }, function(msg)
        seen = seen + 1
        error "seen"
      end))
      app.sleep(0.3)
      psub:stop()
      return { seen = seen, received = handle:stats().received }
    end)()]]):format(subscribe))
    assert.same({ seen = 0, received = 0 }, reply.result)
    assert.truthy(sent > 0)
  end)

  it("is a bucket no more", function()
    refused('js.key_value "B"', { config = { name = "KV_B" }, state = STATE }, "not a bucket")
  end)

  it("does not stand in the way of what is new, or null", function()
    answers = { any = { config = { name = "S", novel = { 1 }, metadata = app.json.null,
      retention = "novel" }, state = with(STATE, { lost = app.json.null }), novel = "x" } }
    local reply = call 'js.stream_info "S"'
    assert.equal("novel", reply.result.config.retention)
    assert.same({ 1 }, reply.result.config.novel)
  end)

  it("of a consumer that is just being deleted says that there is none", function()
    answers = { any = { type = "io.nats.jetstream.api.v1.consumer_info_response" } }
    for _, code in ipairs { 'js.consumer_info("S", "C")',
      'js.update_consumer { stream = "S", durable_name = "C" }' } do
      assert.equal("not_found", call(code).err.code)
    end
  end)
end)
