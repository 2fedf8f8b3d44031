---Where a server is: redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE], rediss:// with TLS, or
---unix:PATH.
local core = require "lunats.core"

local M = {}

local PORT = 6379

local function decoded(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

---@class redis_target
---@field host string  or "unix:PATH"
---@field port integer|nil
---@field tls boolean|nil
---@field user string|nil
---@field password string|nil
---@field database integer|nil

---Raises, without the password, when it is none.
---@return redis_target
function M.parse(url)
  if url:sub(1, 5) == "unix:" then return { host = url } end
  local scheme, rest = url:match "^(redis+)://(.*)$"
  if scheme ~= "redis" and scheme ~= "rediss" then
    core.blame "redis: the url begins with redis://, rediss:// or unix:"
  end
  local found = { tls = scheme == "rediss" or nil }
  local who, where = rest:match "^(.*)@([^@]*)$"
  if who then
    local user, password = who:match "^([^:]*):(.*)$"
    found.user = decoded(user or "")
    found.password = decoded(password or who)
    if found.user == "" then found.user = nil end
  end
  local host, path = (where or rest):match "^([^/?#]*)/?(.*)$"
  if path ~= "" then
    found.database = math.tointeger(tonumber(path))
    if not found.database or found.database < 0 then
      core.blame "redis: what follows the host in the url is the number of a database"
    end
  end
  local port
  found.host, port = host:match "^%[([%x:.]+)%](.*)$"
  if not found.host then found.host, port = host:match "^([^:]*)(.*)$" end
  found.port = port == "" and PORT or math.tointeger(tonumber(port:match "^:(%d+)$"))
  if found.host == "" or not found.port or found.port < 1 or found.port > 65535 then
    core.blame "redis: the url needs a host, and a port if it is not 6379: redis://HOST:PORT"
  end
  return found
end

return M
