---Priority groups: what a pull says of itself where the readers of a consumer do not share
---alike. Servers from 2.11 on.
local core = require "lunats.core"
local check = require "lunats.check"
local api = require "lunats.js.api"
local consumers = require "lunats.js.consumers"

local M = {
  ---Of pull_subscribe, psub:fetch and psub:consume.
  OPTIONS = { group = "string", min_pending = "number", min_ack_pending = "number",
    priority = "number" },
}

local LONGEST, LOWEST = 64, 9

---Adds the options to those of a function.
---@param options table<string, string>
function M.add_to(options)
  for name, kind in pairs(M.OPTIONS) do options[name] = kind end
  return options
end

---Takes the options of groups out of those of a call; a wrong one is an error of the caller
---`level` steps up.
---@return table|nil group nil when there are none
function M.check(what, opts, level)
  level = (level or 1) + 1
  local group
  for name in pairs(M.OPTIONS) do
    if opts[name] ~= nil then
      group = group or {}
      group[name] = opts[name]
    end
  end
  if not group then return nil end
  local name = group.group
  if name and (#name > LONGEST or not name:find "^[%w/_=-]+$") then
    error(("%s: invalid group '%s': 1 to %d letters, digits and /_=-"):format(what, name,
      LONGEST), level + 1)
  end
  check.whole(what, "min_pending", group.min_pending, 1)
  check.whole(what, "min_ack_pending", group.min_ack_pending, 1)
  check.whole(what, "priority", group.priority, 0, LOWEST)
  return group
end

local function has(names, wanted)
  for _, name in ipairs(names or {}) do
    if wanted == nil or name == wanted then return true end
  end
  return false
end

---The consumer has no such group: is it the server that knows none?
local function no_group(self, wanted)
  local ok, err = api.need_level(api.LEVEL_2_11, "priority groups")
  if not ok then return nil, err end
  return nil, api.failure("jetstream", "%s has no priority group%s", consumers.describe(self),
    wanted and (" '%s'"):format(wanted) or "")
end

---What a request says: the options of the call before those of the subscription; without a name
---the group of the consumer, if it has one only.
---@param self table with `groups` of the consumer, `group` of the subscription
---@param group table|nil of the call
---@return table|nil group nil: none, or an err
---@return table|nil err
function M.of(self, group)
  if not (group or self.group or has(self.groups)) then return nil end
  local merged = {}
  for name in pairs(M.OPTIONS) do
    merged[name] = (group or {})[name]
    if merged[name] == nil then merged[name] = (self.group or {})[name] end
  end
  if not has(self.groups, merged.group) then -- it may have got it meanwhile
    local info, err = consumers.info(self.stream, self.consumer)
    if not info then return nil, err end
    self.groups = info.config.priority_groups
  end
  if not has(self.groups, merged.group) then return no_group(self, merged.group) end
  if not merged.group and #self.groups > 1 then
    return core.fail(api.failure("jetstream", "%s has several priority groups (%s): name one "
      .. "with the option 'group'", consumers.describe(self), table.concat(self.groups, ", ")))
  end
  merged.group = merged.group or self.groups[1]
  return merged
end

return M
