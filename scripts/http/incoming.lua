---What a request has besides the fields that it comes with: query, data, cookies, read when
---they are first asked for.
local check = require "lunats.check"
local core = require "lunats.core"
local json = require "lunats.json"

---The client's mistake.
local function bad(code, text)
  local err = core.error(code, text)
  err.status = 400
  error(err, 0)
end

return function(http)
  ---@class http.request
  local request = {}

  local function decode(text)
    local value = http.decode(text, true)
    if not value then bad("bad_request", "a % without two hexadecimal digits behind it") end
    return value
  end

  ---"a=1&b=2" as lists of values by name.
  local function parse(text)
    local all = {}
    for pair in text:gmatch "[^&]+" do
      local name, value = pair:match "^([^=]*)=?(.*)$"
      name = decode(name)
      all[name] = all[name] or {}
      table.insert(all[name], decode(value))
    end
    return all
  end

  ---The first of each: who sends a name twice must not turn a string into a table.
  local function first(all)
    local values = {}
    for name, list in next, all do values[name] = list[1] end
    return values
  end

  ---The parameters of a header, "form-data; name=\"a\"".
  local function parameter(value, name)
    return value:match("[;%s]" .. name .. '="([^"]*)"')
      or value:match("[;%s]" .. name .. "=([^;%s]+)")
  end

  ---A part of a form: text, or a file as a table.
  local function part_of(text)
    local head, body = text:match "^(.-)\r\n\r\n(.*)$"
    local headers = {}
    for line in (head or ""):gmatch "[^\r\n]+" do -- nowhere a pattern that starts over and over
      local field, value = line:match "^([^:]+):%s*(.*)$"
      if field then headers[field:lower()] = value end
    end
    local disposition = headers["content-disposition"] or ""
    local name = parameter(disposition, "name")
    if not name then bad("bad_request", "a part of the form has no name") end
    local filename = parameter(disposition, "filename")
    if not filename then return name, body end
    return name, { filename = filename, type = headers["content-type"], body = body }
  end

  local function multipart(req, kind)
    local boundary = parameter(kind, "boundary")
    if not boundary then bad("bad_request", "the form has no boundary") end
    local mark, values = "\r\n--" .. boundary, {}
    local text = "\r\n" .. req.body
    local _, at = text:find(mark, 1, true)
    while at and text:sub(at + 1, at + 2) ~= "--" do
      local from, to = text:find(mark, at + 1, true)
      if not from then bad("bad_request", "the form has no end") end
      local name, value = part_of(text:sub(at + 3, from - 1))
      if values[name] == nil then values[name] = value end
      at = to
    end
    if not at then bad("bad_request", "the form has no parts") end
    return values
  end

  local function by_codec(codec, body)
    local value, code, problem = require "lunats.codec".decode(codec, body)
    if code then bad(code, "the body " .. problem) end
    return value
  end

  local function data(req)
    local codec = rawget(req, "codec")
    if codec then return by_codec(codec, req.body) end
    if req.body == "" then return nil end
    local kind = req.headers["content-type"] or ""
    local plain = kind:lower():match "^%s*([^;%s]*)"
    -- curl -d says that it is a form, whatever it sends; a form has these two encoded.
    if plain == "application/x-www-form-urlencoded" and not req.body:find "^%s*[{%[]" then
      return first(parse(req.body))
    end
    if plain == "multipart/form-data" then return multipart(req, kind) end
    local value, err = json.decode(req.body)
    if err then bad("bad_json", "the body is not JSON: " .. err.message) end
    return value
  end

  local function cookies(req)
    local values = {}
    for pair in (req.headers.cookie or ""):gmatch "[^;]+" do
      local name, value = pair:match "^%s*([^=%s]+)=(.*)$"
      if name and values[name] == nil then
        value = value:match "^.*%S" or ""
        values[name] = value:match '^"(.*)"$' or value
      end
    end
    return values
  end

  local made = {
    query = function(req) return first(parse(req.query_string)) end,
    data = data,
    cookies = cookies,
  }

  ---All values of a name in the query, in their order.
  ---@return string[]
  function request:query_all(name) return parse(self.query_string)[name] or {} end

  ---Adds a header to the answer, whatever comes of the handler.
  function request:set_header(name, value)
    local headers = rawget(self, "response_headers") or {}
    rawset(self, "response_headers", headers)
    headers[name] = value
  end

  local COOKIE = { max_age = "number", path = "string", domain = "string", secure = "boolean",
    http_only = "boolean", same_site = "string" }
  local SAME_SITE = { strict = "Strict", lax = "Lax", none = "None" }

  ---A cookie of the answer. Scripts of the page do not see it, and other sites do not send it,
  ---unless the options say otherwise.
  function request:set_cookie(name, value, opts)
    opts = core.check("req:set_cookie", opts, COOKIE)
    local age = check.age("req:set_cookie", "max_age", opts.max_age)
    if type(name) ~= "string" or not name:find "^[%w_.!#$&'*+^`|~-]+$" then
      core.blame "req:set_cookie: that is not the name of a cookie"
    end
    if type(value) ~= "string" or value:find '[%c%s",;\\]' then
      core.blame "req:set_cookie: the value has a blank, quote, comma or semicolon: encode it"
    end
    local same_site = SAME_SITE[(opts.same_site or "lax"):lower()]
    if not same_site then
      core.blame 'req:set_cookie: same_site is "strict", "lax" or "none"'
    end
    if ((opts.path or "") .. (opts.domain or "")):find "[;%c]" then
      core.blame "req:set_cookie: path and domain have no semicolon"
    end
    local parts = { name .. "=" .. value, "Path=" .. (opts.path or "/"),
      "SameSite=" .. same_site }
    if opts.domain then parts[#parts + 1] = "Domain=" .. opts.domain end
    if age then parts[#parts + 1] = "Max-Age=" .. age end
    if opts.secure then parts[#parts + 1] = "Secure" end
    if opts.http_only ~= false then parts[#parts + 1] = "HttpOnly" end
    local headers = rawget(self, "response_headers") or {}
    local list = headers["Set-Cookie"] or {}
    list[#list + 1] = table.concat(parts, "; ")
    self:set_header("Set-Cookie", list)
  end

  http.request_class.__name = "http.request"
  http.request_class.methods = request
  function http.request_class.__index(req, key)
    local make = made[key]
    if not make then return request[key] end
    local value = make(req)
    rawset(req, key, value)
    return value
  end

  function http.headers_class.__index(headers, key)
    return type(key) == "string" and rawget(headers, key:lower()) or nil
  end
end
