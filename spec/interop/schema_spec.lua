-- Schemas and values made at random: ajv, which ./dev test installs where there is npm, has to
-- say the same of each as lunats.
local json = require "lunats.json"
local lfs = require "lfs"
local process = require "spec.support.process"
local schema = require "lunats.schema"


local NPM = lfs.currentdir() .. "/build/interop/npm"
local test = lfs.attributes(NPM .. "/node_modules/ajv", "mode") ~= nil and it or pending

local SCHEMAS, VALUES = 400, 12

after_each(process.close_all)

local random = math.random
local function one_of(list) return list[random(#list)] end

local NAMES = { "a", "b", "c", "a/b", "~d" }
local SCALARS = { 0, 1, 2, 3.5, -1, 1.0, 10, "", "a", "ab", "äöü", "12345", true, false,
  json.null }

local function some_value(depth)
  local kind = random(depth > 0 and 4 or 2)
  if kind <= 2 then return one_of(SCALARS) end
  local made = kind == 3 and json.array {} or json.object {}
  for i = 1, random(0, 4) do
    made[kind == 3 and i or one_of(NAMES)] = some_value(depth - 1)
  end
  return made
end

local function list_of(make, least, most)
  local list = json.array {}
  for i = 1, random(least, most) do list[i] = make() end
  return list
end

---Not empty: contains = { properties = {} } is more to ajv than contains = {}.
local function map_of(make, most)
  local map = json.object {}
  for _ = 1, random(most) do map[one_of(NAMES)] = make() end
  return map
end

local some_schema

local function set_of_names()
  local seen, list = {}, json.array {}
  for _ = 1, random(0, 2) do
    local name = one_of(NAMES)
    if not seen[name] then list[#list + 1] = name end
    seen[name] = true
  end
  return list
end

local TYPES = { "null", "boolean", "object", "array", "number", "integer", "string" }

local KEYWORDS = {
  type = function() return one_of(TYPES) end,
  enum = function() return json.array { some_value(1), { made = "different" } } end,
  const = function() return some_value(1) end,
  maximum = function() return random(0, 5) end,
  minimum = function() return random(-2, 3) end,
  exclusiveMaximum = function() return random(0, 5) end,
  exclusiveMinimum = function() return random(-2, 3) end,
  multipleOf = function() return one_of { 1, 2, 0.5, 5 } end,
  maxLength = function() return random(0, 4) end,
  minLength = function() return random(0, 3) end,
  maxItems = function() return random(0, 4) end,
  minItems = function() return random(0, 3) end,
  uniqueItems = function() return random(3) > 1 end,
  prefixItems = function(sub) return list_of(sub, 1, 3) end,
  items = function(sub) return sub() end,
  contains = function(sub) return sub() end,
  minContains = function() return random(0, 2) end,
  maxContains = function() return random(1, 3) end,
  maxProperties = function() return random(0, 4) end,
  minProperties = function() return random(0, 3) end,
  required = function() return set_of_names() end,
  dependentRequired = function() return map_of(set_of_names, 2) end,
  properties = function(sub) return map_of(sub, 3) end,
  dependentSchemas = function(sub) return map_of(sub, 2) end,
  additionalProperties = function(sub) return sub() end,
  propertyNames = function(sub) return sub() end,
  allOf = function(sub) return list_of(sub, 1, 2) end,
  anyOf = function(sub) return list_of(sub, 1, 3) end,
  oneOf = function(sub) return list_of(sub, 1, 3) end,
  ["not"] = function(sub) return sub() end,
  ["if"] = function(sub) return sub() end,
  ["then"] = function(sub) return sub() end,
  ["else"] = function(sub) return sub() end,
}
local WORDS = {}
for word in pairs(KEYWORDS) do WORDS[#WORDS + 1] = word end
table.sort(WORDS)

function some_schema(depth)
  if depth == 0 and random(3) == 1 then return random(2) == 1 end
  local made = json.object {}
  local function sub() return some_schema(depth - 1) end
  for _ = 1, random(1, 4) do
    local word = one_of(WORDS)
    local value = KEYWORDS[word]
    if depth > 0 then
      made[word] = value(sub)
    elseif not pcall(function() made[word] = value(error) end) then
      made[word] = nil -- it needs another schema
    end
  end
  return made
end

---ajv 8.17 looks for one item that fits in a variable that an empty array does not set, so that
---what was there before counts: the array before it, or prefixItems. Not where it has to count.
local function is_uncounted(made)
  if type(made) ~= "table" then return false end
  if made.contains ~= nil and not made.maxContains and (made.minContains or 1) == 1 then
    return true
  end
  for _, part in pairs(made) do
    if is_uncounted(part) then return true end
  end
  return false
end

local function has_empty_array(value) return json.encode(value):find("[]", 1, true) end

---A schema whose parts may refer to each other, and to all of it below a property.
local function with_references(made)
  if type(made) ~= "table" or random(3) > 1 then return made end
  made["$defs"] = { x = some_schema(1) }
  made.properties = made.properties or json.object {}
  made.properties.a = { ["$ref"] = one_of { "#", "#/$defs/x" } }
  return made
end

test("schemas mean to ajv what they mean to lunats", function()
  local seed = os.time()
  math.randomseed(seed)
  local made, lines = {}, {}
  for i = 1, SCHEMAS do
    made[i] = { schema = with_references(some_schema(2)), values = json.array {} }
    for k = 1, VALUES do made[i].values[k] = some_value(2) end
    lines[i] = json.encode(made[i])
  end
  local file = process.write("schemas", table.concat(lines, "\n"))
  local run = process.spawn { "node", "spec/interop/schema.cjs", NPM, file }
  assert.equal(0, (run:wait(60)))
  local i, valid = 0, 0
  for line in run:output():gmatch "[^\n]+" do
    i = i + 1
    local theirs = json.decode(line)
    assert.not_equal("refused", theirs, lines[i])
    local here = json.decode(lines[i])
    local check = schema.compile(here.schema, "schema")
    local uncounted = is_uncounted(here.schema)
    for k, value in ipairs(here.values) do
      local where, rule = check(value)
      valid = valid + (where and 0 or 1)
      if not (uncounted and has_empty_array(value)) then
        assert.equal(theirs[k], where == nil, ("seed %d, %s, value %s: %s %s"):format(seed,
          lines[i], json.encode(value), tostring(where), tostring(rule)))
      end
    end
  end
  assert.equal(SCHEMAS, i)
  assert.is_true(valid > SCHEMAS and valid < SCHEMAS * (VALUES - 1))
end)
