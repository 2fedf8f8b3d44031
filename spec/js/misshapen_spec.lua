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
      return answers[msg.subject:sub(#api + 2)] or answers.any
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
