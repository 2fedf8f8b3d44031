-- Messages that the server publishes later.
local eventually = require "spec.support.eventually"
local failed = require "spec.support.failed"
local since = require "spec.support.since"
local unique = require "spec.support.unique"

describe("app.js.schedule", function()
  local stream

  before_each(function() stream = unique "schedule" end)
  after_each(function() app.js.delete_stream(stream) end)

  local function add_stream(allow)
    assert(app.js.add_stream { name = stream, subjects = { stream .. ".>" },
      allow_msg_schedules = allow, allow_msg_ttl = allow, allow_rollup_hdrs = allow })
  end

  local function schedule(opts, message)
    opts.target = opts.target or stream .. ".due"
    return app.js.schedule(stream .. ".plan", message, opts)
  end

  local function due(subject)
    return app.js.get_msg(stream, { last_by_subject = subject or stream .. ".due" },
      { data_type = "string" })
  end

  it("is refused by servers that have none, with the version that has", function()
    if since "2.12" then return pending "this server has them" end
    add_stream()
    local _, err = schedule { at = app.now() }
    failed("unsupported", _, err)
    assert.matches("2%.12", err.message)
    assert.equal(0, app.js.stream_info(stream).state.messages)
  end)

  it("checks its arguments", function()
    local at = app.now()
    for _, opts in ipairs { {}, { at = at, every = 1 }, { at = -1 }, { every = 0.5 },
      { every = 0 / 0 }, { at = at, time_zone = "Europe/Berlin" }, { at = at, rollup = "all" },
      { at = at, target = "a b" }, { at = at, source = "*" }, { at = at, ttl = 0 },
      { at = at, no_such = 1 } } do
      assert.has_error(function() schedule(opts) end)
    end
    assert.has_error(function() app.js.schedule(stream .. ".plan", nil, { at = at }) end)
    assert.has_error(function() app.js.schedule("a b", nil, { at = at, target = "a" }) end)
  end)

  describe("on a server that has them", function()
    since.it("2.12", "brings a message to its target at its time", function()
      add_stream(true)
      local ack = assert(schedule({ at = app.now() + 1, ttl = 60,
        headers = { Colour = "red" } }, "do it"))
      assert.equal(stream, ack.stream)
      assert.is_nil(due())
      local msg = eventually("the message", due)
      assert.equal("do it", msg.raw)
      assert.equal("red", msg:header "Colour")
      assert.equal("60", msg:header "Nats-TTL")
      assert.is_nil(due(stream .. ".plan"))
    end)

    since.it("2.12", "holds one schedule for each subject, which a purge removes", function()
      add_stream(true)
      assert(schedule({ at = app.now() + 3600 }, "first"))
      assert(schedule({ at = "2099-01-01T00:00:00Z" }, "second"))
      assert.equal(1, app.js.stream_info(stream).state.messages)
      assert.equal("second", due(stream .. ".plan").raw)
      assert.equal(1, app.js.purge_stream(stream, { subject = stream .. ".plan" }))
    end)

    since.it("2.14", "repeats itself", function()
      add_stream(true)
      assert(schedule({ every = 1 }, "tick"))
      eventually("two ticks", function()
        local info = app.js.stream_info(stream, { subjects_filter = stream .. ".due" })
        return ((info.state.subjects or {})[stream .. ".due"] or 0) >= 2
      end)
    end)

    since.it("2.14", "takes the last message of another subject", function()
      add_stream(true)
      assert(app.js.publish(stream .. ".state", "the newest"))
      assert(schedule { at = app.now(), source = stream .. ".state", rollup = "sub" })
      assert.equal("the newest", eventually("the message", due).raw)
    end)

    since.it("2.14", "may follow a calendar", function()
      add_stream(true)
      assert(schedule { cron = "0 0 3 * * *", time_zone = "Europe/Berlin" })
      local plan = due(stream .. ".plan")
      assert.equal("0 0 3 * * *", plan:header "Nats-Schedule")
      assert.equal("Europe/Berlin", plan:header "Nats-Schedule-Time-Zone")
      failed("jetstream", schedule { cron = "whenever" })
    end)

    since.it("2.12", "is refused by a stream that was not made for it", function()
      add_stream()
      local _, err = schedule { at = app.now() }
      failed("unsupported", _, err)
      assert.equal("allow_msg_schedules", err.field)
    end)
  end)
end)
