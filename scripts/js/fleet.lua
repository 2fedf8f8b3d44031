---Streams that the instances of all services share: whoever comes first makes them.
local core = require "lunats.core"
local api = require "lunats.js.api"
local errors = require "lunats.js.errors"

local M = {}

---Others may make it, or delete it, between two looks.
local ATTEMPTS, OVERLAP_DELAY = 4, 0.1

---The servers of a cluster that starts find each other by and by: seconds until fewer replicas
---are better than none, and between two attempts.
local PATIENCE, DELAY = 5, 0.25

local GATHERING = { [errors.NO_PEERS] = true, [errors.NOT_AVAILABLE] = true,
  [errors.INSUFFICIENT_RESOURCES] = true }

---@return boolean|nil made  by whomever, as far as is known
---@return table|nil err
local function create_with(config, replicas)
  config.num_replicas = replicas
  local info, err = api.raw("STREAM.CREATE." .. config.name,
    api.to_wire("app", "stream", config))
  if info or err.err_code == errors.STREAM_NAME_IN_USE then return true end
  if err.err_code == errors.SUBJECTS_OVERLAP then -- perhaps with those of this very stream
    core.sleep(OVERLAP_DELAY)
    return true, err
  end
  return nil, err
end

---With three replicas, or what the server can do: one server alone has none.
---@param what string  for the log
---@return boolean|nil made, table|nil err
local function create(what, config)
  local ends = core.hrtime() + PATIENCE
  local made, err = create_with(config, 3)
  while not made and GATHERING[err.err_code] and core.hrtime() < ends do
    core.sleep(DELAY)
    made, err = create_with(config, 3)
  end
  if made or err.code ~= "jetstream" then return made, err end
  if err.err_code == errors.NO_PEERS then
    core.log(2, ("%s: the stream %s is made with one replica: fewer than three servers of the "
      .. "cluster can have it. When they can: nats stream update %s --replicas 3"):format(what,
      config.name, config.name))
  end
  return create_with(config, 1)
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
    made, err = create(what, config)
    if not made then break end
  end
  return nil, explain(what, config, err)
end

return M
