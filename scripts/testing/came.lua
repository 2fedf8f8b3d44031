---What svc:expect() says when its message has not come: what the service has sent instead.
local core = require "lunats.core"
local subject = require "lunats.subject"

local M = {}

local MOST, LONGEST = 5, 200

---One line, however long the body and whatever its bytes are.
local function line_of(msg, note)
  local body = msg.raw
  local cut = #body > LONGEST and ("... (%d bytes)"):format(#body) or ""
  body = body:sub(1, LONGEST):gsub("[%c\x7f-\xff]+", function(bytes)
    return utf8.len(bytes) and not bytes:find "%c" and bytes
      or bytes:gsub(".", function(c) return ("\\x%02X"):format(c:byte()) end)
  end)
  return ("  %s %s%s%s"):format(msg.subject, body == "" and "(empty)" or body, cut,
    note and " (" .. note .. ")" or "")
end

---How far a subject is from a pattern: 0 for one that matches.
local function distance(pattern, to)
  if subject.matches(pattern, to) then return 0 end
  if core.nearest(pattern, { to }) then return 1 end
  return pattern:match "^[^.]*" == to:match "^[^.]*" and 2 or 3
end

---The messages that are most like what was wanted, in the order in which they came.
local function nearest(sent, pattern)
  local list = {}
  for i, msg in ipairs(sent) do
    list[i] = { msg = msg, place = i, distance = distance(pattern, msg.subject) }
  end
  table.sort(list, function(a, b)
    if a.distance ~= b.distance then return a.distance < b.distance end
    return a.place > b.place -- the last ones tell most
  end)
  for i = #list, MOST + 1, -1 do list[i] = nil end
  table.sort(list, function(a, b) return a.place < b.place end)
  return list
end

local function tell_sent(svc, pattern, lines)
  if #svc.sent == 0 then
    lines[#lines + 1] = "the service has sent nothing since it started"
    return
  end
  lines[#lines + 1] = "since it started the service has sent"
  for _, one in ipairs(nearest(svc.sent, pattern)) do
    local note = one.distance == 0
      and (svc.expected[one.msg] and "returned before" or "refused by 'where'") or nil
    lines[#lines + 1] = line_of(one.msg, note)
  end
  if #svc.sent > MOST then lines[#lines + 1] = ("  and %d more"):format(#svc.sent - MOST) end
end

---@param svc testing.service
---@param pattern string
---@param why string what went wrong meanwhile, or ""
---@return string lines
function M.instead(svc, pattern, why)
  local lines = {}
  if why ~= "" then lines[1] = why end
  for _, prefix in ipairs(svc.own_prefixes) do
    if pattern:sub(1, #prefix) == prefix then
      lines[#lines + 1] = ("what a service sends below '%s' is its own traffic and not "
        .. "captured"):format(prefix)
      return table.concat(lines, "\n")
    end
  end
  for to in pairs(svc.asked) do
    if subject.matches(pattern, to) then
      lines[#lines + 1] = ("the spec itself has sent to '%s': svc:expect waits for what the "
        .. "service sends"):format(to)
    end
  end
  tell_sent(svc, pattern, lines)
  if svc.manual then
    lines[#lines + 1] = "its clock stands still: svc:advance() lets timers and sleeps go on"
  end
  return table.concat(lines, "\n")
end

return M
