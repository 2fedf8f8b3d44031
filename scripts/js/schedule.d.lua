---@meta lunats.js.schedule

---@class js
local js = {}

---@class js.schedule_opts
---@field at number|string|nil Unix time, or RFC3339: once
---@field every number|nil seconds, 1 or more; servers from 2.14 on, as all that follows but ttl
---@field cron string|nil six fields, seconds first; or "@hourly", "@daily", ...
---@field time_zone string|nil of `cron`: "Europe/Berlin"; default UTC
---@field target string subject of the same stream that gets the message
---@field source string|nil subject of the same stream: its last message is published, not the schedule's own
---@field ttl number|string|nil of the published message: seconds, or "never"; needs `allow_msg_ttl`
---@field rollup "sub"|nil the published message takes the place of all earlier ones of its subject
---@field headers table<string, string|number|string[]>|nil
---@field timeout number|nil seconds, default 5

---Stores a schedule under its subject, in the place of the one that was there: the server
---publishes the message to `target` at its time. The stream needs `allow_msg_schedules`, the server
---is 2.12 or newer, else `unsupported`. To give it up, purge its subject.
---@param subject string of the schedule
---@param message any
---@param opts js.schedule_opts
---@return js.pub_ack|nil ack
---@return js.err|nil err
function js.schedule(subject, message, opts) end
