---The Lua half of schema_fuzz.c. An input has two lines of JSON: a schema, and a value. Either
---the schema is refused with a text, or it says of the value that it is valid, or where it is
---not and why; nothing else is raised, and the same question has the same answer.
local json = require "lunats.json"

---What a schema may cost for each level of a value is its author's affair.
local REFERENCES, DEPTH = 4, 8

local refused = {}
package.loaded["lunats.core"] = {
  blame = function(text) error(setmetatable({ text = text }, refused), 0) end,
  nearest = function(_, list) return list[1] end,
}
local schema = require "lunats.schema"

local function depth_of(value)
  local depth = 0
  if type(value) == "table" then
    for _, one in next, value do depth = math.max(depth, depth_of(one)) end
  end
  return depth + 1
end

local function verdict(check, value)
  local where, rule = check(value)
  if where == nil and rule == nil then return "" end
  if type(where) ~= "string" or type(rule) ~= "string" or rule == ""
    or where ~= "" and where:sub(1, 1) ~= "/" then
    error(("an answer that is none: %s, %s"):format(where, rule), 0)
  end
  return where .. " " .. rule
end

local M = {}

function M.run(input)
  local first, second = input:match "^([^\n]*)\n(.*)$"
  if not first or select(2, first:gsub("ref", "")) > REFERENCES then return end
  local rules, value = json.decode(first), json.decode(second)
  if rules == nil or value == nil or depth_of(value) > DEPTH then return end
  local ok, check = pcall(schema.compile, rules, "schema")
  if not ok then
    if getmetatable(check) ~= refused or type(check.text) ~= "string" then
      error(("a schema raises %s"):format(tostring(check)), 0)
    end
    return
  end
  local said = verdict(check, value)
  if said ~= verdict(schema.compile(rules, "schema"), json.decode(second)) then
    error("another answer to the same question: " .. said, 0)
  end
end

return M
