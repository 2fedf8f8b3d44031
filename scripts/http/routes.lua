---Declaring routes, and what their handlers return.
local core = require "lunats.core"
local around = require "lunats.around"
local check = require "lunats.check"
local cors = require "lunats.http.cors"
local http = core.http_in()
require "lunats.http.incoming" (http)
http.response_class.is_response = true

local M = {}

local OPTIONS = {
  max_body = "number|string", data_type = "string|table", cors = "boolean|string|table",
  schema = "table", retry = "table|boolean", breaker = "table|boolean",
  rate = "table|number|boolean", bulkhead = "table|number|boolean",
}

local UNITS = { [""] = 1, K = 2^10, M = 2^20, G = 2^30 }

---Bytes may be said as those of --memory: "4M". No more than the port can hold of all bodies.
local BODY_MOST = 32 * 2^20

local function bytes(what, value)
  local number, unit = tostring(value):upper():match "^(%d+)([KMG]?)$"
  local count = number and math.tointeger(tonumber(number) * UNITS[unit])
  if not count or count > BODY_MOST then
    core.blame(("%s: max_body is a number of bytes like 65536 or \"4M\", at most %d"):format(
      what, BODY_MOST))
  end
  return count
end

---Where a function is, for the log.
local function where(fn)
  local info = debug.getinfo(fn, "S")
  return ("%s:%d"):format(info.short_src, info.linedefined)
end

---The handler with a codec, which makes what it returns the body of its answer; what it has
---said itself of the body stays.
local function encoding(codec, handler)
  local codecs = require "lunats.codec"
  local headers = { ["Content-Type"] = codec.content_type or "application/octet-stream" }
  local function answer(value, err)
    if value == nil or core.is_msg(value) then return value, err end
    if type(value) == "table" and getmetatable(value) == http.response_class then
      if value.body == nil or type(value.body) == "string" then return value end
      local all = {}
      for name, text in next, headers do all[name] = text end
      for name, text in next, value.headers or {} do
        if name:lower() == "content-type" then all["Content-Type"] = nil end
        all[name] = text
      end
      return M.raw_response { status = value.status, headers = all,
        body = codecs.encode(codec, value.body) }
    end
    return M.raw_response { status = 200, headers = headers,
      body = codecs.encode(codec, value) }
  end
  return function(req)
    rawset(req, "codec", codec)
    return answer(handler(req))
  end
end

local function guarded(opts)
  return opts.retry ~= nil or opts.breaker ~= nil or opts.rate ~= nil or opts.bulkhead ~= nil
end

---@param what string names the function in errors
---@param method string "GET", ... or "any"
---@param background boolean|nil the fibers end with the version
function M.declare(what, method, path, opts, fn, background)
  check.string(what, "the path", path)
  check.fn(what, fn)
  opts = core.check(what, opts, OPTIONS)
  local codec = opts.data_type and require "lunats.codec".of(opts.data_type, what)
  core.declare()
  local own = { max_body = opts.max_body and bytes(what, opts.max_body),
    background = background, where = where(fn) }
  local handler = around.handler("http", fn)
  if opts.schema then
    handler = require("lunats.validate").handler(what, opts.schema, handler, {})
  end
  if guarded(opts) then
    handler = require "lunats.resilience".handler(what, opts, handler,
      ("%s %s"):format(method, path), math.huge)
  end
  if codec then
    handler = encoding(codec, handler)
  elseif opts.data_type == "string" then
    local inner = handler
    handler = function(req)
      rawset(req, "data", req.body)
      return inner(req)
    end
  end
  if opts.cors then
    cors.apply(what, method, path, opts.cors, own, function(answer)
      http.route("OPTIONS", path, own, answer)
    end)
  end
  local route = http.route(method, path, own, handler)
  return route
end

-- ---- answers ---------------------------------------------------------------

local RESPONSE = { status = "number", headers = "table", body = true, stream = "function" }

---@param fields table
function M.response(fields)
  local what = "app.http.response"
  check.table(what, fields)
  local own = {}
  for name, value in next, core.check(what, fields, RESPONSE) do own[name] = value end
  if own.status and not (math.tointeger(own.status) and own.status >= 200
    and own.status <= 599) then
    core.blame(what .. ": status must be a whole number from 200 to 599")
  end
  own.status = own.status and math.tointeger(own.status)
  if own.stream and own.body ~= nil then
    core.blame(what .. ": either 'body' or 'stream'")
  end
  if own.stream then own.status = own.status or 200 end
  if (own.status == 204 or own.status == 304) and (own.stream or own.body ~= nil) then
    core.blame(("%s: an answer with status %d has no body"):format(what, own.status))
  end
  return setmetatable(own, http.response_class)
end

---The same without a look at it, for files.
function M.raw_response(fields) return setmetatable(fields, http.response_class) end

M.open_file, M.real_folder, M.list = http.open_file, http.real_folder, http.routes

return M
