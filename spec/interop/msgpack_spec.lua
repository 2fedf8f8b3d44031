-- Values as MessagePack through a service of another language, and back.
local lfs = require "lfs"
local listening = require "spec.support.listening"
local process = require "spec.support.process"
local testing = require "lunats.testing"

local NPM = lfs.currentdir() .. "/build/interop/npm"
local found = lfs.attributes(NPM .. "/node_modules/@msgpack/msgpack", "mode") ~= nil
local test = found and it or pending

describe("data_type msgpack and @msgpack/msgpack", function()
  after_each(function()
    listening.stop_all()
    process.close_all()
  end)

  test("agree about all kinds of values", function()
    local node, back = listening.subject "node", listening.subject "back"
    listening.listen(back, { data_type = "msgpack" }, function(msg) return msg.data end)
    process.spawn({ "node", "spec/interop/msgpack.cjs", NPM, testing.server_url(), node, back })
      :expect "ready"

    local value = { text = "ä", bytes = "\xff\0", whole = 9007199254740993,
      least = math.mininteger,
      real = 2.5, yes = true, null = app.json.null, list = { 1, { a = 2 } },
      none = app.json.array(), map = { x = { y = "z" } }, long = ("x"):rep(70000) }
    local reply = assert(app.request(node, value, { data_type = "msgpack" })).data
    assert.same(value, reply.answer)
    assert.is_true(app.json.is_array(reply.answer.none))
    assert.equal("integer", math.type(reply.answer.whole))
    assert.same({ text = "string", bytes = "bytes", whole = "bigint", least = "bigint",
      real = "number", yes = "boolean", null = "null", list = "array", none = "array",
      map = "object", long = "string" }, reply.kinds)
  end)
end)
