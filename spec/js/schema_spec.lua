-- Mistakes in configurations: they raise at the call, and nothing is sent.
local newer_server = require "spec.support.newer_server"
local since = require "spec.support.since"
local unique = require "spec.support.unique"

local js = app.js

---What a call raises; the place in front of it is this file.
local function raised(call, ...)
  local before = app.nats.stats().out_msgs
  local ok, err = pcall(call, ...)
  assert.is_false(ok)
  assert.equal(before, app.nats.stats().out_msgs, "something was sent")
  return (tostring(err):gsub("^[^ ]*:%d+: ", ""))
end

local STREAM = {
  { "names the field that was meant", { retentoin = "workqueue" },
    "unknown field 'retentoin' (did you mean 'retention'?)" },
  { "knows the names of others", { ttl = 60 },
    "unknown field 'ttl' (did you mean 'max_age'?)" },
  { "knows camel case", { maxMsgs = 5 },
    "unknown field 'maxMsgs' (did you mean 'max_msgs'?)" },
  { "names a field without a likeness", { xyzzy = 1 }, "unknown field 'xyzzy'" },
  { "names a field of consumers", { ack_wait = 5 },
    "unknown field 'ack_wait': it is a field of consumers" },
  { "looks into lists", { sources = { { nam = "x" } } },
    "unknown field 'sources[1].nam' (did you mean 'name'?)" },
  { "looks into tables", { placement = { clustr = "x" } },
    "unknown field 'placement.clustr' (did you mean 'cluster'?)" },
  { "names the value that was meant", { retention = "workqueu" },
    "retention: one of 'limits', 'interest', 'workqueue' expected, got string 'workqueu' "
    .. "(did you mean 'workqueue'?)" },
  { "refuses a word of another type", { storage = 1 },
    "storage: one of 'file', 'memory' expected, got number 1" },
  { "refuses text for a number", { max_msgs = "10" },
    "max_msgs: a whole number expected, got string '10'" },
  { "refuses fractions", { max_msgs = 1.5 },
    "max_msgs: a whole number expected, got number 1.5" },
  { "refuses a sequence below 0", { first_seq = -1 },
    "first_seq: a whole number, 0 or more, expected, got number -1" },
  { "refuses text for a duration", { max_age = "1h" },
    "max_age: a number of seconds expected, got string" },
  { "refuses text for a switch", { allow_direct = "yes" },
    "allow_direct: true or false expected, got string 'yes'" },
  { "refuses one subject for a list", { subjects = "a.>" },
    "subjects: a list expected, got string 'a.>'" },
  { "refuses a list of other things", { subjects = { "a", 7 } },
    "subjects[2]: a string expected, got number 7" },
  { "refuses a table for a list", { sources = { name = "x" } },
    "sources: a list expected, got a table with the key 'name'" },
  { "refuses holes", { subjects = { "a", nil, "c" } },
    "subjects: a list without holes expected" },
  { "refuses numbers as metadata", { metadata = { team = 1 } },
    "metadata.team: a string expected, got number 1" },
  { "refuses a time that is none", { mirror = { name = "x", opt_start_time = "yesterday" } },
    "mirror.opt_start_time: a Unix time or an RFC3339 string expected, got yesterday" },
}

describe("a mistake in the configuration of a stream", function()
  for _, case in ipairs(STREAM) do
    it(case[1], function()
      for _, call in ipairs { "add_stream", "ensure_stream", "update_stream" } do
        local config = { name = "NEVER" }
        for name, value in pairs(case[2]) do config[name] = value end
        assert.equal(("app.js.%s: %s"):format(call, case[3]), raised(js[call], config))
      end
    end)
  end

  it("is the caller's: the error has its place", function()
    local _, err = pcall(function() js.add_stream { name = "NEVER", retentoin = 1 } end)
    assert.matches("schema_spec.lua:", err, 1, true)
  end)
end)

describe("a mistake in the configuration of a consumer", function()
  it("raises at the call", function()
    local wrong = { stream = "NEVER", durable_name = "d", ack_polcy = "none" }
    for _, call in ipairs { "add_consumer", "ensure_consumer", "update_consumer" } do
      assert.equal(("app.js.%s: unknown field 'ack_polcy' (did you mean 'ack_policy'?)"):format(
        call), raised(js[call], wrong))
    end
    assert.equal("app.js.add_consumer: unknown field 'max_msgs': it is a field of streams",
      raised(js.add_consumer, { stream = "NEVER", durable_name = "d", max_msgs = 1 }))
  end)

  it("raises where a subscription declares it", function()
    local config = { deliver_polcy = "new" }
    local text = ": unknown field 'deliver_polcy' (did you mean 'deliver_policy'?)"
    assert.equal("app.js.pull_subscribe" .. text,
      raised(js.pull_subscribe, "a", { durable = "d", config = config }))
    assert.equal("app.js.subscribe" .. text,
      raised(js.subscribe, "a", { durable = "d", config = config }, function() end))
  end)

  it("raises for values", function()
    local text = raised(js.pull_subscribe, "a", { config = { deliver_policy = "newest" } })
    assert.matches("^app.js.pull_subscribe: deliver_policy: one of 'all', 'last', 'new'", text)
    text = raised(js.add_consumer, { stream = "NEVER", name = "c", backoff = 5 })
    assert.equal("app.js.add_consumer: backoff: a list expected, got number 5", text)
  end)
end)

