---app.http: routes of a script, which `--http` serves.
local routes = require "lunats.http.routes"

local M = {
  response = routes.response,
  events = require "lunats.http.events",
  files = require "lunats.http.files",
}

for _, method in ipairs { "get", "post", "put", "patch", "delete", "any" } do
  local what = "app.http." .. method
  M[method] = function(path, opts, fn)
    if fn == nil then opts, fn = nil, opts end
    return (routes.declare(what, method == "any" and method or method:upper(), path, opts, fn))
  end
end

return M
