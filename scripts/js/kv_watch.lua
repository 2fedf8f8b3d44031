---Reading many entries of a key-value bucket: all that are there, or each change.
local core = require "lunats.core"
local check = require "lunats.check"
local api = require "lunats.js.api"
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

---The subjects of a filter, or of several; a wrong one is an error of the caller `level` steps
---up.
---@param filter string|string[]
---@return string|string[]|nil subjects, table|nil err
local function subjects_of(kv, what, filter, level)
  level = level + 1
  if type(filter) ~= "table" then
    return kv.prefix .. entries.check_filter(filter, what, level)
  end
  if #filter == 0 then error(what .. ": a list without filters", level + 1) end
  local subjects = {}
  for i, one in ipairs(filter) do
    subjects[i] = kv.prefix .. entries.check_filter(one, what, level)
  end
  -- Servers that know several filters name the compression of each stream.
  if #subjects > 1 and kv.config.compression == nil then
    return core.fail(api.unsupported "filter_subjects")
  end
  return subjects
end

---Calls fn for each entry that is there now.
---@param kv kv
---@param filter string|string[]|nil a key, or a pattern, or several
---@return boolean|nil ok, table|nil err
function M.collect(kv, what, filter, opts, fn)
  local subjects, err = subjects_of(kv, what, filter or ">", 2)
  if not subjects then return nil, err end
  return watching.collect({ stream = kv.stream, filter = subjects,
    config = consumer_config(opts) }, function(msg)
    fn(entries.from_msg(kv, msg, opts.meta_only))
  end)
end

local OPTIONS = { include_history = "boolean", updates_only = "boolean", meta_only = "boolean",
  ignore_deletes = "boolean", resume_from = "number", on_initial = "function",
  on_error = "function" }

local function is_filter(key)
  return type(key) == "string" or type(key) == "table" and #key > 0
end

---key, opts and fn of a call; the first two are optional.
local function arguments(...)
  local key, opts, fn = ...
  local count = select("#", ...)
  if count == 1 then
    key, fn = nil, key
  elseif count == 2 and not is_filter(key) then
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
  local subjects, err = subjects_of(self, "kv:watch", key, 1)
  opts = core.check("kv:watch", opts, OPTIONS)
  check.fn("kv:watch", fn)
  if opts.updates_only and (opts.include_history or opts.resume_from) then
    error("kv:watch: updates_only leaves out what include_history and resume_from ask for", 2)
  end
  local from = opts.resume_from
  if from and (math.type(from) ~= "integer" or from < 1) then
    error("kv:watch: resume_from must be a revision", 2)
  end
  if not subjects then return nil, err end
  return watching.open {
    stream = self.stream, filter = subjects, config = consumer_config(opts),
    on_initial = opts.on_initial, on_error = opts.on_error,
    on_message = function(msg)
      local entry = entries.from_msg(self, msg, opts.meta_only)
      if entry.operation == "PUT" or not opts.ignore_deletes then fn(entry) end
    end,
  }
end

return M
