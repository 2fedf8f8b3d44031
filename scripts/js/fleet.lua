---Streams that the instances of all services share: whoever comes first makes them.
local core = require "lunats.core"
local api = require "lunats.js.api"
local errors = require "lunats.js.errors"

local M = {}

---Others may make it, or delete it, between two looks.
local ATTEMPTS, OVERLAP_DELAY = 4, 0.1

---What is tried, the first that the server can do: one server alone has no replicas.
local REPLICAS = { 3, 1 }

---@return boolean|nil made  by whomever, as far as is known
---@return table|nil err
local function create(config)
  local err
  for _, replicas in ipairs(REPLICAS) do
    config.num_replicas = replicas
    local info
    info, err = api.raw("STREAM.CREATE." .. config.name, api.to_wire("app", "stream", config))
    if info or err.err_code == errors.STREAM_NAME_IN_USE then return true end
    if err.err_code == errors.SUBJECTS_OVERLAP then -- perhaps with those of this very stream
      core.sleep(OVERLAP_DELAY)
      return true, err
    end
    if err.code ~= "jetstream" then break end
  end
  return nil, err
end

---@param what string  who needs it, for errors: "app.cron"
local function explain(what, config, err)
  err.message = ("%s needs the stream %s, which it can neither find nor make: %s"):format(what,
    config.name, err.message)
  return err
end

---Finds the stream, or makes it.
---@param what string  who needs it, for errors: "app.cron"
---@param config table  of the stream
---@param fault fun(found: table): string|nil  why a stream that is there cannot serve
---@return boolean|nil ok, table|nil err
function M.ensure(what, config, fault)
  local err
  for _ = 1, ATTEMPTS do
    local info
    info, err = api.call("STREAM.INFO." .. config.name)
    if info then
      local why = fault(info.config)
      if not why then return true end
      return nil, api.failure("jetstream", "%s: the stream %s is there with other settings: "
        .. "%s. Change it with app.js.update_stream, or delete it while no instance runs",
        what, config.name, why)
    end
    if err.err_code ~= errors.STREAM_NOT_FOUND then break end
    local made
    made, err = create(config)
    if not made then break end
  end
  return nil, explain(what, config, err)
end

return M
