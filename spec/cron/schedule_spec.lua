-- When expressions are due, above all on days on which clocks are changed. spec/interop
-- compares many more with other programs.
local expressions = require "lunats.cron.expression"
local schedule = require "lunats.cron.schedule"
local zones = require "lunats.cron.zone"

local here = zones.open "Europe/Berlin" and it or pending -- a system without tzdata

---"2026-03-29T01:00:00" as Unix time, and back.
local function unix(text)
  local y, m, d, h, min, s = text:match "^(%d+)-(%d+)-(%d+)T(%d+):(%d+):?(%d*)$"
  return zones.days(tonumber(y), tonumber(m), tonumber(d)) * 86400 + h * 3600 + min * 60
    + (tonumber(s) or 0)
end

local function text_of(t) return (os.date("!%m-%dT%H:%M:%S", t):gsub(":00$", "")) end

---The next times, in UTC.
local function due(text, zone, after, count)
  local expression, t, list = assert(expressions.parse(text)), unix(after), {}
  for i = 1, count do
    t = schedule.next(expression, assert(zones.open(zone)), t)
    if not t then break end
    list[i] = text_of(t)
  end
  return list
end

describe("A schedule", function()
  it("is due after a moment, not at it", function()
    assert.same({ "01-02T03:00" }, due("0 3 * * *", "UTC", "2026-01-01T03:00", 1))
    assert.same({ "01-01T03:00" }, due("0 3 * * *", "UTC", "2026-01-01T02:59:59", 1))
    assert.same({ "01-01T00:00:10", "01-01T00:00:20" }, due("*/10 * * * * *", "UTC",
      "2026-01-01T00:00", 2))
  end)

  it("is due on days of the month or of the week, where both are said", function()
    assert.same({ "01-02T00:00", "01-09T00:00", "01-13T00:00", "01-16T00:00" },
      due("0 0 13 * FRI", "UTC", "2026-01-01T00:00", 4))
    assert.same({ "01-13T00:00", "02-13T00:00" }, due("0 0 13 * ?", "UTC", "2026-01-01T00:00",
      2))
  end)

  it("waits years for the 29th of February", function()
    local expression = assert(expressions.parse "0 0 29 2 *")
    assert.equal(unix "2028-02-29T00:00", schedule.next(expression, zones.utc(),
      unix "2026-01-01T00:00"))
    assert.equal(unix "2104-02-29T00:00", schedule.next(expression, zones.utc(),
      unix "2096-02-29T00:00"))
  end)

  here("is due at the time on the wall", function()
    assert.same({ "01-01T02:00", "01-02T02:00" }, due("0 3 * * *", "Europe/Berlin",
      "2026-01-01T00:00", 2))
    assert.same({ "07-01T01:00" }, due("0 3 * * *", "Europe/Berlin", "2026-07-01T00:00", 1))
  end)

  -- In Berlin the 29th of March 2026 has no time from 02:00 to 03:00.
  here("at a time that is left out is due when clocks are put forward", function()
    assert.same({ "03-28T01:30", "03-29T01:00", "03-30T00:30" }, due("30 2 * * *",
      "Europe/Berlin", "2026-03-28T00:00", 3))
  end)

  here("of several times is due at those that there are", function()
    assert.same({ "03-29T00:40", "03-29T01:00", "03-29T01:20" }, due("*/20 * * * *",
      "Europe/Berlin", "2026-03-29T00:20", 3))
    assert.same({ "03-30T00:00" }, due("*/20 2 * * *", "Europe/Berlin", "2026-03-29T00:00", 1))
  end)

  -- The 25th of October 2026 has the hour from 02:00 to 03:00 twice.
  here("at a time that comes twice is due once, the first time", function()
    assert.same({ "10-24T00:30", "10-25T00:30", "10-26T01:30" }, due("30 2 * * *",
      "Europe/Berlin", "2026-10-24T00:00", 3))
    assert.same({ "10-26T01:30" }, due("30 2 * * *", "Europe/Berlin", "2026-10-25T01:00", 1))
  end)

  here("of several times is due in both hours", function()
    assert.same({ "10-25T00:00", "10-25T00:30", "10-25T01:00", "10-25T01:30", "10-25T02:00" },
      due("*/30 * * * *", "Europe/Berlin", "2026-10-24T23:30", 5))
    assert.same({ "10-25T00:59:59", "10-25T01:00", "10-25T01:00:01" }, due("* * * * * *",
      "Europe/Berlin", "2026-10-25T00:59:58", 3))
  end)

  -- Samoa had no 30th of December 2011.
  here("is not due on a day that does not come", function()
    assert.same({ "12-29T22:00", "12-30T22:00" }, due("0 12 * * *", "Pacific/Apia",
      "2011-12-29T00:00", 2))
  end)
end)
