---svc:http: a request of HTTP to a service of the spec, without a port.
local core = require "lunats.core"
local codecs = require "lunats.codec"
local json = require "lunats.json"

local OPTIONS = { headers = "table", body = "string", json = true, form = "table",
  timeout = "number", stop_after = "number", data_type = "string|table" }

local answer, headers_class = {}, {}

---The body as JSON, or as the request wants it, when it is first asked for.
function answer:__index(key)
  if key ~= "data" then return nil end
  local value, code, problem = codecs.read(self.data_type, self.body)
  if code then error("the answer " .. problem, 2) end
  rawset(self, "data", value)
  return value
end

function headers_class.__index(headers, key)
  return type(key) == "string" and rawget(headers, key:lower()) or nil
end

local function escape(text)
  return (tostring(text):gsub("[^%w._~-]", function(c) return ("%%%02X"):format(c:byte()) end))
end

local function form_of(fields)
  local pairs_of = {}
  for name, value in pairs(fields) do
    pairs_of[#pairs_of + 1] = escape(name) .. "=" .. escape(value)
  end
  table.sort(pairs_of)
  return table.concat(pairs_of, "&")
end

---@return string|nil body, string|nil content_type
local function body_of(opts)
  local count = (opts.body and 1 or 0) + (opts.json ~= nil and 1 or 0) + (opts.form and 1 or 0)
  if count > 1 then core.blame "svc:http: one of 'body', 'json' and 'form'" end
  if opts.json ~= nil then return json.encode(opts.json), "application/json" end
  if opts.form then return form_of(opts.form), "application/x-www-form-urlencoded" end
  return opts.body
end

local function request_headers(opts, kind)
  local list, has_kind = {}, false
  for name, value in pairs(opts.headers or {}) do
    has_kind = has_kind or name:lower() == "content-type"
    list[#list + 1], list[#list + 2] = name, tostring(value)
  end
  if kind and not has_kind then list[#list + 1], list[#list + 2] = "Content-Type", kind end
  return list
end

---Headers by name in small letters; of several the values with ", " between them, but cookies
---are a list.
local function answer_headers(list)
  local headers, cookies = {}, {}
  for i = 1, #list, 2 do
    local name, value = list[i]:lower(), list[i + 1]
    if name == "set-cookie" then
      cookies[#cookies + 1] = value
    else
      headers[name] = headers[name] and headers[name] .. ", " .. value or value
    end
  end
  return setmetatable(headers, headers_class), cookies
end

---@param handle userdata the service
---@param timeout number  seconds, where opts has none
return function(handle, method, path, opts, timeout)
  opts = core.check("svc:http", opts, OPTIONS)
  if type(method) ~= "string" or type(path) ~= "string" then
    core.blame 'svc:http: a method and a path: svc:http("GET", "/orders?limit=1")'
  end
  codecs.of(opts.data_type, "svc:http")
  local body, kind = body_of(opts)
  local before, query = path:match "^([^?]*)%??(.*)$"
  local status, list, bytes = handle:ask(method, before, query, request_headers(opts, kind),
    body, opts.timeout or timeout, opts.stop_after or 0)
  if not status then return nil, list end
  local headers, cookies = answer_headers(list)
  return setmetatable({ status = status, headers = headers, cookies = cookies, body = bytes,
    data_type = opts.data_type }, answer)
end
