---Fibers of app.spawn that still run when the program ends, which cuts them off: nobody would
---know how they have ended.
local declared = require "lunats.commands.declared"

local M = {}

---Where each was started, as long as it runs or is held.
local spawned = setmetatable({}, { __mode = "k" })

---Notes those that are started from here on.
function M.watch()
  local spawn = app.spawn
  rawset(app, "spawn", function(...)
    local fiber = spawn(...)
    spawned[fiber] = declared.where()
    return fiber
  end)
end

---@param what string  that something has ended
function M.warn(what)
  local count, first = 0, nil
  for fiber, place in pairs(spawned) do
    if not fiber.handle:ended() then
      count = count + 1
      if not first or place < first then first = place end
    end
  end
  if count == 0 then return end
  local one = count == 1
  io.stderr:write(("%s while %s still ran, started at %s%s, and cuts %s off.\n"
    .. "What has to end is awaited: local f = app.spawn(...) f:await()\n"):format(what,
      one and "a fiber" or count .. " fibers", first, one and "" or " and elsewhere",
      one and "it" or "them"))
end

return M
