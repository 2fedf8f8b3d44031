---`lunats describe`: AsyncAPI 3, judged by the schema of AsyncAPI where npm has installed it.
local json = require "lunats.json"
local lfs = require "lfs"
local process = require "spec.support.process"

local NPM = lfs.currentdir() .. "/build/interop/npm/node_modules/"
local test = lfs.attributes(NPM .. "@asyncapi/specs", "mode") ~= nil and it or pending

local SERVICE = [[
  app.config { name = "orders", version = "1.2.0", description = "Orders of the shop" }
  local Item = { type = "object", required = { "sku" }, properties = {
    sku = { type = "string" }, parts = { type = "array", items = { ["$ref"] = "#" } },
    size = { ["$ref"] = "#/$defs/size" }, weight = { ["$ref"] = "#grams" } },
    ["$defs"] = { size = { type = "integer" }, g = { ["$anchor"] = "grams", minimum = 0 } } }
  app.listen("orders.create", { description = "takes an order", queue = "q",
    schema = { request = Item, response = { type = "object", required = { "id" } } } }, print)
  app.group("v2", { description = "the next one" }):listen("orders.>", print)
  app.listen({ "a.*.b.*", "secret.b" }, { data_type = "string", queue = false }, print)
  app.listen("packed", { data_type = "msgpack",
    schema = { response = { type = "object" } } }, print)
  app.listen("own", { data_type = { encode = print, decode = print } }, print)
  app.listen("hidden", { endpoint = false }, print)
  app.js.subscribe("events.*", { durable = "d" }, print)
  app.js.pull_subscribe(nil, { stream = "S", durable = "e" }):consume(print)
  app.timer(1, print)
]]

---Schemas that are `true` and `false`, wherever there may be one.
local BOOLEANS = [[
  local all = { true, false }
  app.listen("all", { schema = { request = true, response = false } }, print)
  app.listen("parts", { schema = { request = { const = true, enum = all, default = false,
    properties = { a = true, b = false }, items = true, prefixItems = all, allOf = all,
    anyOf = all, oneOf = all, ["not"] = false, ["if"] = true, ["then"] = true,
    additionalProperties = false, propertyNames = true, contains = true,
    dependentSchemas = { a = true }, uniqueItems = true, ["$defs"] = { a = true } } } }, print)
]]

local function describe_it(source, ...)
  local path = process.write("orders.lua", source)
  return process.lunats_to_end { "describe", path, ... }
end

describe("lunats describe", function()
  after_each(process.close_all)

  it("writes what a service listens to", function()
    local status, output = describe_it(SERVICE)
    assert.equal(0, status, output)
    local document = json.decode(output)
    assert.same({ title = "orders", version = "1.2.0", description = "Orders of the shop" },
      document.info)
    local create = document.operations["orders.create"]
    assert.same({ "receive", "takes an order", "q" },
      { create.action, create.description, create.bindings.nats.queue })
    assert.equal("#/channels/orders.create.reply", create.reply.channel["$ref"])
    assert.equal(json.null, document.channels["orders.create.reply"].address)
    assert.equal("a.{token1}.b.{token2}", document.channels["a.any.b.any"].address)
    assert.equal("v2.orders.{rest}", document.channels["v2.orders.all"].address)
    assert.equal("v2.orders.>", document.channels["v2.orders.all"]["x-nats-subject"])
    assert.is_nil(document.operations["secret.b"].bindings)
    assert.is_nil(document.channels.hidden)
    assert.equal("text/plain", document.channels["secret.b"].messages.request.contentType)
    local function content_type(channel, message)
      return document.channels[channel].messages[message].contentType
    end
    assert.equal("application/json", content_type("orders.create", "request"))
    assert.equal("application/vnd.msgpack", content_type("packed", "request"))
    assert.equal("application/vnd.msgpack", content_type("packed.reply", "response"))
    assert.equal("application/octet-stream", content_type("own", "request"))
    assert.same({ consumer = "pull", stream = "S", durable = "e" },
      document.operations.S["x-nats-jetstream"])
  end)

  it("moves references to where the schema is in the document", function()
    local _, output = describe_it(SERVICE)
    local schema = json.decode(output).components.schemas["orders.create.request"]
    local at = "#/components/schemas/orders.create.request"
    assert.equal(at, schema.properties.parts.items["$ref"])
    assert.equal(at .. "/$defs/size", schema.properties.size["$ref"])
    assert.equal(at .. "/$defs/g", schema.properties.weight["$ref"])
  end)

  test("writes what the schema of AsyncAPI 3.0.0 accepts", function()
    for _, source in ipairs { SERVICE, BOOLEANS, "app.timer(1, print)" } do
      local _, output = describe_it(source)
      local file = process.write("document.json", output)
      local checker = process.write("check.cjs", ([[
        const npm = %q
        const Ajv = require(npm + "ajv")
        const ajv = new Ajv({ strict: false, validateFormats: false })
        const schema = require(npm + "@asyncapi/specs/schemas/3.0.0-without-$id.json")
        const valid = ajv.compile(schema)
        const document = JSON.parse(require("fs").readFileSync(process.argv[2]))
        if (!valid(document)) throw new Error(JSON.stringify(valid.errors.slice(0, 5)))
        delete document.info.title
        if (valid(document)) throw new Error("accepts everything")
      ]]):format(NPM))
      local run = process.spawn { "node", checker, file }
      assert.equal(0, run:wait(), run:output())
    end
  end)

  it("says what it cannot describe", function()
    local status, output = describe_it("return {}")
    assert.equal(1, status)
    assert.truthy(output:find("a module, and no service", 1, true))
    status, output = describe_it("app.listen(")
    assert.equal(1, status)
    assert.truthy(output:find("orders.lua:1: unexpected symbol", 1, true), output)
    assert.truthy(output:find("`lunats check ", 1, true))
    local other = process.write("other.lua", "app.timer(1, print)")
    status, output = describe_it(SERVICE, other)
    assert.equal(1, status)
    assert.truthy(output:find("a document is about one service: name one of", 1, true))
  end)
end)
