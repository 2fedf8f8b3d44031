-- app.js.dead_letters: they are looked at, and go back once, whatever happens meanwhile.
local eventually = require "spec.support.eventually"
local own = require "spec.support.own"
local redrive = require "lunats.js.redrive"
local reporting = require "spec.support.reports"
local since = require "spec.support.since"
local streams = require "lunats.js.streams"
local publishing = require "lunats.js.publish"
local unique = require "spec.support.unique"

describe("app.js.dead_letters", function()
  local work, dead
  local delete_msg, publish = streams.delete_msg, publishing.publish

  before_each(function()
    work, dead = own.stream("work", { duplicate_window = 60 }), own.stream "dead"
  end)
  after_each(function()
    streams.delete_msg, publishing.publish = delete_msg, publish
    own.close()
    app.js.purge_stream("KV_" .. redrive.BUCKET)
  end)
  teardown(function() app.js.delete_key_value(redrive.BUCKET) end)

  ---A dead letter as psub:consume() publishes it.
  local function bury(fields, payload)
    local of = { Stream = work, Sequence = 1, Subject = work .. ".a", Consumer = "d",
      Deliveries = 3, Reason = "the handler failed", Error = "it fails" }
    for name, value in pairs(fields or {}) do of[name] = value end
    local headers = { Colour = "red", ["Dead-Letter-Nats-Msg-Id"] = "m1" }
    for name, value in pairs(of) do headers["Dead-Letter-" .. name] = value or nil end
    headers["Nats-Msg-Id"] = of.id or nil
    return assert(app.js.publish(dead .. ".x", payload or "bytes", { headers = headers })).seq
  end

  local function letters(name) return assert(app.js.dead_letters(name or dead)) end

  local function count(stream) return assert(app.js.stream_info(stream)).state.messages end

  local function at(stream, seq)
    return assert(app.js.get_msg(stream, { seq = seq or 1 }, { data_type = "string" }))
  end

  ---What a process leaves that dies there: an error that nothing catches.
  local function dies(fn, ...)
    local ok, err = pcall(fn, ...)
    assert.is_false(ok)
    assert.matches("killed", tostring(err))
    streams.delete_msg, publishing.publish = delete_msg, publish
  end

  local function die_before_delete() streams.delete_msg = function() error "killed" end end

  ---Nothing has been sent, and the process does not know.
  local function lose_publish()
    publishing.publish = function() return nil, { code = "timeout", message = "no answer" } end
  end

  ---The stream forgets ids at once.
  local function forget(stream)
    assert(app.js.update_stream { name = stream, duplicate_window = 0.1 })
    app.sleep(0.6)
  end

  describe("shows", function()
    it("what psub:consume() has given up", function()
      local reports = reporting.catch()
      finally(reporting.release)
      assert(app.js.publish(work .. ".a", "bytes", { msg_id = "m1" }))
      local before = app.now()
      own.keep(assert(own.keep(app.js.pull_subscribe(work .. ".>", { stream = work,
        durable = "d" })):consume({ max_deliver = 1, dead_letter = dead .. ".x",
        data_type = "string" }, function() return nil, "it fails" end)))
      eventually("the letter", function() return count(dead) == 1 and reports[1] end)
      local list = assert(letters():list())
      assert.equal(1, #list)
      local letter = list[1]
      assert.same({ 1, dead .. ".x", 5, "the handler failed", "it fails", 1, 0, false },
        { letter.seq, letter.subject, letter.size, letter.reason, letter.error,
          letter.deliveries, letter.redrives, letter.cut })
      assert.is_true(letter.time >= before - 1 and letter.time <= app.now() + 1)
      local stored = at(work)
      assert.same({ work, 1, work .. ".a", "d" }, { letter.origin.stream,
        letter.origin.sequence, letter.origin.subject, letter.origin.consumer })
      assert.is_true(math.abs(letter.origin.time - stored.created) < 1e-5)
      assert.equal("m1", letters():get(1).message:header "Dead-Letter-Nats-Msg-Id")
    end)

    it("those of a filter", function()
      bury { Consumer = "a", Error = "No Route" }
      bury { Consumer = "b", Subject = work .. ".b.c", Sequence = 2 }
      bury { Consumer = "a", Stream = "OTHER", Sequence = 3, Time = "2020-01-01T00:00:00Z" }
      assert(app.js.publish(dead .. ".y", "no dead letter"))
      bury { Sequence = 4 }
      local function seqs(filter)
        local found = {}
        for i, letter in ipairs(assert(letters():list(filter))) do found[i] = letter.seq end
        return found
      end
      assert.same({ 1, 2, 3, 5 }, seqs())
      assert.same({ 1, 3 }, seqs { consumer = "a" })
      assert.same({ 2 }, seqs { subject = work .. ".b.>" })
      assert.same({ 3 }, seqs { stream = "OTHER" })
      assert.same({ 1 }, seqs { reason = "no route" })
      assert.same({ 1, 2, 5 }, seqs { since = app.now() - 60 })
      assert.same({ 3 }, seqs { before = app.now() - 60 })
      assert.same({ 2, 3 }, seqs { first = 2, last = 4 })
      assert.same({ 1, 2 }, seqs { limit = 2 })
      assert.same({}, seqs { consumer = "a", subject = work .. ".b.>" })
    end)

    it("those of a subject", function()
      bury()
      assert(app.js.publish(dead .. ".y", "x", { headers = { ["Dead-Letter-Stream"] = work,
        ["Dead-Letter-Sequence"] = 9, ["Dead-Letter-Subject"] = work .. ".a" } }))
      local some = letters(dead .. ".y")
      assert.same({ dead, dead .. ".y" }, { some.stream, some.subject })
      assert.equal(2, assert(some:list())[1].seq)
      assert.equal(1, #some:list())
      local _, err = some:get(1)
      assert.equal("not_found", err.code)
      assert.equal(2, #letters(dead .. ".*"):list())
    end)

    it("none of what is no dead letter, and says so", function()
      assert(app.js.publish(dead .. ".y", "x"))
      assert.same({}, letters():list())
      local letter, err = letters():get(1)
      assert.is_nil(letter)
      assert.equal("not_found", err.code)
      assert.matches("is no dead letter", err.message)
    end)
  end)

  it("says that nothing stores them", function()
    for _, name in ipairs { unique "nowhere", unique "nowhere" .. ".x" } do
      local none, err = app.js.dead_letters(name)
      assert.is_nil(none)
      assert.equal("no_stream", err.code)
      assert.truthy(err.message:find(name, 1, true))
    end
  end)

  describe("redrives", function()
    it("a letter: its message is where it was, and the letter is gone", function()
      assert(app.js.publish(work .. ".a", "old"))
      local seq = bury()
      local ack = assert(letters():redrive(seq))
      assert.same({ work, work .. ".a", 2, false },
        { ack.stream, ack.subject, ack.seq, ack.duplicate })
      local back = at(work, 2)
      assert.equal("bytes", back.data)
      assert.equal("red", back:header "Colour")
      assert.equal("m1", back:header "Dead-Letter-Nats-Msg-Id")
      assert.equal(("%s:%d"):format(dead, seq), back:header "Dead-Letter-Redriven")
      assert.equal("1", back:header "Dead-Letter-Redrives")
      assert.is_nil(back:header "Dead-Letter-Reason")
      assert.equal(0, count(dead))
      assert.equal(0, count("KV_" .. redrive.BUCKET))
      local again, err = letters():redrive(seq)
      assert.is_nil(again)
      assert.equal("not_found", err.code)
      assert.equal(2, count(work))
    end)

    it("those of a filter, each once, and tells how it goes", function()
      for i = 1, 5 do bury({ Sequence = i, Consumer = i % 2 == 0 and "even" or "odd" }) end
      bury { Stream = "GONE", Sequence = 6, Consumer = "odd" }
      local told = {}
      local report = assert(letters():redrive({ consumer = "odd" }, {
        on_progress = function(letter, ack, err)
          told[#told + 1] = ("%d %s"):format(letter.seq, ack and ack.seq or err.code)
        end }))
      assert.equal(3, report.redriven)
      assert.same({ "1 1", "3 2", "5 3", "6 no_stream" }, told)
      assert.equal(1, #report.failed)
      assert.equal(6, report.failed[1].seq)
      assert.equal(3, count(work))
      assert.equal(3, count(dead))
    end)

    it("two letters of the same delivery once", function()
      local id = ("%s:d:1:12.345678"):format(work)
      bury { id = id }
      assert(app.js.update_stream { name = dead, duplicate_window = 0.1 })
      app.sleep(0.6)
      bury { id = id }
      assert.equal(2, count(dead))
      assert.equal(2, assert(letters():redrive({})).redriven)
      assert.equal(1, count(work))
    end)

    it("what comes back at once not again in the same run", function()
      bury()
      local report = assert(letters():redrive({}, { to = dead .. ".x" }))
      assert.equal(1, report.redriven)
      assert.equal(1, count(dead))
    end)

    it("nothing with dry_run", function()
      bury()
      assert.same({ stream = work, subject = work .. ".a" },
        letters():redrive(1, { dry_run = true }))
      assert.equal(1, letters():redrive({}, { dry_run = true }).redriven)
      assert.same({ 0, 1 }, { count(work), count(dead) })
    end)

    it("each once for several at the same time", function()
      for i = 1, 20 do bury { Sequence = i } end
      local fibers = {}
      for i = 1, 4 do
        fibers[i] = app.spawn(function() return assert(letters():redrive({})) end)
      end
      for _, fiber in ipairs(fibers) do assert.same({}, assert(fiber:await(20)).failed) end
      assert.same({ 20, 0 }, { count(work), count(dead) })
      assert.equal(0, count("KV_" .. redrive.BUCKET))
    end)

    it("from a stream that forbids to delete, and knows them the next time", function()
      local safe = own.stream("safe", { deny_delete = true })
      dead = safe
      bury()
      assert(letters(safe):redrive(1))
      local ack = assert(letters(safe):redrive(1))
      assert.same({ 1, true }, { ack.seq, ack.duplicate })
      assert.same({ 1, 1 }, { count(work), count(safe) })
    end)
  end)

  describe("after a redrive that has died", function()
    it("behind the publish, within the duplicate window, removes the letter", function()
      bury()
      die_before_delete()
      dies(letters().redrive, letters(), 1)
      assert.same({ 1, 1 }, { count(work), count(dead) })
      assert.is_true(assert(letters():redrive(1)).duplicate)
      assert.same({ 1, 0 }, { count(work), count(dead) })
    end)

    it("behind the publish, beyond the window, finds the message", function()
      bury()
      die_before_delete()
      dies(letters().redrive, letters(), 1)
      forget(work)
      assert(app.js.publish(work .. ".a", "another"))
      local ack = assert(letters():redrive(1))
      assert.same({ 1, true }, { ack.seq, ack.duplicate })
      assert.same({ 2, 0 }, { count(work), count(dead) })
    end)

    it("before the publish, beyond the window, publishes", function()
      bury()
      lose_publish()
      local ack, err = letters():redrive(1)
      assert.is_nil(ack)
      assert.equal("timeout", err.code)
      publishing.publish = publish
      forget(work)
      assert(app.js.publish(work .. ".a", "another"))
      assert.is_false(assert(letters():redrive(1)).duplicate)
      assert.same({ 2, 0 }, { count(work), count(dead) })
    end)

    describe("on a work queue that has been worked on since", function()
      local function worked_on()
        own.close()
        work = own.stream("work", { retention = "workqueue", duplicate_window = 60 })
        dead = own.stream "dead"
        bury()
        die_before_delete()
        dies(letters().redrive, letters(), 1)
        local psub = own.keep(app.js.pull_subscribe(work .. ".>", { stream = work,
          durable = "d" }))
        assert(assert(psub:fetch(1, { data_type = "string" }))[1]:ack_sync())
        assert.equal(0, count(work))
      end

      it("publishes nothing as long as the stream knows the id", function()
        worked_on()
        assert.is_true(assert(letters():redrive(1)).duplicate)
        assert.same({ 0, 0 }, { count(work), count(dead) })
      end)

      it("leaves it to the operator beyond the window", function()
        worked_on()
        forget(work)
        for _ = 1, 2 do
          local ack, err = letters():redrive(1)
          assert.is_nil(ack)
          assert.equal("unknown", err.code)
        end
        assert.same({ 0, 1 }, { count(work), count(dead) })
        local report = assert(letters():redrive({}))
        assert.same({ 0, "unknown" }, { report.redriven, report.failed[1].err.code })
        assert.is_false(assert(letters():redrive(1, { force = true })).duplicate)
        assert.same({ 1, 0 }, { count(work), count(dead) })
      end)
    end)

    it("publishes into a stream that was made again meanwhile", function()
      bury()
      die_before_delete()
      dies(letters().redrive, letters(), 1)
      assert(app.js.delete_stream(work))
      assert(app.js.add_stream { name = work, subjects = { work .. ".>" } })
      assert.is_false(assert(letters():redrive(1)).duplicate)
      assert.same({ 1, 0 }, { count(work), count(dead) })
    end)
  end)

  describe("does not redrive, and keeps the letter,", function()
    local function refused(text, opts)
      local ack, err = letters():redrive(1, opts)
      assert.is_nil(ack)
      assert.truthy(err.message:find(text, 1, true), err.message)
      assert.equal(1, count(dead))
      return err
    end

    it("when the stream of the message is gone", function()
      bury { Stream = unique "gone" }
      assert.equal("no_stream", refused("is gone: name a subject with `to`").code)
      assert.equal(work .. ".other", assert(letters():redrive(1, { to = work .. ".other" }))
        .subject)
      assert.equal(work .. ".other", at(work).subject)
    end)

    it("when that was a mirror, or takes its messages from others", function()
      local name = unique "mirror"
      own.keep { stop = function() app.js.delete_stream(name) end }
      assert(app.js.add_stream { name = name, mirror = { name = work } })
      bury { Stream = name }
      refused "is a mirror"
      assert(app.js.delete_stream(name))
      assert(app.js.add_stream { name = name, sources = { { name = work } } })
      refused "does not store what is published to"
    end)

    since.it("2.10", "when a transform would change its subject", function()
      local changed = own.stream("changed", { subject_transform = { src = ">", dest = "x.>" } })
      bury { Stream = changed, Subject = changed .. ".a" }
      refused "does not store what is published to"
    end)

    it("when nothing stores what `to` says", function()
      bury()
      assert.equal("no_stream", refused("no stream", { to = unique "nowhere" }).code)
    end)

    it("when the stream refuses it", function()
      assert(app.js.update_stream { name = work, max_msg_size = 100 })
      bury(nil, ("x"):rep(200))
      refused "message size exceeds"
    end)

    it("when it was cut, and the whole message is gone", function()
      bury { Size = 500 }
      assert.equal("damaged", refused("was cut").code)
      assert.is_true(letters():get(1).cut)
      assert.equal(500, letters():get(1).size)
    end)
  end)

  it("takes the whole of a cut message from where it was", function()
    assert(app.js.publish(work .. ".a", "the whole payload", { headers = { A = "b" } }))
    bury({ Size = 17, id = ("%s:d:1:%.6f"):format(work, at(work).created) }, "the wh")
    assert(letters():redrive(1))
    assert.equal("the whole payload", at(work, 2).data)
    assert.equal("b", at(work, 2):header "A")
  end)

  it("counts how often a message has come back", function()
    bury { Redrives = 2 }
    assert(letters():redrive(1))
    assert.equal("3", at(work):header "Dead-Letter-Redrives")
  end)
end)
