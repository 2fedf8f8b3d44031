---app.http.request: one request, its redirects if they are wanted, its answer.
local check = require "lunats.check"
local codecs = require "lunats.codec"
local core = require "lunats.core"
local encode = require "lunats.http.encode"

local WHAT = "app.http.request"
local OPTIONS = {
  url = "string", method = "string", headers = "table", query = "table|string",
  body = "string|function", length = "number", json = true, form = "table",
  timeout = "number", connect_timeout = "number", max_bytes = "number", stream = "function",
  redirects = "number", data_type = "string|table", tls = "table", proxy = "string|boolean",
  trace = "boolean",
}
local TLS_OPTIONS = { ca = "string", cert = "string", key = "string", verify = "boolean" }

local TIMEOUT = 10
local MAX_BYTES = 16 << 20

local function blame(text, ...) core.blame((WHAT .. ": " .. text):format(...)) end

-- ---- what is asked ---------------------------------------------------------

---The client of this script, made by its first request: it keeps connections.
local client

local function check_times(opts)
  for _, name in ipairs { "timeout", "connect_timeout" } do
    local value = opts[name]
    if value ~= nil and (value ~= value or value <= 0) then
      blame("%s must be more than 0 seconds (math.huge: without end)", name)
    end
  end
  local most = opts.max_bytes or 0
  if most ~= most or most < 0 then
    blame "max_bytes must be a number of bytes (math.huge: any)"
  end
  check.whole(WHAT, "length", opts.length, 0)
  if opts.length and type(opts.body) ~= "function" then
    blame "length is that of a body that is a function"
  end
  check.whole(WHAT, "redirects", opts.redirects, 0, 100)
  codecs.of(opts.data_type, WHAT)
end

