-- lunats dlq, as an operator uses it.
local own = require "spec.support.own"
local process = require "spec.support.process"
local terminal = require "spec.support.terminal"
local testing = require "lunats.testing"

describe("lunats dlq", function()
  local work, dead

  before_each(function() work, dead = own.stream "work", own.stream "dead" end)
  after_each(function()
    process.close_all()
    own.close()
  end)
  teardown(function() app.js.delete_key_value "LUNATS_REDRIVE" end)

  local function bury(fields, payload)
    local of = { Stream = work, Sequence = 1, Subject = work .. ".a", Consumer = "d",
      Deliveries = 3, Reason = "the handler failed", Error = "it fails" }
    for name, value in pairs(fields or {}) do of[name] = value end
    local headers = { Colour = "red" }
    for name, value in pairs(of) do headers["Dead-Letter-" .. name] = value or nil end
    assert(app.js.publish(dead .. ".x", payload or "bytes", { headers = headers }))
  end

  local function words(...) return { "dlq", "-s", testing.server_url(), ... } end
  local function dlq(...) return process.lunats_to_end(words(...)) end

  local function count(stream) return assert(app.js.stream_info(stream)).state.messages end

  local function objects(output)
    local list = {}
    for line in output:gmatch "[^\n]+" do list[#list + 1] = assert(app.json.decode(line)) end
    return list
  end

  it("lists them", function()
    bury()
    bury { Consumer = "other", Sequence = 2, Error = "a\27[2J\u{202e}b" }
    local status, output = dlq("ls", dead)
    assert.equal(0, status)
    assert.matches("^SEQ +AGE +ORIGIN +SUBJECT +CONSUMER +TRIES +BYTES +ERROR\n"
      .. " *1 +%d+s +work[^:]*:1 +work%S*%.a +d +3 +5 +it fails\n", output)
    assert.is_nil(output:find "[%z\1-\9\11-\31]")
    assert.is_nil(output:find("\u{202e}", 1, true))
    local _, some = dlq("ls", dead .. ".x", "--consumer", "other", "--json", "--since", "60")
    local list = objects(some)
    assert.equal(1, #list)
    assert.same({ 2, work, 2, "other" }, { list[1].seq, list[1].origin.stream,
      list[1].origin.sequence, list[1].origin.consumer })
    status, output = dlq("ls", dead, "--count", "1")
    assert.equal(0, status)
    assert.truthy(output:find("there are more than 1: --count N shows more", 1, true), output)
  end)

  it("fits them into a terminal", function()
    bury { Error = ("a long text "):rep(20) }
    local term = terminal.open(words("ls", dead), "cols 60 rows 24")
    assert.equal(0, term.child:wait())
    for line in term.child:output():gmatch "[^\r\n]+" do
      assert.is_true(utf8.len(line) <= 60, line)
    end
    assert.matches("SEQ.*ERROR", term.child:output())
  end)

  it("shows one with all that is in it", function()
    bury(nil, '{"id":7}')
    local status, output = dlq("show", dead, "1")
    assert.equal(0, status)
    for _, part in ipairs { "seq +1 of dead%S*, on dead%S*%.x\n", "given up +%S+Z, %d+s ago\n",
      "reason +the handler failed\n", "error +it fails\n", "deliveries +3\n",
      "message +1 of work%S*, on work%S*%.a\n", "consumer +d\n", "header +Colour: red\n",
      'payload +8 bytes\n{"id":7}\n$' } do
      assert.matches(part, output)
    end
    local _, json = dlq("show", dead, "1", "--json")
    local shown = objects(json)[1]
    assert.same({ 1, "red", 7 }, { shown.seq, shown.headers.Colour, shown.data.id })
  end)

  it("shows bytes that are no text as a dump", function()
    bury(nil, "ab\0\27[2J\xff" .. ("x"):rep(20))
    local _, output = dlq("show", dead, "1")
    assert.truthy(output:find("\n00000000  61 62 00 1b 5b 32 4a ff 78 78 78 78 78 78 78 78  "
      .. "|ab..[2J.xxxxxxxx|\n00000010  78 ", 1, true), output)
    local _, json = dlq("show", dead, "1", "--json")
    assert.equal("ab\0\27[2J\xff" .. ("x"):rep(20),
      app.crypto.base64_decode(objects(json)[1].base64))
  end)

  it("sends some back by their numbers, and says where they are", function()
    for i = 1, 3 do bury { Sequence = i } end
    local status, output = dlq("redrive", dead, "1", "3")
    assert.equal(0, status)
    assert.equal(("1 is 1 of %s, on %s.a\n3 is 2 of %s, on %s.a\n"):format(work, work, work,
      work), output)
    assert.same({ 2, 1 }, { count(work), count(dead) })
    status, output = dlq("redrive", dead, "3", "2", "--json")
    assert.equal(1, status)
    local list = objects(output)
    assert.same({ 3, "not_found" }, { list[1].seq, list[1].code })
    assert.same({ 2, 3, work, false }, { list[2].seq, list[2].sequence, list[2].stream,
      list[2].duplicate })
  end)

  it("sends back those of a filter, and names those that cannot go", function()
    bury { Error = "No Route" }
    bury()
    bury { Error = "no route", Stream = "GONE" }
    local status, output = dlq("redrive", dead, "--reason", "no route", "--dry-run")
    assert.equal(1, status)
    assert.truthy(output:find(("1 would go to %s, on %s.a\n"):format(work, work), 1, true))
    assert.truthy(output:find("1 message would go back, 1 cannot go\n", 1, true), output)
    assert.same({ 0, 3 }, { count(work), count(dead) })
    status, output = dlq("redrive", dead, "--reason", "no route")
    assert.equal(1, status)
    assert.matches("lunats dlq: 3: the stream 'GONE', where the message was, is gone", output)
    assert.matches("1 message is back, 1 cannot go\n$", output)
    assert.same({ 1, 2 }, { count(work), count(dead) })
    status, output = dlq("redrive", dead, "--all", "--to", work .. ".b")
    assert.equal(0, status)
    assert.equal("2 messages are back\n", output)
    assert.equal(work .. ".b", app.js.get_msg(work, { seq = 3 }).subject)
  end)

  it("killed again and again gets each message back once", function()
    local letters = 60
    for i = 1, letters do bury({ Sequence = i }, tostring(i)) end
    local rounds = 0
    repeat
      local child = process.spawn { process.lunats(),
        table.unpack(words("redrive", dead, "--all")) }
      -- The first one is not to be done with all of them when it is killed.
      local goal = math.max(0, count(dead) - math.random(1, rounds == 0 and 3 or 25))
      while count(dead) > goal and not child:status() do app.sleep(0.001) end
      child:signal "KILL"
      child:wait()
      rounds = rounds + 1
    until count(dead) == 0
    local seen = {}
    for seq = 1, count(work) do
      local id = assert(app.js.get_msg(work, { seq = seq }, { data_type = "string" })).data
      assert.is_nil(seen[id], id .. " is there twice")
      seen[id] = true
    end
    assert.equal(letters, count(work))
    assert.is_true(rounds > 1)
  end)

  for _, case in ipairs {
    { { "ls" }, 2, "what to do with which dead letters" },
    { { "burn", "X" }, 2, "what to do with which dead letters" },
    { { "redrive", "X" }, 2, "which ones%?" },
    { { "redrive", "X", "one" }, 2, "'one' is not the number of a dead letter" },
    { { "redrive", "X", "1", "--all" }, 2, "either numbers, or filters, or %-%-all" },
    { { "show", "X" }, 2, "which one%?" },
    { { "ls", "X", "--force" }, 2, "%-%-force is an option of `lunats dlq redrive`" },
    { { "ls", "X", "1" }, 2, "ls takes one STREAM" },
    { { "ls", "X", "--subject", "a b" }, 2, "'a b' is no subject" },
    { { "ls", "a b" }, 2, "'a b' is no stream and no subject" },
    { { "ls", "NOWHERE" }, 1, "there is no stream 'NOWHERE'" },
  } do
    it("explains a mistake: " .. table.concat(case[1], " "), function()
      local status, output = dlq(table.unpack(case[1]))
      assert.matches(case[3], output)
      assert.equal(case[2], status)
    end)
  end
end)
