-- Changing, listing and reading streams and consumers.
local core = require "lunats.core"
local js_config = require "lunats.js.config"
local json = require "lunats.json"
local newer_server = require "spec.support.newer_server"
local unique = require "spec.support.unique"

describe("app.js", function()
  local made, stream

  local function add(config)
    made[#made + 1] = config.name
    return assert(app.js.add_stream(config))
  end

  before_each(function()
    made = {}
    stream = unique "manage"
  end)
  after_each(function()
    for _, name in ipairs(made) do app.js.delete_stream(name) end
  end)

  local function put(count, subject)
    for i = 1, count do assert(app.js.publish(subject, { i = i })) end
  end

  describe("update_stream", function()
    it("changes what is given and leaves the rest", function()
      add { name = stream, subjects = { stream }, max_msgs = 10, allow_direct = true,
        description = "first" }
      local info = assert(app.js.update_stream { name = stream, max_age = 60 })
      assert.equal(60, info.config.max_age)
      assert.equal(60, info.config.duplicate_window)
      assert.equal(10, info.config.max_msgs)
      assert.is_true(info.config.allow_direct)
      assert.equal("first", info.config.description)
      info = assert(app.js.update_stream { name = stream, description = json.null,
        allow_direct = false })
      assert.is_nil(info.config.description)
      assert.is_false(info.config.allow_direct)
    end)

    it("fails for a stream that is not there", function()
      local info, err = app.js.update_stream { name = stream, max_age = 1 }
      assert.is_nil(info)
      assert.equal("not_found", err.code)
    end)

    it("tells what the server ignores", function()
      add { name = stream }
      local info, err = newer_server(app.js.update_stream,
        { name = stream, no_such_field = 7 })
      assert.is_nil(info)
      assert.equal("unsupported", err.code)
      assert.equal("no_such_field", err.field)
    end)

    it("changes nothing where the server does not know a field", function()
      add { name = stream, max_msgs = 10 }
      local info, err = newer_server(app.js.update_stream,
        { name = stream, max_msgs = 5, no_such_field = 7 })
      assert.is_nil(info)
      assert.equal("unsupported", err.code)
      assert.equal(10, app.js.stream_info(stream).config.max_msgs)
      assert(app.js.add_consumer { stream = stream, durable_name = "c", ack_wait = 10 })
      for _, call in ipairs { "update_consumer", "add_consumer", "ensure_consumer" } do
        info, err = newer_server(app.js[call], { stream = stream, durable_name = "c",
          ack_wait = 20, no_such_field = 7 })
        assert.is_nil(info)
        assert.equal("unsupported", err.code)
        assert.equal(10, app.js.consumer_info(stream, "c").config.ack_wait)
      end
    end)
  end)

  describe("ensure_stream", function()
    it("creates, leaves alone what is the same, changes what differs", function()
      made[1] = stream
      local config = { name = stream, subjects = { stream .. ".a" }, max_msgs = 5 }
      assert(app.js.ensure_stream(config))
      local info = assert(app.js.ensure_stream(config))
      assert.equal(5, info.config.max_msgs)
      assert.equal(0, info.state.messages)
      config.max_msgs, config.subjects = 6, { stream .. ".a", stream .. ".b" }
      info = assert(app.js.ensure_stream(config, { keep = true }))
      assert.equal(5, info.config.max_msgs)
      info = assert(app.js.ensure_stream(config))
      assert.equal(6, info.config.max_msgs)
      assert.same({ stream .. ".a", stream .. ".b" }, info.config.subjects)
    end)

    it("reports what cannot be changed", function()
      add { name = stream, storage = "memory" }
      local info, err = app.js.ensure_stream { name = stream, storage = "file" }
      assert.is_nil(info)
      assert.truthy(err.message:find("storage", 1, true))
    end)
  end)

  describe("purge_stream", function()
    before_each(function()
      add { name = stream, subjects = { stream .. ".*" } }
      put(3, stream .. ".a")
      put(2, stream .. ".b")
    end)

    for _, case in ipairs {
      { "everything", nil, 5 }, { "a subject", { subject = ".b" }, 2 },
      { "up to a number", { seq = 3 }, 2 }, { "all but the last", { keep = 1 }, 4 },
      { "all but the last of a subject", { keep = 1, subject = ".a" }, 2 },
    } do
      it("deletes " .. case[1], function()
        local opts = case[2]
        if opts and opts.subject then opts.subject = stream .. opts.subject end
        assert.equal(case[3], assert(app.js.purge_stream(stream, opts)))
        assert.equal(5 - case[3], app.js.stream_info(stream).state.messages)
      end)
    end

    it("refuses what cannot be meant", function()
      assert.has_error(function() app.js.purge_stream(stream, { seq = 1, keep = 1 }) end)
      assert.has_error(function() app.js.purge_stream(stream, { seq = 1.5 }) end)
      assert.has_error(function() app.js.purge_stream(stream, { sub = "x" }) end)
    end)
  end)

  it("lists streams, and those of a subject", function()
    add { name = stream, subjects = { stream .. ".*" }, max_age = 60 }
    local other = unique "other"
    add { name = other }
    local seen = {}
    for _, name in ipairs(assert(app.js.stream_names())) do seen[name] = true end
    assert.is_true(seen[stream] and seen[other])
    assert.same({ stream }, assert(app.js.stream_names { subject = stream .. ".x" }))
    local infos = assert(app.js.streams { subject = stream .. ".x" })
    assert.equal(1, #infos)
    assert.equal(60, infos[1].config.max_age)
    assert.same({}, assert(app.js.streams { subject = unique "nobody" }))
  end)

  it("tries again what the server cannot do just now", function()
    local api = require "lunats.js.api"
    local prefix = api.prefix
    api.prefix = unique "api"
    finally(function() api.prefix = prefix end)
    for _, code in ipairs { 10008, 10049 } do
      local tries = 0
      local listener = app.listen(api.prefix .. ".STREAM.DELETE." .. code, function()
        tries = tries + 1
        if tries == 2 then return { success = true } end
        return { error = { code = 500, err_code = code, description = "not just now" } }
      end)
      assert.is_true(assert(app.js.delete_stream(tostring(code))))
      assert.equal(2, tries)
      listener:stop()
    end
  end)

  it("reads lists of many pages", function()
    local api = require "lunats.js.api"
    local raw = api.raw
    api.raw = function(_, body)
      local from = body and body.offset or 0
      local page = {}
      for i = from + 1, math.min(from + 3, 7) do page[#page + 1] = "s" .. i end
      return { streams = #page > 0 and page or json.null, total = 7, offset = from, limit = 3 }
    end
    local names = app.js.stream_names()
    api.raw = raw
    assert.same({ "s1", "s2", "s3", "s4", "s5", "s6", "s7" }, names)
  end)

  it("tells about the account", function()
    local info = assert(app.js.account_info())
    assert.equal("integer", math.type(info.streams))
    assert.equal("table", type(info.limits))
  end)

  for _, direct in ipairs { true, false } do
    describe(direct and "get_msg, directly" or "get_msg, from the leader", function()
      before_each(function()
        add { name = stream, subjects = { stream .. ".*" }, allow_direct = direct }
        put(2, stream .. ".a")
        assert(app.js.publish(stream .. ".b", "text", { headers = { Colour = "red" } }))
        put(1, stream .. ".a")
      end)

      it("finds a message by its number", function()
        local msg = assert(app.js.get_msg(stream, { seq = 2 }))
        assert.equal(2, msg.data.i)
        assert.equal(stream .. ".a", msg.subject)
        assert.equal(2, msg.sequence)
        assert.is_true(math.abs(msg.created - core.now()) < 60)
      end)

      it("finds the last one of a subject", function()
        local msg = assert(app.js.get_msg(stream, { last_by_subject = stream .. ".b" },
          { data_type = "string" }))
        assert.equal("text", msg.data)
        assert.equal("text", msg.raw)
        assert.equal("red", msg:header "colour")
      end)

      it("finds the next one of a subject", function()
        local query = { next_by_subject = stream .. ".a", seq = 3 }
        assert.equal(4, assert(app.js.get_msg(stream, query)).sequence)
        query.seq = nil
        assert.equal(1, assert(app.js.get_msg(stream, query)).sequence)
      end)

      it("says when there is none", function()
        for _, query in ipairs { { seq = 99 }, { last_by_subject = stream .. ".z" } } do
          local msg, err = app.js.get_msg(stream, query)
          assert.is_nil(msg)
          assert.equal("not_found", err.code)
        end
      end)

      it("raises for text where JSON is expected", function()
        local msg = assert(app.js.get_msg(stream, { seq = 3 }))
        local ok, err = pcall(function() return msg.data end)
        assert.is_false(ok)
        assert.equal("bad_json", err.code)
      end)

      it("deletes a message", function()
        assert.is_true(assert(app.js.delete_msg(stream, 2)))
        assert.is_true(assert(app.js.delete_msg(stream, 1, { secure = true })))
        local ok, err = app.js.delete_msg(stream, 2)
        assert.is_nil(ok)
        assert.is_number(err.err_code)
        assert.is_nil((app.js.get_msg(stream, { seq = 2 })))
      end)
    end)
  end

  it("notices that a stream does not allow direct gets any more", function()
    local api = require "lunats.js.api"
    local timeout = api.timeout
    add { name = stream, subjects = { stream }, allow_direct = true }
    put(1, stream)
    assert(app.js.get_msg(stream, { seq = 1 }))
    assert(app.js.update_stream { name = stream, allow_direct = false })
    api.timeout = 1
    local msg = app.js.get_msg(stream, { seq = 1 })
    api.timeout = timeout
    assert.equal(1, assert(msg).sequence)
  end)

  it("refuses queries that cannot be meant", function()
    local both = { seq = 1, last_by_subject = "x" }
    for _, query in ipairs { {}, { seq = 0 }, both, { sec = 1 } } do
      assert.has_error(function() app.js.get_msg("S", query) end)
    end
    assert.has_error(function() app.js.delete_msg("S") end)
    assert.has_error(function() app.js.delete_msg("S", 0) end)
  end)

  describe("consumers", function()
    before_each(function() add { name = stream, subjects = { stream .. ".*" } } end)

    it("can be updated field by field", function()
      assert(app.js.add_consumer { stream = stream, durable_name = "d", ack_wait = 5,
        description = "first" })
      local info = assert(app.js.update_consumer { stream = stream, durable_name = "d",
        ack_wait = 6 })
      assert.equal(6, info.config.ack_wait)
      assert.equal("first", info.config.description)
      local none, err = app.js.update_consumer { stream = stream, durable_name = "x" }
      assert.is_nil(none)
      assert.equal("not_found", err.code)
    end)

    it("can be ensured", function()
      local config = { stream = stream, durable_name = "d", ack_wait = 5,
        filter_subject = stream .. ".a" }
      assert(app.js.ensure_consumer(config))
      config.ack_wait = 7
      assert.equal(5, assert(app.js.ensure_consumer(config, { keep = true })).config.ack_wait)
      local info = assert(app.js.ensure_consumer(config))
      assert.equal(7, info.config.ack_wait)
      assert.equal(info.created, assert(app.js.ensure_consumer(config)).created)
      assert.equal(stream .. ".a", info.config.filter_subject)
    end)

    it("can be listed", function()
      assert.same({}, assert(app.js.consumer_names(stream)))
      assert(app.js.add_consumer { stream = stream, durable_name = "a" })
      assert(app.js.add_consumer { stream = stream, durable_name = "b", ack_wait = 3 })
      local names = assert(app.js.consumer_names(stream))
      table.sort(names)
      assert.same({ "a", "b" }, names)
      local infos = assert(app.js.consumers(stream))
      assert.equal(2, #infos)
      local none, err = app.js.consumers(unique "none")
      assert.is_nil(none)
      assert.equal("not_found", err.code)
    end)

    it("cannot be paused by an old server", function()
      local level = assert(require "lunats.js.api".level())
      if level >= 1 then return pending "this server can" end
      assert(app.js.add_consumer { stream = stream, durable_name = "a" })
      for _, call in ipairs { "pause_consumer", "resume_consumer" } do
        local ok, err = app.js[call](stream, "a", core.now() + 60)
        assert.is_nil(ok)
        assert.equal("unsupported", err.code)
      end
      assert.has_error(function() app.js.pause_consumer(stream, "a") end)
    end)
  end)
end)

describe("lunats.js.config.differs", function()
  for _, case in ipairs {
    { "nothing", {}, { a = 1 }, false },
    { "a value", { a = 1 }, { a = 2 }, true },
    { "a value that is not there", { a = "x" }, {}, true },
    { "no default", { a = false, b = 0, c = "" }, {}, false },
    { "false where it is true", { a = false }, { a = true }, true },
    { "zero where there is a limit", { max_msgs = 0 }, { max_msgs = 5 }, true },
    { "no limit, however it is written", { max_msgs = 0 }, { max_msgs = -1 }, false },
    { "a list", { a = { "x" } }, { a = { "x", "y" } }, true },
    { "the order of a list", { a = { "x", "y" } }, { a = { "y", "x" } }, true },
    { "no same list", { a = { "x" } }, { a = { "x" } }, false },
    { "no metadata of the server", { metadata = { a = "1" } },
      { metadata = { a = "1", ["_nats.level"] = "1" } }, false },
    { "metadata that is to go", { metadata = { a = "1" } }, { metadata = { a = "1", b = "2" } },
      true },
    { "no digits of a time", { opt_start_time = "2030-01-01T00:00:00Z" },
      { opt_start_time = "2030-01-01T00:00:00.000Z" }, false },
  } do
    it("sees " .. case[1], function()
      assert.equal(case[4], js_config.differs(case[2], case[3]))
    end)
  end
end)

describe("app.js.consumer_info", function()
  it("does not find one that is just being deleted: the answer is without it", function()
    local server = app.listen("JS.fake.CONSUMER.INFO.S.c", function()
      return { type = "io.nats.jetstream.api.v1.consumer_info_response" }
    end)
    local info, err = app.js.context { prefix = "JS.fake" }.consumer_info("S", "c")
    assert.is_nil(info)
    assert.equal("not_found", err.code)
    server:stop()
  end)
end)
