---Answers to pages of other origins: the option `cors` of a route.
local check = require "lunats.check"
local core = require "lunats.core"

local M = {}

local OPTIONS = { origins = "string|table", credentials = "boolean", max_age = "number",
  headers = "table", expose = "table" }

---Methods of the routes with `cors`, by path: the one answer to OPTIONS names them all.
local methods = {}

---@return table { origins = text, with a blank after each, credentials =, max_age =, headers =,
---expose = }
local function settings(what, cors)
  local own = type(cors) == "table" and not cors[1]
    and core.check(what .. ": cors", cors, OPTIONS)
    or { origins = cors == true and "*" or cors }
  local list = type(own.origins) == "table" and own.origins or { own.origins or "*" }
  local any = false
  for _, origin in ipairs(list) do
    if origin ~= "*" and not (type(origin) == "string"
      and (origin == "null" or origin:find "^%a[%w+.-]*://[^/%s]+$")) then
      core.blame(("%s: cors: '%s' is no origin like https://example.com"):format(what,
        tostring(origin)))
    end
    any = any or origin == "*"
  end
  if any and own.credentials then
    core.blame(what .. ": cors: credentials need a list of origins: with '*' every page could "
      .. "use them")
  end
  return { origins = any and "* " or table.concat(list, " ") .. " ",
    credentials = own.credentials,
    max_age = check.age(what .. ": cors", "max_age", own.max_age),
    headers = own.headers and table.concat(own.headers, ", "),
    expose = own.expose and table.concat(own.expose, ", ") }
end

---What lets the page read the answer is there before a handler runs (host/web/cors.c).
local function preflight(own, list)
  return function(req)
    local origin = rawget(req, "response_headers") or {}
    req:set_header("Allow", table.concat(list, ", ") .. ", OPTIONS")
    if not origin["Access-Control-Allow-Origin"] then return nil end
    req:set_header("Access-Control-Allow-Methods", table.concat(list, ", "))
    req:set_header("Access-Control-Allow-Headers",
      own.headers or req.headers["access-control-request-headers"])
    if own.max_age then req:set_header("Access-Control-Max-Age", own.max_age) end
    return nil
  end
end

---@param route table what http.route() gets, which learns who may read the answers
---@param answer_options function(fn) declares the route for OPTIONS
function M.apply(what, method, path, cors, route, answer_options)
  local own = settings(what, cors)
  route.origins, route.expose, route.credentials = own.origins, own.expose, own.credentials
  local list = methods[path]
  if not list then
    list = {}
    answer_options(preflight(own, list))
    methods[path] = list
  end
  for _, one in ipairs(method == "any" and { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE" }
    or method == "GET" and { "GET", "HEAD" } or { method }) do
    list[#list + 1] = one
  end
end

return M
