---`schema =` of app.listen: a subset of JSON Schema 2020-12.
local json = require "lunats.json"
local schema = require "lunats.schema"
local testing = require "lunats.testing"

local null, array, object = json.null, json.array, json.object

---What is said of a value: "" if it is valid.
local function verdict(rules, value)
  local where, rule = schema.compile(rules, "schema")(value)
  return where and (where .. " " .. rule) or ""
end

---keyword = { { schema, { valid values }, { { invalid value, what is said } } } }
local CASES = {
  type = {
    { { type = "integer" }, { 1, 1.0, -3 },
      { { 1.5, " must be integer (type)" }, { "1" }, { true } } },
    { { type = "number" }, { 1, 1.5 }, { { null }, { "x" } } },
    { { type = { "string", "null" } }, { "x", null },
      { { 1, " must be string or null (type)" } } },
    { { type = "array" }, { array {}, { 1, 2 } }, { { object {} }, { { a = 1 } } } },
    { { type = "object" }, { object {}, { a = 1 } }, { { array {} }, { { 1 } } } },
    { { type = "boolean" }, { true, false }, { { 0 }, { "true" } } },
  },
  enum = {
    { { enum = { "a", 1, null, { x = { 1 } } } }, { "a", 1.0, null, { x = { 1 } } },
      { { "b", ' must be one of "a", 1, null, {"x":[1]} (enum)' }, { { x = { 2 } } } } },
  },
  const = { { { const = { a = 1 } }, { { a = 1.0 } }, { { { a = 1, b = 2 } }, { 1 } } } },
  limits = {
    { { minimum = 1, maximum = 3 }, { 1, 3.0, "x" },
      { { 0, " must be at least 1 (minimum)" }, { 4, " must be at most 3 (maximum)" } } },
    { { exclusiveMinimum = 1, exclusiveMaximum = 3 }, { 2 },
      { { 1, " must be more than 1 (exclusiveMinimum)" }, { 3 } } },
    { { multipleOf = 5 }, { 10, 0, -5 }, { { 7, " must be a multiple of 5 (multipleOf)" } } },
    { { multipleOf = 0.5 }, { 1.5, 2 }, { { 1.2 } } },
  },
  lengths = {
    { { minLength = 2, maxLength = 3 }, { "äö", "abc", 7 },
      { { "ä", " must have at least 2 characters (minLength)" }, { "abcd" } } },
    { { minItems = 1, maxItems = 2 }, { { 1 } }, { { array {} }, { { 1, 2, 3 } } } },
    { { minProperties = 1, maxProperties = 2 }, { { a = 1 } },
      { { object {} }, { { a = 1, b = 2, c = 3 } } } },
  },
  arrays = {
    { { items = { type = "string" } }, { { "a" }, array {} },
      { { { "a", 1 }, "/1 must be string (type)" } } },
    { { prefixItems = { { type = "string" }, { type = "number" } }, items = false },
      { { "a", 1 }, { "a" } },
      { { { 1 }, "/0 must be string (type)" },
        { { "a", 1, 2 }, " must have at most 2 items (items)" } } },
    { { prefixItems = { true }, items = { type = "number" } }, { { "a", 1 } },
      { { { "a", "b" }, "/1 must be number (type)" } } },
    { { uniqueItems = true }, { { 1, 2, "1", { a = 1 }, { a = 2 } } },
      { { { 1, 2, 1.0 }, " items 0 and 2 are the same (uniqueItems)" },
        { { { a = 1, b = 2 }, { b = 2, a = 1 } } } } },
    { { contains = { type = "number" }, minContains = 2, maxContains = 3 }, { { 1, 2, "a" } },
      { { { 1, "a" }, " must contain 2 or more valid items, not 1 (contains)" },
        { { 1, 2, 3, 4 }, " must contain at most 3 valid items, not 4 (maxContains)" } } },
  },
  objects = {
    { { required = { "a" } }, { { a = null }, "x" },
      { { object {}, ' must have the property "a" (required)' } } },
    { { properties = { a = { type = "string" } } }, { { a = "x", b = 1 }, object {} },
      { { { a = 1 }, "/a must be string (type)" } } },
    { { properties = { name = true }, additionalProperties = false }, { { name = 1 } },
      { { { nmae = 1 },
        ' has no property "nmae", did you mean "name"? (additionalProperties)' } } },
    { { additionalProperties = { type = "number" } }, { { x = 1 } },
      { { { ["a/b~c"] = "x" }, "/a~1b~0c must be number (type)" } } },
    { { propertyNames = { maxLength = 2 } }, { { ab = 1 } },
      { { { abc = 1 },
        ' the name of "abc" must have at most 2 characters (maxLength) ' } } },
    { { dependentRequired = { card = { "address" } } },
      { { address = 1 }, { card = 1, address = 2 } },
      { { { card = 1 }, ' must have the property "address" (dependentRequired)' } } },
    { { dependentSchemas = { a = { required = { "b" } } } }, { { b = 1 }, { a = 1, b = 1 } },
      { { { a = 1 } } } },
  },
  combinations = {
    { { allOf = { { type = "number" }, { minimum = 1 } } }, { 1 }, { { 0 }, { "x" } } },
    { { anyOf = { { type = "string" }, { minimum = 5 } } }, { "x", 5 },
      { { 1, " fits none of 2 schemas: must be string (type); must be at least 5 (minimum) "
        .. "(anyOf)" } } },
    { { oneOf = { { minimum = 1 }, { maximum = 3 } } }, { 0, 4 },
      { { 2, " must fit exactly one of 2 schemas, not 2 (oneOf)" } } },
    { { ["not"] = { type = "string" } }, { 1 }, { { "x", " must not fit the schema (not)" } } },
    { { ["if"] = { type = "string" }, ["then"] = { minLength = 1 },
      ["else"] = { minimum = 1 } },
      { "x", 1 }, { { "" }, { 0 } } },
    { true, { 1, null }, {} },
    { false, {}, { { 1, " nothing is allowed here (false)" } } },
  },
  references = {
    { { ["$ref"] = "#/$defs/short", ["$defs"] = { short = { maxLength = 1 } } },
      { "x" }, { { "xy" } } },
    { { ["$ref"] = "#s", ["$defs"] = { x = { ["$anchor"] = "s", maxLength = 1 } } },
      { "x" }, { { "xy" } } },
    { { properties = { value = { type = "number" }, next = { ["$ref"] = "#" } },
      required = { "value" } },
      { { value = 1, next = { value = 2 } } },
      { { { value = 1, next = { value = 2, next = object {} } },
        '/next/next must have the property "value" (required)' } } },
  },
}

