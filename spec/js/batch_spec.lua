-- Several messages that are stored together, or not at all.
local eventually = require "spec.support.eventually"
local since = require "spec.support.since"
local unique = require "spec.support.unique"

describe("app.js.batch", function()
  local stream

  before_each(function() stream = unique "batch" end)
  after_each(function() app.js.delete_stream(stream) end)

  local function add_stream(allow_atomic)
    assert(app.js.add_stream { name = stream, subjects = { stream .. ".>" },
      allow_atomic = allow_atomic })
  end

  local function count() return assert(app.js.stream_info(stream)).state.messages end

  it("is refused by servers that have none, with the version that has", function()
    if since "2.12" then return pending "this server has them" end
    local info, err = app.js.add_stream { name = stream, subjects = { stream .. ".>" },
      allow_atomic = true }
    assert.is_nil(info)
    assert.equal("unsupported", err.code)
    assert.equal("allow_atomic", err.field)
    assert.matches("2%.12", err.message)
    add_stream()
    for _, method in ipairs { "add", "commit" } do
      local batch = app.js.batch()
      info, err = batch[method](batch, stream .. ".a", 1)
      assert.is_nil(info)
      assert.equal("unsupported", err.code)
      assert.matches("2%.12", err.message)
    end
    assert.equal(0, count())
  end)

  it("checks its arguments", function()
    local batch = app.js.batch()
    for _, call in ipairs { "add", "commit" } do
      assert.has_error(function() batch[call](batch, "a b", 1) end)
      assert.has_error(function() batch[call](batch, "a", 1, { no_such = 1 }) end)
    end
    assert.has_error(function() batch:add(nil, 1) end)
    assert.has_error(function() batch:commit() end)
    assert.has_error(function() app.js.batch { timeout = "1" } end)
    assert.equal(0, batch.count)
  end)

  it("is of one fiber at a time", function()
    add_stream()
    local batch, raised = app.js.batch(), nil
    local subject, done = stream .. ".a", 0
    for _ = 1, 2 do
      app.spawn(function()
        local ok, err = pcall(batch.add, batch, subject, 1)
        raised = not ok and err or raised
        done = done + 1
      end)
    end
    eventually("both", function() return done == 2 end)
    assert.matches("batch:add: another fiber is sending", raised)
    assert.is_nil(batch.busy)
  end)

  describe("on a server that has them", function()
    since.it("2.12", "stores all at the commit and nothing before", function()
      add_stream(true)
      local batch = app.js.batch()
      for i = 1, 250 do assert(batch:add(("%s.%d"):format(stream, i % 3), { i = i })) end
      assert.equal(250, batch.count)
      assert.equal(0, count())
      local ack = assert(batch:commit(stream .. ".last", "the end"))
      assert.same({ stream, 251, 251, batch.id }, { ack.stream, ack.seq, ack.count, ack.batch })
      assert.equal(251, count())
      for i = 1, 250 do
        assert.equal(i, assert(app.js.get_msg(stream, { seq = i })).data.i)
      end
    end)

    since.it("2.12", "stores a single message", function()
      add_stream(true)
      assert.equal(1, assert(app.js.batch():commit(stream .. ".a", 1)).count)
      assert.equal(1, count())
    end)

    since.it("2.12", "encodes its messages by a data_type", function()
      add_stream(true)
      local batch, packed = app.js.batch(), { data_type = "msgpack" }
      assert(batch:add(stream .. ".a", { 1 }, packed))
      assert(batch:commit(stream .. ".a", { 2 }, packed))
      for i = 1, 2 do
        assert.same({ i }, assert(app.js.get_msg(stream, { seq = i }, packed)).data)
      end
    end)

    since.it("2.14", "is stored without a last message", function()
      add_stream(true)
      local batch = app.js.batch()
      assert(batch:add(stream .. ".a", 1))
      assert(batch:add(stream .. ".b", 2))
      assert.equal(2, assert(batch:commit()).count)
      assert.equal(2, count())
    end)

    since.it("2.12", "stores nothing when an expectation is not met", function()
      add_stream(true)
      assert(app.js.publish(stream .. ".a", "before"))
      local batch = app.js.batch()
      assert(batch:add(stream .. ".a", 1, { expected_last_seq = 7 }))
      local ack, err = batch:commit(stream .. ".b", 2)
      assert.is_nil(ack)
      assert.equal("wrong_last_sequence", err.code)
      assert.equal(1, count())
    end)

    since.it("2.12", "is over after commit and discard", function()
      add_stream(true)
      local committed, discarded = app.js.batch(), app.js.batch()
      assert(committed:commit(stream .. ".a", 1))
      assert(discarded:add(stream .. ".a", 2))
      discarded:discard()
      for _, batch in ipairs { committed, discarded } do
        assert.is_true(batch.closed)
        for _, method in ipairs { "add", "commit" } do
          local ok, err = batch[method](batch, stream .. ".a", 3)
          assert.is_nil(ok)
          assert.equal("closed", err.code)
        end
      end
      assert.equal(1, count())
    end)

    since.it("2.12", "is refused by a stream that was not made for it", function()
      add_stream()
      local batch = app.js.batch()
      local ok, err = batch:add(stream .. ".a", 1)
      assert.is_nil(ok)
      assert.equal("unsupported", err.code)
      assert.equal("allow_atomic", err.field)
      assert.is_true(batch.closed)
      ok, err = batch:commit(stream .. ".a", 2)
      assert.is_nil(ok)
      assert.equal("unsupported", err.code)
      ok, err = app.js.batch():add("nobody.has.this." .. stream, 1)
      assert.is_nil(ok)
      assert.equal("no_stream", err.code)
      assert.equal(0, count())
    end)

    since.it("2.12", "is told from others at the same time", function()
      add_stream(true)
      local done = 0
      for n = 1, 5 do
        app.spawn(function()
          local batch = app.js.batch()
          for i = 1, 20 do assert(batch:add(stream .. ".a", { n = n, i = i })) end
          assert.equal(21, assert(batch:commit(stream .. ".a", { n = n, i = 21 })).count)
          done = done + 1
        end)
      end
      eventually("all", function() return done == 5 end)
      assert.equal(105, count())
    end)
  end)
end)
