---The names that `app` and the tables in it have: for `lunats check`.
local M = {}

---Made when first used, or by the metatable.
local LATE = { app = { "js", "crypto", "health", "metrics", "cache", "http", "tcp",
  "thread" },
  ["app.nats"] = { "connected_url", "client_id", "max_payload" } }

---The names of a table of ours, those included that are loaded when first used.
local function names_of(path, t)
  local set = {}
  local function add(from)
    for name in pairs(from) do
      if type(name) == "string" then set[name] = true end
    end
  end
  add(t)
  for _, name in ipairs(LATE[path] or {}) do set[name] = true end
  local index = (getmetatable(t) or {}).__index
  for i = 1, type(index) == "function" and debug.getinfo(index, "u").nups or 0 do
    local label, value = debug.getupvalue(index, i)
    if label:lower() == "lazy" then add(value) end
  end
  return set
end

---The tables whose names are known: "app", "app.js", ... but not app.state, which is the
---script's.
---@param app table
---@return table<string, table<string, true>>
function M.tables(app)
  local tables = { app = names_of("app", app) }
  for name in pairs(tables.app) do
    local late = name == "js" or name == "crypto" or name == "metrics"
      or name == "http" or name == "thread"
    local value = late and app[name] or rawget(app, name)
    local path = "app." .. name
    if type(value) == "table" and name ~= "state" then tables[path] = names_of(path, value) end
  end
  return tables
end

return M
