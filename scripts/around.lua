---Where middleware joins what a service handles and sends. Nothing is added here unless
---app.use() is called: it puts other functions in the place of these.
local M = {
  ---The kinds of handlers that have been declared without middleware.
  ---@type table<string, boolean>
  declared = {},
}

---The handler as it is to be called.
---@param kind "listen"|"js"|"http"
---@param fn function
---@return function
function M.handler(kind, fn)
  M.declared[kind] = true
  return fn
end

---The functions of a table that send, as they are to be called.
---@param t table
---@param name string  of the table, as scripts call it: "app", "app.js"
---@return table t
function M.sender(t, name) -- luacheck: no unused args
  return t
end

return M
