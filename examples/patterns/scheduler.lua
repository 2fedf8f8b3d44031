-- A scheduler: a report is made each night at three, by one of all instances.
--
--     REPORT_AT='*/5 * * * * *' lunats dev examples/patterns/scheduler.lua
--     export NATS_URL=nats://lunats:...       # in a second terminal: the URL that dev prints
--     lunats pub sales.done '{"cents": 900}'
--     lunats request reports.next                          # {"due": "2026-11-27T03:00:00Z"}
--     lunats request reports.get '{"day": "2026-11-27"}'   # {"sales": 1, ...}
--
-- What goes wrong: no instance runs at three (`catch_up`: the report is made within six hours);
-- the report fails (again after 1, 10 and 60 s, then the tick goes to reports.failed, and the
-- log has an error); the instance dies at work (another one makes it); it dies after the report
-- was stored (the report of a day takes the place of the one before, so twice is once).
app.config { name = "scheduler", version = "1.0.0" }

app.on_start(function()
  assert(app.js.ensure_stream { name = "SALES", subjects = { "sales.done" } })
  assert(app.js.ensure_stream { name = "REPORTS", max_msgs_per_subject = 1,
    subjects = { "reports.made.*", "reports.failed" } })
end)

-- With `zone = "Europe/Berlin"` it is three o'clock there; without, in UTC.
local job = app.cron(os.getenv "REPORT_AT" or "0 3 * * *", {
  name = "report", catch_up = 6 * 3600,
  max_deliver = 4, backoff = { 1, 10, 60 }, dead_letter = "reports.failed",
}, function(tick)
  local info, err = app.js.stream_info "SALES"
  if not info then return nil, err end -- the tick comes again
  local day = os.date("!%Y-%m-%d", math.floor(tick.time))
  local report = { day = day, sales = info.state.messages, attempt = tick.attempt }
  local ack
  ack, err = app.js.publish("reports.made." .. day, report)
  if not ack then return nil, err end
  app.log.info("the report is made", report)
end)

app.listen("reports.next", function()
  return { due = os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(job:next())) }
end)

app.listen("reports.get", function(msg)
  local day = type(msg.data) == "table" and msg.data.day
  if type(day) ~= "string" or not day:find "^%d%d%d%d%-%d%d%-%d%d$" then
    return nil, { code = 400, message = "day must be a date, as 2026-11-27" }
  end
  local report, err = app.js.get_msg("REPORTS", { last_by_subject = "reports.made." .. day })
  if report then return report.data end
  if err.code ~= "not_found" then return nil, err end
  return nil, { code = 404, message = "no report of " .. day }
end)
