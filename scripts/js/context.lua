---JetStream of another domain, or of another account: the modules of app.js once more, with an
---API of their own.
local core = require "lunats.core"
local check = require "lunats.check"
local api = require "lunats.js.api"
local modules = require "lunats.js.modules"

local M = {}

local contexts = { [api.prefix] = require "lunats.js" }

local function make(prefix)
  local load = modules.loader({ ["lunats.js.context"] = M }, require)
  load "lunats.js.api".use_prefix(prefix)
  return load "lunats.js"
end

---@param opts { domain: string|nil, prefix: string|nil } one of them; prefix: of the API
---@return js
function M.context(opts)
  local what = "app.js.context"
  check.table(what, opts)
  opts = core.check(what, opts, { domain = "string", prefix = "string" })
  if (opts.domain == nil) == (opts.prefix == nil) then
    error(what .. ": either 'domain' or 'prefix'", 2)
  end
  if opts.domain then api.check_name(opts.domain, what .. ": domain") end
  local prefix = opts.prefix or ("$JS.%s.API"):format(opts.domain)
  if not pcall(core.check_subject, prefix) then
    error(("%s: invalid prefix '%s'"):format(what, prefix), 2)
  end
  contexts[prefix] = contexts[prefix] or make(prefix)
  return contexts[prefix]
end

return M
