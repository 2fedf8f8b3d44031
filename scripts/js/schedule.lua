---app.js.schedule(): messages that the server itself publishes later, or again and again, into
---the stream that keeps the schedule. Servers from 2.12 on.
local core = require "lunats.core"
local api = require "lunats.js.api"
local config = require "lunats.js.config"
local publishing = require "lunats.js.publish"

local M = {}

local OPTIONS = {
  at = "number|string", every = "number", cron = "string", target = "string",
  source = "string", ttl = "number|string", time_zone = "string", rollup = "string",
  headers = "table", timeout = "number",
}
local WHEN = { "at", "every", "cron" }
---What the first servers with schedules do not look at.
local NEWER = { "every", "cron", "source", "time_zone", "rollup" }

---When, in the server's words.
local function when(what, opts)
  local text
  for _, name in ipairs(WHEN) do
    if opts[name] ~= nil then
      if text then error(what .. ": one of 'at', 'every' and 'cron'", 3) end
      text = name
    end
  end
  if not text then error(what .. ": 'at', 'every' or 'cron' is needed", 3) end
  if opts.cron then return opts.cron end
  if opts.every then
    if not (opts.every >= 1 and opts.every < math.huge) then -- luacheck: ignore 581
      error(what .. ": every must be a number of seconds, 1 or more", 3)
    end
    return ("@every %.9gs"):format(opts.every)
  end
  local ok, time = pcall(config.rfc3339, opts.at, what .. ": at")
  if not ok then error(time, 3) end
  return "@at " .. time
end

local function check_subject(what, name, subject)
  if subject ~= nil and not pcall(core.check_subject, subject) then
    error(("%s: %s: invalid subject '%s'"):format(what, name, subject), 3)
  end
end

local function headers_of(what, opts)
  local headers = {}
  for name, value in next, opts.headers or {} do headers[name] = value end
  headers["Nats-Schedule"] = when(what, opts)
  headers["Nats-Schedule-Target"] = opts.target
  headers["Nats-Schedule-Source"] = opts.source
  headers["Nats-Schedule-Time-Zone"] = opts.time_zone
  headers["Nats-Schedule-Rollup"] = opts.rollup
  if opts.ttl then headers["Nats-Schedule-TTL"] = publishing.ttl_text(what, opts.ttl) end
  return headers
end

---Stores a schedule under its subject, in the place of the one that was there. At its time the
---message goes to `target`, another subject of the same stream.
---@param subject string
---@param message any
---@param opts table
---@return table|nil ack, table|nil err
function M.schedule(subject, message, opts)
  local what = "app.js.schedule"
  core.check_subject(subject)
  opts = core.check(what, opts, OPTIONS)
  if not opts.target then error(what .. ": 'target' is needed", 2) end
  check_subject(what, "target", opts.target)
  check_subject(what, "source", opts.source)
  if opts.rollup and opts.rollup ~= "sub" then error(what .. ": rollup must be \"sub\"", 2) end
  if opts.time_zone and not opts.cron then
    error(what .. ": 'time_zone' goes with 'cron' only", 2)
  end
  local request = { headers = headers_of(what, opts), timeout = opts.timeout }
  local ok, err = api.need_level(api.LEVEL_2_12, "schedules")
  if not ok then return nil, err end
  for _, name in ipairs(NEWER) do
    if opts[name] ~= nil then
      ok, err = api.need_level(api.LEVEL_2_14, ("'%s' of schedules"):format(name))
      if not ok then return nil, err end
    end
  end
  return publishing.publish(subject, message, request)
end

return M
