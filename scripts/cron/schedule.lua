---When an expression of cron is due in a time zone. It knows nothing of `app`.
---
---A moment is due when the clock on the wall shows it: what is due every hour, or every minute,
---is due in each hour that there is, also in the one that comes twice when clocks are put back.
---What is due at one time of the day is due once on each day: at its first time where it comes
---twice, and where it does not come, because clocks are put forward over it, at the moment when
---they are.
local zones = require "lunats.cron.zone"

local M = {}

local DAY = 86400

---Further than this nothing is looked for: the 29th of February may be eight years away.
local MOST_DAYS = 9 * 366

---@param expression cron.expression
local function is_due_on(expression, day, month, weekday)
  if not expression.month[month] then return false end
  local by_day, by_weekday = expression.day[day], expression.weekday[weekday]
  if expression.any_day or expression.any_weekday then return by_day and by_weekday end
  return by_day or by_weekday
end

---The first time of a day that is due, from `least` seconds on.
local function time_of(expression, least)
  for _, hour in ipairs(expression.hour) do
    if hour * 3600 + 3599 >= least then
      for _, minute in ipairs(expression.minute) do
        local base = hour * 3600 + minute * 60
        if base + 59 >= least then
          for _, second in ipairs(expression.second) do
            if base + second >= least then return base + second end
          end
        end
      end
    end
  end
end

---The first time on the wall that is due, from `wall` on, in seconds as if it was UTC.
---@param last number  what comes on days after that one is not wanted
local function next_wall(expression, wall, last)
  local least = wall % DAY
  for day = wall // DAY, last // DAY do
    local _, month, number = zones.date(day)
    if is_due_on(expression, number, month, (day + 4) % 7) then
      local time = time_of(expression, least)
      if time then return day * DAY + time end
    end
    least = 0
  end
end

---Whether the clock has shown it before, in the period before this one.
local function comes_again(zone, period, wall)
  if period.from == -math.huge then return false end
  return wall < period.from + zone:period(period.from - 1).offset
end

---A time over which clocks are put at the end of a period, on the day on which they are put.
local function is_left_out(zone, period, wall)
  if period.till == math.huge then return false end
  local after = period.till + zone:period(period.till).offset
  return wall >= period.till + period.offset and wall < after and wall // DAY == after // DAY
end

---The first moment after `after` that is due.
---@param expression cron.expression
---@param zone cron.zone
---@param after integer  Unix time
---@return integer|nil time  nil: there is none for years
function M.next(expression, zone, after)
  local t, most = after + 1, after + MOST_DAYS * DAY
  while t < most do
    local period = zone:period(t)
    local last = math.min(period.till, most) + DAY + period.offset
    local wall = next_wall(expression, t + period.offset, last)
    while wall and expression.fixed and comes_again(zone, period, wall) do
      wall = next_wall(expression, wall + 1, last)
    end
    if wall and wall - period.offset < period.till then return wall - period.offset end
    if period.till == math.huge then return nil end
    if wall and expression.fixed and is_left_out(zone, period, wall) then return period.till end
    t = period.till
  end
end

return M
