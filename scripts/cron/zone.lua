---Time zones from the files of the system (RFC 8536): which offset is in force when. It knows
---nothing of `app`.
local M = {}

---@class cron.period  a time in which the offset does not change
---@field offset integer  seconds to add to UTC
---@field from number  its first second; -math.huge: there is none before
---@field till number  the first one after it, math.huge: none

---@class cron.zone
---@field name string
local zone = {}
zone.__index = zone

-- ---- the rule for all years to come: a POSIX TZ --------------------------------------

local DAY = 86400

---Days since 1970-01-01.
local function days(year, month, day)
  if month <= 2 then year, month = year - 1, month + 12 end
  return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day
    - 719469
end
M.days = days

---@return integer year, integer month, integer day
function M.date(day)
  day = day + 719468
  local era = day // 146097
  local doe = day - era * 146097
  local yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
  local doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
  local mp = (5 * doy + 2) // 153
  local month = mp < 10 and mp + 3 or mp - 9
  return yoe + era * 400 + (month <= 2 and 1 or 0), month, doy - (153 * mp + 2) // 5 + 1
end

---"[+-]hh[:mm[:ss]]" as seconds, and what follows it.
local function read_time(text)
  local sign, hours, rest = text:match "^([+-]?)(%d+)(.*)$"
  if not hours then return nil, text end
  local seconds, unit = hours * 3600, 60
  while unit >= 1 do
    local part, tail = rest:match "^:(%d+)(.*)$"
    if not part then break end
    seconds, rest, unit = seconds + part * unit, tail, unit // 60
  end
  return sign == "-" and -seconds or seconds, rest
end

local function read_name(text)
  local rest = text:match "^<[^>]+>(.*)$" or text:match "^%a+(.*)$"
  return rest
end

---Second of the year, from its beginning on local time.
local function read_rule(text)
  local date, time = text:match "^([^/]+)/?(.*)$"
  local at = time ~= "" and read_time(time) or 7200
  local month, week, weekday = date:match "^M(%d+)%.(%d)%.(%d)$"
  if month then
    month, week, weekday = tonumber(month), tonumber(week), tonumber(weekday)
    return function(year)
      local first = days(year, month, 1)
      local day = first + (weekday - (first + 4)) % 7 + (week - 1) * 7
      local after = month == 12 and days(year + 1, 1, 1) or days(year, month + 1, 1)
      if day >= after then day = day - 7 end
      return day * DAY + at
    end
  end
  local julian, number = date:match "^(J?)(%d+)$"
  return function(year)
    local leap = days(year, 3, 1) - days(year, 2, 1) == 29
    local day = days(year, 1, 1) + number
    if julian == "J" and not (leap and tonumber(number) >= 60) then day = day - 1 end
    return day * DAY + at
  end
end

---@param text string  "CET-1CEST,M3.5.0,M10.5.0/3"
---@return table|nil rule
local function read_rules(text)
  local rest = read_name(text)
  if not rest then return nil end
  local west
  west, rest = read_time(rest)
  if not west then return nil end
  local rule = { standard = -west }
  rest = rest ~= "" and read_name(rest) or nil
  if not rest then return rule end
  local summer
  summer, rest = read_time(rest)
  rule.summer = summer and -summer or rule.standard + 3600
  local first, last = rest:match "^,([^,]+),([^,]+)$"
  rule.first, rule.last = read_rule(first or "M3.2.0"), read_rule(last or "M11.1.0")
  return rule
end