describe("a mistake in the configuration of a bucket", function()
  it("is told in the words of the bucket", function()
    for _, case in ipairs {
      { { storage = "flie" }, "storage: one of 'file', 'memory' expected, got string 'flie' "
        .. "(did you mean 'file'?)" },
      { { replicas = 1.5 }, "replicas: a whole number expected, got number 1.5" },
      { { ttl = -1 }, "ttl: -1 is not a number of seconds" },
      { { placement = { clustr = "x" } },
        "unknown field 'placement.clustr' (did you mean 'cluster'?)" },
      { { histori = 5 }, "unknown option 'histori' (did you mean 'history'?)" },
    } do
      local config = { bucket = "never" }
      for name, value in pairs(case[1]) do config[name] = value end
      assert.matches("app.js.create_key_value: " .. case[2],
        raised(js.create_key_value, config), 1, true)
    end
    assert.matches("app.js.create_object_store: storage: one of",
      raised(js.create_object_store, { bucket = "never", storage = "flie" }), 1, true)
  end)
end)

describe("a field that this server does not have", function()
  local name

  before_each(function() name = unique "young" end)
  after_each(function() js.delete_stream(name) end)

  ---With a field of a version that is newer than this server.
  local function young()
    for _, case in ipairs { { "2.10", "compression", "s2" }, { "2.11", "allow_msg_ttl", true },
      { "2.12", "allow_msg_schedules", true }, { "2.14", "allow_batched", true } } do
      if not since(case[1]) then return table.unpack(case) end
    end
  end

  it("is unsupported, with the version that has it, and nothing is left behind", function()
    local version, field, value = young()
    if not version then return pending "this server has all of them" end
    local info, err = js.add_stream { name = name, [field] = value }
    assert.is_nil(info)
    assert.equal("unsupported", err.code)
    assert.equal(field, err.field)
    assert.equal(("this server does not support '%s' as asked: it needs nats-server %s or "
      .. "later, this is %s (nothing was changed)"):format(field, version,
      app.nats.server_info().version), err.message)
    assert.equal("not_found", select(2, js.stream_info(name)).code)
    assert(js.add_stream { name = name })
    assert.is_nil((js.add_stream { name = name, [field] = value }))
    assert(js.stream_info(name)) -- it was there before
  end)

  it("is unsupported where only its value is younger", function()
    if since "2.14" then return pending "this server has all of them" end
    assert(js.add_stream { name = name })
    local info, err = js.add_consumer { stream = name, durable_name = "d",
      ack_policy = "flow_control", flow_control = true, idle_heartbeat = 1,
      deliver_subject = "x", max_ack_pending = 5 }
    assert.is_nil(info)
    assert.equal("unsupported", err.code)
    assert.equal("ack_policy", err.field)
    assert.matches("needs nats-server 2.14 or later", err.message, 1, true)
  end)
end)

describe("a field that only a server newer than all we know may have", function()
  local name

  before_each(function() name = unique "newer" end)
  after_each(function() js.delete_stream(name) end)

  it("is passed on, and unsupported when the server ignores or refuses it", function()
    for field, config in pairs {
      no_such_field = { no_such_field = true },
      ["placement.no_such_field"] = { placement = { cluster = "", no_such_field = 7 } },
    } do
      config.name = name
      local info, err = newer_server(js.add_stream, config)
      assert.is_nil(info)
      assert.equal("unsupported", err.code)
      assert.equal(field, err.field)
      assert.equal("not_found", select(2, js.stream_info(name)).code)
    end
  end)

  it("leaves alone what was there before", function()
    assert(js.add_stream { name = name })
    assert.is_nil((newer_server(js.add_stream, { name = name, no_such_field = true })))
    assert(js.stream_info(name))
    local info, err = newer_server(js.add_consumer, { stream = name, durable_name = "c",
      no_such_field = 7 })
    assert.is_nil(info)
    assert.equal("unsupported", err.code)
    assert.equal("not_found", select(2, js.consumer_info(name, "c")).code)
  end)
end)

describe("the fields that are known", function()
  it("are those that are declared for editors", function()
    local declared = require "spec.support.declarations"
    local schema = require "lunats.js.schema"
    for kind, fields in pairs(schema.fields) do
      local names = declared.options(("js.%s_config"):format(kind))
      for name in pairs(fields) do assert(names[name], ("%s: %s"):format(kind, name)) end
      names["[string]"] = nil
      for name in pairs(names) do assert(fields[name], ("%s: %s"):format(kind, name)) end
    end
  end)
end)