describe("a schema", function()
  for name, cases in pairs(CASES) do
    it("checks " .. name, function()
      for i, case in ipairs(cases) do
        for _, value in ipairs(case[2]) do
          assert.equal("", verdict(case[1], value), name .. " " .. i)
        end
        for _, bad in ipairs(case[3]) do
          local said = verdict(case[1], bad[1])
          assert.not_equal("", said, name .. " " .. i)
          if bad[2] then assert.equal((bad[2]:gsub(" $", "")), said) end
        end
      end
    end)
  end

  for text, bad in pairs {
    ['schema: unknown keyword "requird", did you mean "required"?'] = { requird = { "a" } },
    ['schema/properties/a: unknown keyword "typ", did you mean "type"?'] =
      { properties = { a = { typ = "x" } } },
    ["schema/type: text is none of the types of JSON"] = { type = "text" },
    ["schema/minimum: must be number"] = { minimum = "1" },
    ["schema/maxLength: must be a whole number, 0 or more"] = { maxLength = -1 },
    ["schema/required: must be a list of strings"] = { required = "a" },
    ["schema/items: must be a schema: a table, true or false, not a string"] =
      { items = "string" },
    ["schema/pattern: regular expressions are not supported"] = { pattern = "^a" },
    ["schema/unevaluatedProperties: use additionalProperties = false"] =
      { unevaluatedProperties = false },
    ['schema/$ref: must point to a part of the schema, like "#/$defs/name"'] =
      { ["$ref"] = "#/$defs/none" },
    ["schema/$ref: # refers to itself without end"] = { ["$ref"] = "#" },
    ["#/$defs/b/$ref: #/$defs/a refers to itself without end"] = { ["$ref"] = "#/$defs/a",
      ["$defs"] = { a = { allOf = { { ["$ref"] = "#/$defs/b" } } },
        b = { ["$ref"] = "#/$defs/a" } } },
  } do
    it("is refused: " .. text, function()
      local ok, err = pcall(schema.compile, bad, "schema")
      assert.is_false(ok)
      assert.truthy(tostring(err):find(text, 1, true), err)
    end)
  end

  it("tells the first by name of several wrong members, each time", function()
    for _, names in ipairs { { "b", "a", "cc" }, { "cc", "b", "a" }, { "a", "cc", "b" } } do
      local map = {}
      for _, name in ipairs(names) do map[name] = 1 end
      assert.equal(' has no property "a" (additionalProperties)',
        verdict({ additionalProperties = false }, map))
      assert.equal("/a must be string (type)",
        verdict({ additionalProperties = { type = "string" } }, map))
      assert.matches('the name of "a" ', verdict({ propertyNames = { minLength = 3 } }, map))
      assert.equal(' must have the property "x" (dependentRequired)',
        verdict({ dependentRequired = { cc = { "z" }, b = { "y" }, a = { "x" } } }, map))
    end
  end)

  it("may say what checks nothing", function()
    assert.equal("", verdict({ title = "t", description = "d", examples = { 1 },
      ["x-team"] = "a", ["$comment"] = "c", format = "date", default = 1 }, "no date"))
  end)
end)

