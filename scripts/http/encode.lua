---What a request says, as text: its query, its forms, its headers.
local check = require "lunats.check"
local core = require "lunats.core"
local json = require "lunats.json"

local WHAT = "app.http.request"

local M = {}

local function blame(text, ...) core.blame((WHAT .. ": " .. text):format(...)) end

local function escape(text)
  return (text:gsub("[^%w%-._~]", function(byte) return ("%%%02X"):format(byte:byte()) end))
end

local function plain(name, key, value)
  local kind = type(value)
  if kind == "string" or kind == "number" or kind == "boolean" then return tostring(value) end
  blame("%s: the value of '%s' must be a string, a number, a boolean or a list of them, "
    .. "not a %s", name, key, kind)
end

---The keys in order, so that the same table is the same text each time.
local function sorted(name, t)
  local keys = {}
  for key in next, t do
    if type(key) ~= "string" then
      blame("%s: a name must be a string, not a %s", name, type(key))
    end
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end

---{ a = 1, b = { 2, 3 } } is a=1&b=2&b=3.
---@param name string  of the option
function M.pairs(name, t)
  local parts = {}
  for _, key in ipairs(sorted(name, t)) do
    local value = t[key]
    for _, one in ipairs(type(value) == "table" and value or { value }) do
      parts[#parts + 1] = escape(key) .. "=" .. escape(plain(name, key, one))
    end
  end
  return table.concat(parts, "&")
end

---The URL with more in its query.
function M.url(url, query)
  if query == nil then return url end
  local more = type(query) == "table" and M.pairs("query", query) or query
  if more == "" then return url end
  local rest, fragment = url:match "^([^#]*)(.*)$"
  return rest .. (rest:find("?", 1, true) and "&" or "?") .. more .. fragment
end

---Of the bytes that follow, and of this connection: they are not the script's.
local OURS = { ["content-length"] = true, ["transfer-encoding"] = true, ["expect"] = true,
  ["te"] = true, ["trailer"] = true, ["upgrade"] = true }

local function header_value(name, value)
  value = plain("headers", name, value)
  if value:find "[\0-\8\10-\31\127]" then
    blame("the value of the header '%s' must not hold line breaks or other control characters",
      name)
  end
  return value:match "^%s*(.-)%s*$"
end

---@param headers table|nil
---@return string[] list  name, value, name, value, ...
---@return table<string, true> names  in small letters
function M.headers(headers)
  local list, names = {}, {}
  for _, name in ipairs(sorted("headers", headers or {})) do
    local value, small = headers[name], name:lower()
    if not name:find "^[%w!#$%%&'*+.^_`|~-]+$" then blame("invalid header name '%s'", name) end
    if OURS[small] then
      blame("the header '%s' cannot be set: it is written as needed", name)
    end
    for _, one in ipairs(type(value) == "table" and value or { value }) do
      list[#list + 1] = name
      list[#list + 1] = header_value(name, one)
      names[small] = true
    end
  end
  return list, names
end

---@return string|nil body, string|nil type  what its Content-Type is, unless told otherwise
function M.body(opts)
  local count = 0
  for _, name in ipairs { "body", "json", "form" } do
    if opts[name] ~= nil then count = count + 1 end
  end
  if count > 1 then blame "give one of body, json and form" end
  if opts.json ~= nil then return json.encode(opts.json), "application/json" end
  if opts.form then
    return M.pairs("form", opts.form), "application/x-www-form-urlencoded"
  end
  return opts.body
end

---@return string method  in capitals
function M.method(method, body)
  if method == nil then return body and "POST" or "GET" end
  check.string(WHAT, "method", method)
  if not method:find "^%a[%a-]*$" or method:upper() == "CONNECT" then
    blame("'%s' is no method", method)
  end
  method = method:upper()
  if method == "HEAD" and body then blame "HEAD has no body" end
  return method
end

return M
