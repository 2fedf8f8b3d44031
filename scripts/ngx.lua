---What drivers written for nginx and OpenResty need: the globals `ngx`, `unpack` and `bit`, and
---the place where Debian keeps them. Opt-in: `require "lunats.ngx"`.
local core = require "lunats.core"
local files = require "lunats.files"

if core.unreadable then error("lunats.ngx is not available with --libs safe", 0) end

local operations = require "lunats.ngx.bit"
local sockets = require "lunats.ngx.socket"

local M = {
  null = app.json.null,
  socket = sockets,
  OK = 0, ERROR = -1, AGAIN = -2, DONE = -4, DECLINED = -5,
  config = { debug = false, prefix = function() return "" end, nginx_version = 0,
    ngx_lua_version = 10000 },
}

-- ---- log -----------------------------------------------------------------------

local LEVELS = { [0] = "error", "error", "error", "error", "error", "warn", "info", "info",
  "debug" }
for level, name in ipairs { "EMERG", "ALERT", "CRIT", "ERR", "WARN", "NOTICE", "INFO",
  "DEBUG" } do
  M[name] = level
end
M.STDERR = 0

function M.log(level, ...)
  local parts = table.pack(...)
  for i = 1, parts.n do parts[i] = tostring(parts[i]) end
  app.log[LEVELS[level] or "info"](table.concat(parts))
end

-- ---- time ----------------------------------------------------------------------

M.now = app.now
function M.time() return math.floor(app.now()) end
function M.update_time() end

M.sleep = app.sleep

M.timer = {}

---Calls fn(premature, ...) in so many seconds, in a fiber of its own.
function M.timer.at(delay, fn, ...)
  app.spawn(function(...)
    app.sleep(delay)
    fn(false, ...)
  end, ...)
  return true
end

function M.get_phase() return "timer" end

-- ---- texts ---------------------------------------------------------------------

local function percent(c) return ("%%%02X"):format(c:byte()) end

function M.escape_uri(text) return (tostring(text):gsub("[^%w%-._~]", percent)) end

function M.unescape_uri(text)
  text = tostring(text):gsub("+", " ")
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

function M.encode_base64(text, no_padding)
  local coded = core.base64(tostring(text))
  return no_padding and coded:gsub("=", "") or coded
end

---@return string|nil bytes  nil: that is none
function M.decode_base64(text)
  return core.base64_decode(text .. ("="):rep(-#text % 4))
end

local function hex(bytes)
  return (bytes:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

function M.md5_bin(text) return core.old_digest("md5", tostring(text)) end
function M.md5(text) return hex(M.md5_bin(text)) end
function M.sha1_bin(text) return core.old_digest("sha1", tostring(text)) end

---HMAC of RFC 2104, whose block has 64 bytes.
function M.hmac_sha1(key, text)
  if #key > 64 then key = M.sha1_bin(key) end
  local function padded(byte)
    return (key .. ("\0"):rep(64 - #key)):gsub(".", function(c)
      return string.char(c:byte() ~ byte)
    end)
  end
  local inner, outer = padded(0x36), padded(0x5C)
  return M.sha1_bin(outer .. M.sha1_bin(inner .. text))
end

-- ---- where drivers are -----------------------------------------------------------

---Debian has those in pure Lua for 5.1, which is what they say they need.
local PLACES = "/usr/local/share/lua/5.1/?.lua;/usr/share/lua/5.1/?.lua"

package.searchers[#package.searchers + 1] = files.searcher(function(name)
  if not name:find "^nginx%." and not name:find "^resty%." then return nil end
  local path, tried = package.searchpath(name, PLACES)
  if not path then return tried end
  local fn, err = loadfile(path, "t")
  if not fn then error(err, 0) end
  return fn, path
end)

package.loaded.bit = operations
package.preload["table.new"] = function() return function() return {} end end
package.preload["table.clear"] = function()
  return function(list) for key in next, list do list[key] = nil end end
end
ngx, unpack, bit = M, table.unpack, operations -- luacheck: ignore 111 113

return M