---The changes of offset of some years, in order: { at, offset after it }.
local function rule_changes(rule, first_year, last_year)
  local list = {}
  for year = first_year, last_year do
    list[#list + 1] = { at = rule.first(year) - rule.standard, offset = rule.summer }
    list[#list + 1] = { at = rule.last(year) - rule.summer, offset = rule.standard }
  end
  table.sort(list, function(a, b) return a.at < b.at end)
  return list
end

-- ---- the file ------------------------------------------------------------------------

local HEADER = ">c4 c1 c15 I4 I4 I4 I4 I4 I4"

---@return table header
local function read_header(text, at)
  local magic, version, _, isut, isstd, leap, times, types, chars, body =
    HEADER:unpack(text, at)
  if magic ~= "TZif" then error "TZif expected" end
  return { version = version, times = times, types = types, body = body,
    size = function(width)
      return times * (width + 1) + types * 6 + chars + leap * (width + 4) + isstd + isut
    end }
end

---@param width integer  bytes of a time
local function read_body(text, header, width)
  local made, at = { times = {}, offsets = {} }, header.body
  for i = 1, header.times do
    made.times[i], at = (">i" .. width):unpack(text, at)
  end
  local kinds = { text:byte(at, at + header.times - 1) }
  at = at + header.times
  local offsets = {}
  for i = 0, header.types - 1 do offsets[i] = (">i4"):unpack(text, at + i * 6) end
  for i, kind in ipairs(kinds) do made.offsets[i] = offsets[kind] end
  made.offsets[0] = offsets[0]
  return made
end

---@param text string  the bytes of a file
---@param name string
---@return cron.zone
function M.read(text, name)
  local header = read_header(text, 1)
  local made
  if header.version == "\0" then
    made = read_body(text, header, 4)
  else
    header = read_header(text, header.body + header.size(4))
    made = read_body(text, header, 8)
    local rules = text:sub(header.body + header.size(8)):match "^\n([^\n]*)\n"
    made.rule = rules and read_rules(rules)
  end
  made.name = name
  return setmetatable(made, zone)
end

---UTC needs no file.
function M.utc()
  return setmetatable({ name = "UTC", times = {}, offsets = { [0] = 0 } }, zone)
end

-- ---- periods ---------------------------------------------------------------------------

---What the rule says of a moment after all that the file lists.
---@param begins number  the last change of the file
local function by_rule(rule, t, begins, before)
  if not rule.summer then return { offset = rule.standard, from = begins, till = math.huge } end
  local year = M.date((t + rule.standard) // DAY)
  local list = rule_changes(rule, year - 1, year + 1)
  local found = { offset = before, from = begins, till = math.huge }
  for _, change in ipairs(list) do
    if change.at > t then
      found.till = change.at
      break
    end
    if change.at >= begins then found.from = change.at end
    found.offset = change.offset
  end
  return found
end

---The period that a moment is in.
---@param t integer  Unix time
---@return cron.period
function zone:period(t)
  local low, high = 0, #self.times
  while low < high do
    local middle = (low + high + 1) // 2
    if self.times[middle] <= t then low = middle else high = middle - 1 end
  end
  local from = self.times[low] or -math.huge
  if low == #self.times and self.rule then
    return by_rule(self.rule, t, from, self.offsets[low])
  end
  return { offset = self.offsets[low], from = from, till = self.times[low + 1] or math.huge }
end

-- ---- finding one -------------------------------------------------------------------------

---As the C library looks for it.
local FOLDERS = { "/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/etc/zoneinfo" }

local function is_name(name)
  return name:find "^[%w+_-][%w+_/-]*$" and not name:find "//"
end

---@param name string  "Europe/Berlin"
---@return cron.zone|nil
---@return string|nil why
function M.open(name)
  if name == "UTC" then return M.utc() end
  if not is_name(name) then
    return nil, ("'%s' is no name of a time zone, like \"Europe/Berlin\""):format(name)
  end
  local folder = os.getenv "TZDIR"
  local folders, some = folder and { folder } or FOLDERS, nil
  for _, path in ipairs(folders) do
    some = some or io.open(path .. "/UTC", "rb")
    local file = io.open(path .. "/" .. name, "rb")
    local text = file and file:read "a" -- a folder opens, and cannot be read
    if file then file:close() end
    if text then
      if some then some:close() end
      local ok, made = pcall(M.read, text, name)
      if ok then return made end
      return nil, ("%s/%s is no file of a time zone"):format(path, name)
    end
  end
  if some then
    some:close()
    return nil, ("the system knows no time zone '%s'"):format(name)
  end
  return nil, ("there are no time zones in %s: install the package tzdata, or leave the zone "
    .. "out (UTC)"):format(table.concat(folders, ", "))
end

return M
