---The option `key`: what is handled in order because it has the same one.
local core = require "lunats.core"

local M = {
  ---Bytes of a key.
  max = 1024,
}

local function is_text(key)
  return key == "subject" or key:find "^subject:[1-9]%d?%d?%d?$"
    or key:find "^header:[!-9;-~]+$" and #key <= 120
end

---Raises unless `key` is one.
---@param what string
---@param key any
function M.check(what, key)
  if key == nil or type(key) == "function" then return end
  if type(key) ~= "string" or not is_text(key) then
    core.blame(("%s: key: a function of the message expected, or \"subject\", \"subject:2\" (a "
      .. "token), \"header:Name\", got %s"):format(what, type(key) == "string"
      and ("%q"):format(key) or type(key)))
  end
end

---What the C side gets.
---@param key function|string|nil
---@return function|string|nil key  finds it, and raises when that is none
---@return function|nil keyless  raises why there is none
function M.functions(key)
  if type(key) ~= "function" then return key end
  local function find(msg)
    local value = key(msg)
    local kind = type(value)
    if value == nil or kind == "number" or kind == "string" and #value <= M.max then
      return value
    end
    error(("key: a string of at most %d bytes, a number or nil expected, got %s"):format(M.max,
      kind == "string" and ("%d bytes"):format(#value) or kind), 0)
  end
  return find, function(msg)
    find(msg)
    error("key: the function must not wait", 0)
  end
end

return M
