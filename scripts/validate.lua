---The schemas of listeners and routes: requests that break theirs are answered with 400,
---results that do are errors of the service.
local core = require "lunats.core"
local schema = require "lunats.schema"
local null = require("lunats.json").null

local M = {}

local OPTIONS = { request = "table|boolean", response = "table|boolean" }

---@param where string  a JSON pointer, "" for all of it
local function broken(where, rule) return where == "" and rule or where .. ": " .. rule end

---Neither a message that is passed on nor an app.http.response() is looked at.
local function checked_result(check, value, err)
  local kind = type(value)
  if value == nil or kind == "userdata" and value ~= null
    or kind == "table" and (getmetatable(value) or M).is_response then
    return value, err
  end
  local where, rule = check(value)
  if where then
    error(core.error("bad_result", "the result breaks the schema: " .. broken(where, rule)), 0)
  end
  return value, err
end

---The handler with checks around it.
---@param what string  names the function in errors: "app.listen"
---@param schemas table  request, response
---@param fn function
---@param facts table<string, string>  gets the schemas as JSON, to be shown
---@return function
function M.handler(what, schemas, fn, facts)
  schemas = core.check(what .. ": schema of request and response", schemas, OPTIONS)
  local check = {}
  for _, name in ipairs { "request", "response" } do
    if schemas[name] ~= nil then
      check[name] = schema.compile(schemas[name], what .. ": schema." .. name)
      facts["schema." .. name] = core.sorted_json(schemas[name])
    end
  end
  local request, response = check.request, check.response
  return function(msg, ...)
    if request then
      local where, rule = request(msg.data)
      if where then
        return nil, { code = 400, message = "invalid request: " .. broken(where, rule) }
      end
    end
    if response then return checked_result(response, fn(msg, ...)) end
    return fn(msg, ...)
  end
end

return M
