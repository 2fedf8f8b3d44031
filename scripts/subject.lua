---Matching of NATS subjects against subscription patterns.
local M = {}

---Tells whether a subject matches a pattern. The subject may be a pattern itself: then whether
---all that match it do.
---@param pattern string  may hold `*` (one token) and end in `>` (one or more)
---@param subject string
---@return boolean
function M.matches(pattern, subject)
  local next_token = subject:gmatch "[^.]+"
  for want in pattern:gmatch "[^.]+" do
    local got = next_token()
    if got == nil then return false end
    if want == ">" then return true end
    if want ~= got and (want ~= "*" or got == ">") then return false end
  end
  return next_token() == nil
end

---Tells whether some subject matches both patterns.
---@param a string
---@param b string
---@return boolean
function M.overlap(a, b)
  local next_b = b:gmatch "[^.]+"
  for x in a:gmatch "[^.]+" do
    local y = next_b()
    if y == nil then return false end
    if x == ">" or y == ">" then return true end
    if x ~= y and x ~= "*" and y ~= "*" then return false end
  end
  return next_b() == nil
end

return M