---Bytes as an integer.
local function whole(bytes) return math.tointeger(math.min(bytes, 1 << 53) // 1) end

---@param opts table  checked
---@return table ask  for client:send(), but for the URL
local function prepare(opts)
  local body, media = encode.body(opts)
  local headers, names = encode.headers(opts.headers)
  if media and not names["content-type"] then
    headers[#headers + 1] = "Content-Type"
    headers[#headers + 1] = media
  end
  local feed = type(body) == "function" and body or nil
  local tls = core.check(WHAT .. ": tls", opts.tls, TLS_OPTIONS)
  if tls.key and not tls.cert then blame "tls: a key without its cert" end
  if opts.proxy == true then blame "proxy must be a URL, or false for none" end
  return {
    method = encode.method(opts.method, body), headers = headers,
    body = not feed and body or nil, feed = feed, length = opts.length,
    upload = feed and (opts.length or -1) or nil,
    max_bytes = whole(opts.max_bytes or MAX_BYTES), streamed = opts.stream ~= nil,
    connect_timeout = opts.connect_timeout, ca = tls.ca, cert = tls.cert, key = tls.key,
    unverified = tls.verify == false, untraced = opts.trace == false,
    proxy = opts.proxy == false and "" or opts.proxy or nil,
  }
end

-- ---- what comes back -------------------------------------------------------

local function fail(ask, code, detail)
  local err = core.error(code, ("%s %s: %s"):format(ask.method, ask.shown, detail))
  err.detail, err.url = detail, ask.shown
  return nil, err
end

---Names in any case.
local headers_meta = {
  __index = function(self, name)
    return type(name) == "string" and rawget(self, name:lower()) or nil
  end,
}

---Names in small letters; values of one name with commas between them, those of Set-Cookie,
---which may have commas, as a list.
local function headers_of(flat)
  local headers = {}
  for i = 1, #flat, 2 do
    local name, value = flat[i]:lower(), flat[i + 1]
    local before = headers[name]
    if name == "set-cookie" then
      if before then before[#before + 1] = value else headers[name] = { value } end
    else
      headers[name] = before and before .. ", " .. value or value
    end
  end
  return setmetatable(headers, headers_meta)
end

---What was asked for by whom has this answer; they do not show it.
local asks = setmetatable({}, { __mode = "k" })

---@class http_response
local response_meta = { __name = "http_response" }

function response_meta.__index(res, key)
  if key ~= "data" then return nil end
  local ask, body = asks[res], rawget(res, "body")
  if body == nil then return nil end
  local data, code, problem = codecs.read(ask.data_type, body)
  if code then
    error(core.error(code, ("%s %s: the answer (status %d) %s"):format(ask.method, ask.shown,
      res.status, problem)), 0)
  end
  rawset(res, "data", data)
  return data
end

local function new_response(ask, status, flat)
  local url = ask.url:gsub("//[^/?#]*@", "//", 1)
  local res = setmetatable({ status = status, ok = status >= 200 and status < 300,
    headers = headers_of(flat), url = url }, response_meta)
  asks[res] = ask
  return res
end

local REDIRECTS = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

local function leads_on(ask, res)
  return ask.redirects ~= nil and REDIRECTS[res.status] and res.headers.location ~= nil
end

local function left(due) return math.max(due - core.clock(), 0) end

---Writes the body of the request piece by piece, as long as the server wants it.
local function send_body(ask, call, due)
  local bytes = 0
  for piece in ask.feed do
    if type(piece) ~= "string" then
      blame("body: the function must return strings, and nil at the end, not a %s", type(piece))
    end
    bytes = bytes + #piece
    if ask.length and bytes > ask.length then
      blame("body: it has more than %d bytes (length)", ask.length)
    end
    if not call:write(piece, left(due)) then return end
  end
  if ask.length and bytes < ask.length then
    blame("body: it has only %d of %d bytes (length)", bytes, ask.length)
  end
  call:finish()
end

---Reads an answer piece by piece, from the first one on: for `stream`, or for a body.
---@return string|nil body, string|nil code, string|nil detail
local function receive(ask, call, due, res, piece)
  local stream = res.ok and ask.stream or nil
  local most, bytes, kept = stream and ask.most or ask.max_bytes, 0, {}
  while piece do
    bytes = bytes + #piece
    if bytes > most then
      return nil, "too_large", ("the answer has more than %d bytes (max_bytes)"):format(most)
    end
    if not stream then
      kept[#kept + 1] = piece
    elseif stream(piece, res) == false then
      break
    end
    local code, detail
    piece, code, detail = call:read(left(due))
    if code then return nil, code, detail end
  end
  return table.concat(kept)
end

---One request.
---@return http_response|nil res, table|nil err
local function exchange(ask, due)
  local call <close>, err = client:send(ask)
  if not call then return fail(ask, err.code, err.message) end
  if ask.feed then send_body(ask, call, due) end
  local piece, code, detail = call:read(left(due))
  if code then return fail(ask, code, detail) end
  local res = new_response(ask, call:head())
  if leads_on(ask, res) then return res end
  if ask.streamed then
    piece, code, detail = receive(ask, call, due, res, piece)
    if code then return fail(ask, code, detail) end
  end
  if not (ask.streamed and res.ok) then res.body = piece or "" end
  return res
end

-- ---- redirects -------------------------------------------------------------

---What is for one server is not for another one.
local PRIVATE = { authorization = true, cookie = true, host = true,
  ["proxy-authorization"] = true }
local OF_BODY = { ["content-type"] = true, ["content-encoding"] = true,
  ["content-language"] = true }

local function without(headers, names)
  local rest = {}
  for i = 1, #headers, 2 do
    if not names[headers[i]:lower()] then
      rest[#rest + 1] = headers[i]
      rest[#rest + 1] = headers[i + 1]
    end
  end
  return rest
end

---What the next server is asked, in place of what this one was.
---@return table|nil ask, table|nil err
local function redirected(ask, res)
  local url, shown, origin = client:url(ask.url, res.headers.location)
  if not url then return fail(ask, "redirect", "its redirect leads nowhere: " .. shown) end
  if ask.origin:find "^https:" and not origin:find "^https:" then
    return fail(ask, "redirect", "it leads from https to http, to " .. shown)
  end
  local next_ask = {}
  for key, value in pairs(ask) do next_ask[key] = value end
  next_ask.url, next_ask.shown, next_ask.origin = url, shown, origin
  if origin ~= ask.origin then next_ask.headers = without(ask.headers, PRIVATE) end
  local status, method = res.status, ask.method
  if status == 303 and method ~= "HEAD" or status <= 302 and method == "POST" then
    next_ask.method, next_ask.body, next_ask.feed, next_ask.upload = "GET", nil, nil, nil
    next_ask.headers = without(next_ask.headers, OF_BODY)
  end
  if next_ask.feed then
    return fail(ask, "redirect", "it leads to " .. shown .. ", and the body is used up")
  end
  return next_ask
end

local function follow(ask, due)
  local followed = 0
  while true do
    local res, err = exchange(ask, due)
    if not res then return nil, err end
    if not leads_on(ask, res) then return res end
    if followed == ask.redirects then
      return fail(ask, "redirect", ("there are more than %d redirects"):format(ask.redirects))
    end
    followed = followed + 1
    ask, err = redirected(ask, res)
    if not ask then return nil, err end
  end
end

-- ---- the function ----------------------------------------------------------

---@param opts http_request
---@return http_response|nil res, table|nil err
return function(opts)
  if core.unreadable then core.blame(WHAT .. " is not available with --libs safe") end
  check.table(WHAT, opts)
  opts = core.check(WHAT, opts, OPTIONS)
  if not opts.url then blame "there is no url" end
  check_times(opts)
  local ask = prepare(opts)
  client = client or core.http_client()
  local url, shown, origin = client:url(nil, encode.url(opts.url, opts.query))
  if not url then
    ask.shown = "an invalid URL"
    return fail(ask, "invalid", shown)
  end
  ask.url, ask.shown, ask.origin = url, shown, origin
  if opts.redirects ~= 0 then ask.redirects = opts.redirects end
  ask.stream, ask.most = opts.stream, opts.max_bytes or math.huge
  ask.data_type = opts.data_type
  return follow(ask, core.clock() + (opts.timeout or TIMEOUT))
end
