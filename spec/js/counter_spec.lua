-- Numbers that a stream adds up.
local failed = require "spec.support.failed"
local since = require "spec.support.since"
local unique = require "spec.support.unique"

describe("app.js.counter", function()
  local stream

  before_each(function() stream = unique "counter" end)
  after_each(function() app.js.delete_stream(stream) end)

  local function add_stream(allow_msg_counter)
    assert(app.js.add_stream { name = stream, subjects = { stream .. ".>" },
      allow_msg_counter = allow_msg_counter })
  end

  it("is refused by servers that have none, with the version that has", function()
    if since "2.12" then return pending "this server has them" end
    add_stream()
    local counter = app.js.counter(stream .. ".a")
    local _, err = counter:add(1)
    failed("unsupported", _, err)
    assert.matches("2%.12", err.message)
    failed("unsupported", counter:get())
    assert.equal(0, app.js.stream_info(stream).state.messages)
  end)

  it("checks its arguments", function()
    local counter = app.js.counter(stream .. ".a")
    for _, n in ipairs { 1.5, "x", "1.5", "", true, {} } do
      assert.has_error(function() counter:add(n) end)
    end
    assert.has_error(function() counter:add(1, { no_such = 1 }) end)
    for _, subject in ipairs { "a b", "", "a.*" } do
      assert.has_error(function() app.js.counter(subject) end)
    end
  end)

  describe("on a server that has them", function()
    since.it("2.12", "adds up for each subject", function()
      add_stream(true)
      local a, b = app.js.counter(stream .. ".a"), app.js.counter(stream .. ".b")
      failed("not_found", a:get())
      assert.same({ 1, 11, 9 }, { assert(a:add()), assert(a:add(10)), assert(a:add "-2") })
      assert.equal(-5, assert(b:add(-5)))
      assert.equal(0, assert(b:add(5)))
      assert.same({ 9, 0 }, { assert(a:get()), assert(b:get()) })
      assert.equal(9, assert(app.js.counter(stream .. ".a", { stream = stream }):get()))
    end)

    since.it("2.12", "has no limits", function()
      add_stream(true)
      local counter = app.js.counter(stream .. ".a")
      assert.equal(math.maxinteger, assert(counter:add(math.maxinteger)))
      assert.equal("9223372036854775808", assert(counter:add(1)))
      assert.equal("9223372036854775808", assert(counter:get()))
      assert.equal(0, assert(counter:add "-9223372036854775808"))
      assert.equal(math.mininteger, assert(counter:add(math.mininteger)))
    end)

    since.it("2.12", "is added to once for one msg_id", function()
      add_stream(true)
      local counter = app.js.counter(stream .. ".a")
      for _ = 1, 2 do assert.equal(3, assert(counter:add(3, { msg_id = "once" }))) end
      assert.equal(3, assert(counter:get()))
    end)

    since.it("2.12", "is refused by a stream that was not made for it", function()
      add_stream()
      local counter = app.js.counter(stream .. ".a")
      local _, err = counter:add(1)
      failed("unsupported", _, err)
      assert.equal("allow_msg_counter", err.field)
      assert(app.js.publish(stream .. ".a", "text"))
      failed("jetstream", counter:get())
      failed("no_stream", app.js.counter("nobody.has.this." .. stream):get())
    end)
  end)
end)
