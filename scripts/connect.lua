---app.connect: a second connection.
local core = require "lunats.core"
local check = require "lunats.check"
local connection = require "lunats.connection"
local modules = require "lunats.js.modules"

local OPTIONS = {
  server = "string|table", name = "string", user = "string", password = "string",
  token = "string", creds = "string", nkey = "string", tls_ca = "string", tls_cert = "string",
  tls_key = "string", tls_name = "string", tls_first = "boolean", inbox_prefix = "string",
  connect_timeout = "number", ping_interval = "number", max_control_line = "number",
  js_domain = "string", js_prefix = "string", retry = "boolean", timeout = "number",
}

---The URLs in a string with commas, as on the command line, or in a list.
local function servers_of(server)
  local list = {}
  for _, one in ipairs(type(server) == "table" and server or { server }) do
    if type(one) ~= "string" then
      error("app.connect: server must be a URL, or a list of URLs", 4)
    end
    for part in one:gmatch "[^,]+" do
      local first = part:match "^%s*()"
      for at, url in part:gmatch "()(%S+)" do
        if at > first and url:find("@", 1, true) and not url:find("://", 1, true) then
          error("app.connect: a blank in user, password or token of a server: write %20 "
            .. "(between servers there is a comma)", 4)
        end
        list[#list + 1] = url
      end
    end
  end
  if #list == 0 then error("app.connect: no server: give { server = URL }", 4) end
  return list
end

---What core.connect() wants of it.
local function settings(opts)
  local own = { servers = servers_of(opts.server) }
  for name in pairs(OPTIONS) do own[name] = opts[name] end
  own.server, own.js_domain = nil, nil -- which core does not know
  if opts.js_domain then
    if opts.js_prefix then
      error("app.connect: js_domain and js_prefix exclude each other", 3)
    end
    own.js_prefix = ("$JS.%s.API"):format(opts.js_domain)
  end
  if own.js_prefix and not pcall(core.check_subject, own.js_prefix) then
    error(("app.connect: '%s' is no place for the JetStream API"):format(own.js_prefix), 3)
  end
  if opts.retry and opts.timeout then
    error("app.connect: no 'timeout' with 'retry', which waits for nothing", 3)
  end
  for _, name in ipairs { "timeout", "connect_timeout", "ping_interval" } do
    check.seconds("app.connect", name, opts[name])
  end
  for _, name in ipairs { "creds", "nkey", "tls_ca", "tls_cert", "tls_key" } do
    local refused = core.unreadable and own[name] and core.unreadable(own[name])
    if refused then error(("app.connect: %s: %s"):format(name, refused), 3) end
  end
  -- What the log calls it must not show a secret.
  own.label = opts.name or core.url_shown(own.servers[1])
  return own
end

---@class connection
---@field name string
---@field js js

---What a connection is besides what connection.add() gives it.
---@param bound table core for it
local function meta_of(bound)
  return {
    __name = "connection",
    __close = function(self) self.close() end,
    __tostring = function(self)
      return ("connection %s (%s)"):format(self.name, bound.nats_status())
    end,
    __index = function(self, key)
      if key ~= "js" then return nil end
      local js = modules.loader({ ["lunats.core"] = bound }, require) "lunats.js"
      rawset(self, "js", js)
      return js
    end,
  }
end

---@return connection|nil other, table|nil err
return function(opts)
  check.table("app.connect", opts)
  opts = settings(core.check("app.connect", opts, OPTIONS))
  local bound, err = core.connect(opts)
  if not bound then return nil, err end
  setmetatable(bound, { __index = core })
  connection.all[bound] = opts.label
  core.after_start(function()
    if bound.handle:begin() then bound.flush() end -- fails where it is away: no harm
  end)
  local other = { name = opts.label, close = function() bound.handle:close() end }
  return setmetatable(connection.add(other, bound), meta_of(bound))
end
