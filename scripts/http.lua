---app.http. What is behind a name is loaded when it is first used.
local core = require "lunats.core"

local LAZY = {
  get = "lunats.http.serve", post = "lunats.http.serve", put = "lunats.http.serve",
  patch = "lunats.http.serve", delete = "lunats.http.serve", any = "lunats.http.serve",
  events = "lunats.http.serve", files = "lunats.http.serve", response = "lunats.http.serve",
  request = "lunats.http.client",
}

local M = {}

return setmetatable(M, {
  __index = function(_, name)
    local module = LAZY[name]
    if module then
      local value = require(module)
      if type(value) == "table" then value = value[name] end
      rawset(M, name, value)
      return value
    end
    if type(name) == "string" then core.missed(name, "app.http", M, LAZY) end
  end,
})
