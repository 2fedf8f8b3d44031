---The subscriptions and watches of JetStream that a script has, for those who list what runs.
local M = { all = setmetatable({}, { __mode = "k" }) }

---@param self table  with stream, consumer, stopped or box
---@param kind string
function M.add(self, kind) M.all[self] = kind end

return M
