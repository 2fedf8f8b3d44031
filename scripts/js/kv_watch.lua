---Reading many entries of a key-value bucket: all that are there, or each change.
local core = require "lunats.core"
local check = require "lunats.check"
local entries = require "lunats.js.kv_entry"
local watching = require "lunats.js.watch"

local M = {}

local function consumer_config(opts)
  local config = { deliver_policy = "last_per_subject", headers_only = opts.meta_only }
  if opts.include_history then config.deliver_policy = "all" end
  if opts.updates_only then config.deliver_policy = "new" end
  if opts.resume_from then
    config.deliver_policy, config.opt_start_seq = "by_start_sequence", opts.resume_from
  end
  return config
end

---Calls fn for each entry that is there now.
---@param kv kv
---@param filter string|nil a key, or a pattern
---@return boolean|nil ok, table|nil err
function M.collect(kv, what, filter, opts, fn)
  if filter ~= nil then entries.check_filter(filter, what, 2) end
  return watching.collect({ stream = kv.stream, filter = kv.prefix .. (filter or ">"),
    config = consumer_config(opts) }, function(msg)
    fn(entries.from_msg(kv, msg, opts.meta_only))
  end)
end

local OPTIONS = { include_history = "boolean", updates_only = "boolean", meta_only = "boolean",
  ignore_deletes = "boolean", resume_from = "number", on_initial = "function",
  on_error = "function" }

---key, opts and fn of a call; the first two are optional.
local function arguments(...)
  local key, opts, fn = ...
  local count = select("#", ...)
  if count == 1 then
    key, fn = nil, key
  elseif count == 2 and type(key) ~= "string" then
    key, opts, fn = nil, key, opts
  elseif count == 2 then
    opts, fn = nil, opts
  end
  return key or ">", opts, fn
end

---Calls fn for the entries that exist and then for each change, one after the other.
---@param self kv
---@return watch_handle|nil handle, table|nil err
function M.watch(self, ...)
  local key, opts, fn = arguments(...)
  entries.check_filter(key, "kv:watch")
  opts = core.check("kv:watch", opts, OPTIONS)
  check.fn("kv:watch", fn)
  if opts.updates_only and (opts.include_history or opts.resume_from) then
    error("kv:watch: updates_only leaves out what include_history and resume_from ask for", 2)
  end
  local from = opts.resume_from
  if from and (math.type(from) ~= "integer" or from < 1) then
    error("kv:watch: resume_from must be a revision", 2)
  end
  return watching.open {
    stream = self.stream, filter = self.prefix .. key, config = consumer_config(opts),
    on_initial = opts.on_initial, on_error = opts.on_error,
    on_message = function(msg)
      local entry = entries.from_msg(self, msg, opts.meta_only)
      if entry.operation == "PUT" or not opts.ignore_deletes then fn(entry) end
    end,
  }
end

return M
