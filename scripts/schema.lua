---JSON Schema 2020-12, a subset, compiled to closures: each takes a value and returns nothing
---when it is valid, else where it is not, as a JSON pointer from there on, and the rule that it
---breaks.
---
---Source: json-schema.org/draft/2020-12, "Validation" and "Core". Not here are regular
---expressions (`pattern`, `patternProperties`), what depends on which keywords were applied
---(`unevaluatedItems`, `unevaluatedProperties`), dynamic and remote references. They are
---refused when a schema is compiled, as every keyword is that is not known: a misspelt rule
---would check nothing. `format` is an annotation, as it is by default.
local core = require "lunats.core"
local json = require "lunats.json"
local values = require "lunats.schema.values"

local M = {}

local type_of, same, pointer = values.type_of, values.same, values.pointer

---Keywords that say something and check nothing. Those that begin with "x-" are as well.
local ANNOTATIONS = {}
for word in ([[title description default examples deprecated readOnly writeOnly format $comment
  $schema $id $anchor $defs definitions contentEncoding contentMediaType contentSchema]])
  :gmatch "%S+" do ANNOTATIONS[word] = true end

local REFUSED = {
  pattern = "regular expressions are not supported",
  patternProperties = "regular expressions are not supported",
  ["$dynamicRef"] = "only references within the schema are supported ($ref)",
  ["$dynamicAnchor"] = "only references within the schema are supported ($ref, $anchor)",
  unevaluatedItems = "use items = false beside prefixItems",
  unevaluatedProperties = "use additionalProperties = false",
  additionalItems = "it is called items beside prefixItems",
  dependencies = "it is called dependentRequired or dependentSchemas",
}

---@class schema.compiler
---@field what string  names the schema in errors
---@field root table|boolean
---@field done table<table, function>  what refers to itself is found here
---@field building table<table, integer>  the depth at which it is compiled
---@field depth integer  of the values that are checked
local compiler = {}
compiler.__index = compiler

function compiler:fail(at, text, ...)
  core.blame(("%s%s: %s"):format(self.what, at, text:format(...)))
end