describe("a listener with a schema", function()
  local svc
  before_each(function()
    svc = testing.start([[
      app.listen("orders.create", {
        schema = {
          request = { type = "object", required = { "sku" }, additionalProperties = false,
            properties = { sku = { type = "string" },
              count = { type = "integer", minimum = 1 } } },
          response = { type = "object", required = { "id" } },
        },
      }, function(msg)
        if msg.data.sku == "odd" then return { no = "id" } end
        if msg.data.sku == "none" then return nil end
        if msg.data.sku == "fails" then return nil, { code = 409, message = "sold out" } end
        return { id = msg.data.count or 0 }
      end)
    ]])
  end)
  after_each(function() svc:stop() end)

  local function answer(data, opts) return svc:request("orders.create", data, opts) end

  it("is called with what fits it", function()
    assert.same({ id = 2 }, assert(answer { sku = "a", count = 2 }).data)
    assert.same({ id = 0 }, assert(answer { sku = "a" }).data)
  end)

  it("answers anything else with 400, the place and the rule", function()
    for text, data in pairs {
      ['invalid request: must have the property "sku" (required)'] = { count = 1 },
      ["invalid request: /count: must be at least 1 (minimum)"] = { sku = "a", count = 0 },
      ["invalid request: must be object (type)"] = { 1, 2 },
      ['invalid request: has no property "cuont", did you mean "count"? '
        .. '(additionalProperties)'] =
        { sku = "a", cuont = 1 },
    } do
      local reply, err = answer(data)
      assert.is_nil(reply)
      assert.equal(400, err.status)
      assert.equal(text, err.message)
    end
  end)

  it("passes errors of its handler on", function()
    local _, err = answer { sku = "fails" }
    assert.equal(409, err.status)
  end)

  it("fails where its result does not fit", function()
    local reply, err = answer { sku = "odd" }
    assert.is_nil(reply)
    assert.equal(500, err.status)
    assert.truthy(svc:errors()[1]:find('must have the property "id" (required)', 1, true))
  end)

  it("shows its schemas to tools", function()
    local info = assert(app.request("$SRV.INFO." .. svc.name, "")).data
    local metadata = info.endpoints[1].metadata
    assert.same({ "sku" }, json.decode(metadata["schema.request"]).required)
    assert.equal('{"required":["id"],"type":"object"}', metadata["schema.response"])
  end)
end)

it("app.listen says which part of a schema is wrong", function()
  local ok, err = pcall(app.listen, "x", { schema = { request = { type = "objekt" } } },
    function() end)
  assert.is_false(ok)
  assert.matches("schema_spec.lua:%d+: app.listen: schema.request/type: objekt is none", err)
end)

it("app.listen says that there are two schemas", function()
  local ok, err = pcall(app.listen, "x", { schema = { type = "object" } }, function() end)
  assert.is_false(ok)
  assert.matches("app.listen: schema of request and response: unknown option 'type'", err, 1,
    true)
end)
