---Options of specs that say how to connect, and what core.connect() makes of them.
local M = {}

---@type table<string, string> names and types
M.OPTIONS = {
  user = "string", password = "string", token = "string", creds = "string", nkey = "string",
  tls_ca = "string", tls_cert = "string", tls_key = "string", tls_name = "string",
  tls_first = "boolean", inbox_prefix = "string", connect_timeout = "number",
  ping_interval = "number", max_control_line = "number", js_prefix = "string",
  js_domain = "string",
}

---A wrong option is an error of the caller's caller.
---@param what string names the function in errors
---@param opts table with `server`
---@param default string|nil URL of the server without `server`
---@return table options of core.connect()
function M.of(what, opts, default)
  local server = opts.server or default
  if not server then error(what .. ": no server: give it broker.url", 3) end
  local servers = type(server) == "table" and { table.unpack(server) } or { server }
  local connect = { servers = servers }
  for name in pairs(M.OPTIONS) do connect[name] = opts[name] end
  if opts.js_domain then
    if opts.js_prefix then
      error(what .. ": js_domain and js_prefix exclude each other", 3)
    end
    connect.js_domain, connect.js_prefix = nil, ("$JS.%s.API"):format(opts.js_domain)
  end
  return connect
end

return M