local WANTED = {
  number = function(v) return type(v) == "number" end,
  ["a number above 0"] = function(v) return type(v) == "number" and v > 0 end,
  ["a whole number, 0 or more"] = function(v)
    return type(v) == "number" and math.tointeger(v) and v >= 0
  end,
  ["a boolean"] = function(v) return type(v) == "boolean" end,
  ["a list"] = function(v) return type(v) == "table" and (#v > 0 or next(v) == nil) end,
  ["a list of strings"] = function(v)
    if type(v) ~= "table" or #v == 0 and next(v) ~= nil then return false end
    for _, one in ipairs(v) do if type(one) ~= "string" then return false end end
    return true
  end,
  ["a table"] = function(v) return type(v) == "table" end,
}

function compiler:want(at, keyword, value, wanted)
  if not WANTED[wanted](value) then self:fail(at .. "/" .. keyword, "must be %s", wanted) end
  return value
end

-- ---- keywords -------------------------------------------------------------
-- Each is called with the compiler, its value, where that is, and the schema that it is in;
-- returns the check for values of one type, or none where it only helps another keyword.

local any, number, string_, array, object = {}, {}, {}, {}, {}

local TYPES = {}
for word in ("null boolean object array number integer string"):gmatch "%S+" do
  TYPES[word] = true
end

function any.type(self, wanted, at)
  local list = type(wanted) == "table" and wanted or { wanted }
  local set = {}
  for _, one in ipairs(list) do
    if not TYPES[one] then
      self:fail(at .. "/type", "%s is none of the types of JSON", tostring(one))
    end
    set[one] = true
  end
  if set.number then set.integer = true end
  local rule = ("must be %s (type)"):format(table.concat(list, " or "))
  return function(value)
    if not set[type_of(value)] then return "", rule end
  end
end

function any.enum(self, list, at)
  self:want(at, "enum", list, "a list")
  local shown = {}
  for i, one in ipairs(list) do shown[i] = json.encode(one) end
  local rule = ("must be one of %s (enum)"):format(table.concat(shown, ", "))
  return function(value)
    for _, one in ipairs(list) do
      if same(value, one) then return end
    end
    return "", rule
  end
end

function any.const(_, wanted)
  local rule = ("must be %s (const)"):format(json.encode(wanted))
  return function(value)
    if not same(value, wanted) then return "", rule end
  end
end

---@param holds fun(value: any, limit: any): boolean
---@param read fun(value: any): any
local function limit(keyword, wanted, text, holds, read)
  return function(self, most, at)
    self:want(at, keyword, most, wanted)
    local rule = ("%s (%s)"):format(text:format(json.encode(most)), keyword)
    return function(value)
      if read then value = read(value) end
      if not holds(value, most) then return "", rule end
    end
  end
end

local function at_most(a, b) return a <= b end
local function at_least(a, b) return a >= b end

number.maximum = limit("maximum", "number", "must be at most %s", at_most)
number.minimum = limit("minimum", "number", "must be at least %s", at_least)
number.exclusiveMaximum = limit("exclusiveMaximum", "number", "must be less than %s",
  function(a, b) return a < b end)
number.exclusiveMinimum = limit("exclusiveMinimum", "number", "must be more than %s",
  function(a, b) return a > b end)
number.multipleOf = limit("multipleOf", "a number above 0", "must be a multiple of %s",
  values.is_multiple)

local COUNT = "a whole number, 0 or more"

string_.maxLength = limit("maxLength", COUNT, "must have at most %s characters", at_most,
  values.length)
string_.minLength = limit("minLength", COUNT, "must have at least %s characters", at_least,
  values.length)

local function items_of(list) return #list end

array.maxItems = limit("maxItems", COUNT, "must have at most %s items", at_most, items_of)
array.minItems = limit("minItems", COUNT, "must have at least %s items", at_least, items_of)

function array.uniqueItems(self, wanted, at)
  self:want(at, "uniqueItems", wanted, "a boolean")
  if not wanted then return end
  return function(list)
    local first, second = values.twice(list)
    if first then
      return "", ("items %d and %d are the same (uniqueItems)"):format(first - 1, second - 1)
    end
  end
end

function array.prefixItems(self, schemas, at)
  self:want(at, "prefixItems", schemas, "a list")
  local checks = {}
  for i, schema in ipairs(schemas) do
    checks[i] = self:below(schema, ("%s/prefixItems/%d"):format(at, i - 1))
  end
  return function(list)
    for i = 1, math.min(#list, #checks) do
      local where, rule = checks[i](list[i])
      if where then return ("/%d%s"):format(i - 1, where), rule end
    end
  end
end

function array.items(self, schema, at, parent)
  local first = #(type(parent.prefixItems) == "table" and parent.prefixItems or {}) + 1
  if schema == false then
    local rule = ("must have at most %d items (items)"):format(first - 1)
    return function(list)
      if #list >= first then return "", rule end
    end
  end
  local check = self:below(schema, at .. "/items")
  return function(list)
    for i = first, #list do
      local where, rule = check(list[i])
      if where then return ("/%d%s"):format(i - 1, where), rule end
    end
  end
end

function array.contains(self, schema, at, parent)
  local check = self:below(schema, at .. "/contains")
  local least, most = parent.minContains or 1, parent.maxContains or math.huge
  if parent.minContains then self:want(at, "minContains", least, COUNT) end
  if parent.maxContains then self:want(at, "maxContains", most, COUNT) end
  return function(list)
    local count = 0
    for _, value in ipairs(list) do
      if not check(value) then count = count + 1 end
    end
    if count < least then
      return "", ("must contain %d or more valid items, not %d (contains)"):format(least, count)
    elseif count > most then
      return "", ("must contain at most %d valid items, not %d (maxContains)")
        :format(most, count)
    end
  end
end

object.maxProperties = limit("maxProperties", COUNT, "must have at most %s properties", at_most,
  values.members)
object.minProperties = limit("minProperties", COUNT, "must have at least %s properties",
  at_least, values.members)

local function missing(name, why)
  return "", ("must have the property %q (%s)"):format(name, why)
end

function object.required(self, names, at)
  self:want(at, "required", names, "a list of strings")
  return function(value)
    for _, name in ipairs(names) do
      if value[name] == nil then return missing(name, "required") end
    end
  end
end

---The names of a table in order: of several errors the same one is told each time.
local function sorted(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  return names
end

function object.dependentRequired(self, map, at)
  self:want(at, "dependentRequired", map, "a table")
  local names = sorted(map)
  for _, name in ipairs(names) do
    self:want(at .. "/dependentRequired", name, map[name], "a list of strings")
  end
  return function(value)
    for _, name in ipairs(names) do
      if value[name] ~= nil then
        for _, other in ipairs(map[name]) do
          if value[other] == nil then return missing(other, "dependentRequired") end
        end
      end
    end
  end
end

---@param compile fun(self: schema.compiler, schema: any, at: string): function
local function compile_all(self, map, at, compile)
  local names, checks = sorted(map), {}
  for i, name in ipairs(names) do
    if type(name) ~= "string" then
      self:fail(at, "must be a table with names, not a list")
    end
    checks[i] = compile(self, map[name], at .. "/" .. pointer(name))
  end
  return names, checks
end

function object.properties(self, map, at)
  self:want(at, "properties", map, "a table")
  local names, checks = compile_all(self, map, at .. "/properties", self.below)
  return function(value)
    for i = 1, #names do
      local member = value[names[i]]
      if member ~= nil then
        local where, rule = checks[i](member)
        if where then return "/" .. pointer(names[i]) .. where, rule end
      end
    end
  end
end

function object.dependentSchemas(self, map, at)
  self:want(at, "dependentSchemas", map, "a table")
  local names, checks = compile_all(self, map, at .. "/dependentSchemas", self.compile)
  return function(value)
    for i = 1, #names do
      if value[names[i]] ~= nil then
        local where, rule = checks[i](value)
        if where then return where, rule end
      end
    end
  end
end

---What `nearest` knows of the names of a schema helps whoever has misspelt one.
local function unknown(name, known)
  local near = core.nearest(name, known)
  return "", ("has no property %q%s (additionalProperties)"):format(name,
    near and (", did you mean %q?"):format(near) or "")
end

---Of several members that `check(name, member)` faults it is the first by name that is told,
---so that the same value always has the same answer.
---@return any name  nil: there is none
---@return string where
---@return string rule
local function first_wrong(value, check)
  local first, where, rule
  for name, member in next, value do
    local at, why = check(name, member)
    if at and (first == nil or tostring(name) < tostring(first)) then
      first, where, rule = name, at, why
    end
  end
  return first, where, rule
end

function object.additionalProperties(self, schema, at, parent)
  local known = type(parent.properties) == "table" and parent.properties or {}
  local names = sorted(known)
  local check = schema ~= false and self:below(schema, at .. "/additionalProperties")
  local function extra(name, member)
    if known[name] ~= nil then return end
    if not check then return "" end
    return check(member)
  end
  return function(value)
    local name, where, rule = first_wrong(value, extra)
    if name == nil then return end
    if not check then return unknown(name, names) end
    return "/" .. pointer(name) .. where, rule
  end
end

function object.propertyNames(self, schema, at)
  local check = self:below(schema, at .. "/propertyNames")
  return function(value)
    local name, _, rule = first_wrong(value, check)
    if name ~= nil then return "", ("the name of %q %s"):format(name, rule) end
  end
end

-- ---- schemas of schemas ---------------------------------------------------

local function compile_list(self, keyword, list, at)
  self:want(at, keyword, list, "a list")
  local checks = {}
  for i, schema in ipairs(list) do
    checks[i] = self:compile(schema, ("%s/%s/%d"):format(at, keyword, i - 1))
  end
  return checks
end

function any.allOf(self, list, at)
  local checks = compile_list(self, "allOf", list, at)
  return function(value)
    for i = 1, #checks do
      local where, rule = checks[i](value)
      if where then return where, rule end
    end
  end
end

function any.anyOf(self, list, at)
  local checks = compile_list(self, "anyOf", list, at)
  return function(value)
    local rules = {}
    for i = 1, #checks do
      local where, rule = checks[i](value)
      if not where then return end
      rules[i] = (where ~= "" and where .. ": " or "") .. rule
    end
    return "", ("fits none of %d schemas: %s (anyOf)"):format(#checks,
      table.concat(rules, "; "))
  end
end

function any.oneOf(self, list, at)
  local checks = compile_list(self, "oneOf", list, at)
  return function(value)
    local fits = 0
    for i = 1, #checks do
      if not checks[i](value) then fits = fits + 1 end
    end
    if fits ~= 1 then
      return "", ("must fit exactly one of %d schemas, not %d (oneOf)"):format(#checks, fits)
    end
  end
end

any["not"] = function(self, schema, at)
  local check = self:compile(schema, at .. "/not")
  return function(value)
    if not check(value) then return "", "must not fit the schema (not)" end
  end
end

any["if"] = function(self, schema, at, parent)
  local check = self:compile(schema, at .. "/if")
  local yes = parent["then"] ~= nil and self:compile(parent["then"], at .. "/then")
  local no = parent["else"] ~= nil and self:compile(parent["else"], at .. "/else")
  return function(value)
    local branch
    if check(value) then branch = no else branch = yes end
    if branch then return branch(value) end
  end
end

---What is checked of a value may not begin with the same check of the same value.
any["$ref"] = function(self, ref, at)
  local schema = type(ref) == "string" and values.resolve(self.root, ref)
  if type(ref) ~= "string" or schema == nil then
    self:fail(at .. "/$ref", 'must point to a part of the schema, like "#/$defs/name"')
  elseif self.building[schema] == self.depth then
    self:fail(at .. "/$ref", "%s refers to itself without end", ref)
  end
  return self:compile(schema, ref)
end

---Keywords that others read.
local HELPERS = { minContains = true, maxContains = true, ["then"] = true, ["else"] = true }

-- ---- compiling ------------------------------------------------------------

local BY_TYPE = {
  { "number", number }, { "string", string_ }, { "array", array }, { "object", object },
}

function compiler:check_words(schema, at)
  local words = {}
  for _, from in ipairs { any, number, string_, array, object, ANNOTATIONS } do
    for word in pairs(from) do words[#words + 1] = word end
  end
  for _, word in ipairs(sorted(schema)) do
    local known = any[word] or number[word] or string_[word] or array[word] or object[word]
      or ANNOTATIONS[word] or HELPERS[word]
    if type(word) ~= "string" then
      self:fail(at, "must be a schema: a table with names, like { type = \"string\" }")
    elseif REFUSED[word] then
      self:fail(at .. "/" .. word, REFUSED[word])
    elseif not known and word:sub(1, 2) ~= "x-" then
      table.sort(words)
      local near = core.nearest(word, words)
      self:fail(at, "unknown keyword %q%s", word, near and (", did you mean %q?"):format(near)
        or "")
    end
  end
end

---The checks of these keywords, in the order of their names.
local function checks_of(self, keywords, schema, at)
  local checks = {}
  for _, word in ipairs(sorted(keywords)) do
    if schema[word] ~= nil then
      checks[#checks + 1] = keywords[word](self, schema[word], at, schema)
    end
  end
  return checks
end

local function one_after_the_other(checks)
  if #checks == 1 then return checks[1] end
  return function(value)
    for i = 1, #checks do
      local where, rule = checks[i](value)
      if where then return where, rule end
    end
  end
end

local function valid() end

function compiler:build(schema, at)
  local checks = checks_of(self, any, schema, at)
  local typed
  for _, of in ipairs(BY_TYPE) do
    local list = checks_of(self, of[2], schema, at)
    if #list > 0 then
      typed = typed or {}
      typed[of[1]] = one_after_the_other(list)
    end
  end
  if typed then
    typed.integer = typed.number
    checks[#checks + 1] = function(value)
      local check = typed[type_of(value)]
      if check then return check(value) end
    end
  end
  return #checks == 0 and valid or one_after_the_other(checks)
end

function compiler:compile(schema, at)
  if schema == true then return valid end
  if schema == false then
    return function() return "", "nothing is allowed here (false)" end
  end
  if type(schema) ~= "table" then
    self:fail(at, "must be a schema: a table, true or false, not a %s", type(schema))
  end
  local done = self.done[schema]
  if done then return done end
  self:check_words(schema, at)
  self.done[schema] = function(value) return self.done[schema](value) end -- while it is built
  self.building[schema] = self.depth
  local check = self:build(schema, at)
  self.building[schema] = nil
  self.done[schema] = check
  return check
end

---For parts of the value.
function compiler:below(schema, at)
  self.depth = self.depth + 1
  local check = self:compile(schema, at)
  self.depth = self.depth - 1
  return check
end

---Raises where the schema is not one, blaming the script.
---@param schema table|boolean
---@param what string  names it in errors
---@return fun(value: any): string?, string?  nothing, or where (a JSON pointer) and the rule
function M.compile(schema, what)
  local self = setmetatable({ what = what, root = schema, done = {}, building = {}, depth = 0 },
    compiler)
  return self:compile(schema, "")
end

return M
