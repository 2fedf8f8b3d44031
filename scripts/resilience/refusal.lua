---The errors of what refuses a call without making it, and how many there were.
local core = require "lunats.core"

local M = {}

local refused

---Errors of this process: a further attempt would find what has refused the last one.
local own = setmetatable({}, { __mode = "k" })

---@param by "breaker"|"rate"|"bulkhead"
---@param name string
---@param code string
---@param status integer to whoever gets it as an answer
---@param retry_after number|nil seconds
---@param text string
---@return nil, table err
function M.refuse(by, name, code, status, retry_after, text, ...)
  refused = refused or core.meter("counter", "lunats_refused_total",
    "Requests that a rate, a bulkhead or a breaker has refused.", { "name", "by" }, {})
  refused:inc(1, { name = name, by = by })
  local err = core.error(code, text:format(...))
  err.status, err.retry_after = status, retry_after
  own[err] = true
  return nil, err
end

---Whether it was refused in this process, and not by whoever was asked.
---@return boolean
function M.is_own(err) return own[err] == true end

return M
