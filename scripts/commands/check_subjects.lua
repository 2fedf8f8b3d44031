---What is wrong with the listeners and subscriptions of a service: for `lunats check`.
local subject = require "lunats.subject"

local M = {}

---Patterns that see what is nobody's business, with an example of it.
local FOREIGN = {
  { "_INBOX.x", "the replies to other people's requests (_INBOX.>)" },
  { "$JS.API.x", "requests to JetStream itself ($JS.>)" },
  { "$SYS.x", "events of the server ($SYS.>), which only its system account gets" },
}

local function foreign(pattern)
  local own = pattern:match "^[^.]+"
  for _, one in ipairs(FOREIGN) do
    local first = one[1]:match "^[^.]+"
    local wild = own == "*" or own == ">"
    if own == first or wild and subject.overlap(pattern, first .. ".>") then return one[2] end
  end
end

local function problem(list, where, ...)
  list[#list + 1] = { level = "warning", where = where, message = string.format(...) }
end

---@param declared table  what lunats.commands.declared lists
---@return { level: string, where: string, message: string }[]
function M.problems(declared)
  local list = {}
  local listeners = declared.listeners
  for i, one in ipairs(listeners) do
    local what = foreign(one.subject)
    if what then problem(list, one.where, "a listener on %s gets %s", one.subject, what) end
    for j = 1, i - 1 do
      local other = listeners[j]
      if one.queue and one.queue == other.queue and one.subject ~= other.subject
        and subject.overlap(one.subject, other.subject) then
        problem(list, one.where, "%s and %s (%s) overlap in one queue group, %q: a message "
          .. "on both goes to only one of them", one.subject, other.subject, other.where,
          one.queue)
      end
    end
  end
  local durables = {}
  for _, one in ipairs(declared.subscriptions) do
    local key = one.durable and not one.queue and one.durable .. " " .. (one.stream or "")
    local other = key and durables[key]
    if other then
      problem(list, one.where, "the durable name %q is used twice (%s): both share the "
        .. "messages of one consumer", one.durable, other.where)
    elseif key then
      durables[key] = one
    end
  end
  return list
end

return M
