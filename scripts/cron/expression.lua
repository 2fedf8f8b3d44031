---Expressions of cron: "0 3 * * *", or with seconds first "*/10 * * * * *". What they mean for
---one moment after the other is in lunats.cron.schedule. It knows nothing of `app`.
local M = {}

local function names(words, first)
  local values = {}
  for i, word in ipairs(words) do values[word] = i + first - 1 end
  return values
end

---@class cron.field
---@field name string
---@field key string  of the schedule
---@field least integer
---@field most integer
---@field names table<string, integer>|nil
---@field free boolean|nil  "?" is allowed for "*"
local FIELDS = {
  { name = "second", key = "second", least = 0, most = 59 },
  { name = "minute", key = "minute", least = 0, most = 59 },
  { name = "hour", key = "hour", least = 0, most = 23 },
  { name = "day of the month", key = "day", least = 1, most = 31, free = true },
  { name = "month", key = "month", least = 1, most = 12,
    names = names({ "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV",
      "DEC" }, 1) },
  { name = "day of the week", key = "weekday", least = 0, most = 7, free = true,
    names = names({ "SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT" }, 0) },
}

local ALIASES = {
  ["@yearly"] = "0 0 1 1 *", ["@annually"] = "0 0 1 1 *", ["@monthly"] = "0 0 1 * *",
  ["@weekly"] = "0 0 * * 0", ["@daily"] = "0 0 * * *", ["@midnight"] = "0 0 * * *",
  ["@hourly"] = "0 * * * *",
}

---What other programs have and this one has not, by a pattern that finds it.
local FOREIGN = {
  { "^[Ll]$", "'L' is not known here: let it run on 28-31, and look at the date" },
  { "^%d*[LlWw]", "'L' and 'W' are not known here" },
  { "#", "'#' is not known here: let it run on 1-7, 8-14, ..., and look at the weekday" },
  { "^H", "'H' is not known here" },
}

-- ---- errors ------------------------------------------------------------------------

---@param field cron.field
---@param at integer  the character of the expression
local function fail(field, at, text, ...)
  error({ message = ("%s, at character %d: %s"):format(field.name, at, text:format(...)) }, 0)
end

---@param text string  of an item that is wrong
local function explain(field, at, text)
  for _, one in ipairs(FOREIGN) do
    if text:find(one[1]) then fail(field, at, "%s", one[2]) end
  end
  fail(field, at, "'%s' is not a number from %d to %d%s", text, field.least, field.most,
    field.names and ", nor a name like " .. (field.key == "month" and "JAN" or "MON") or "")
end

-- ---- one field ---------------------------------------------------------------------

local function value_of(field, at, text)
  local value = text:find "^%d%d?$" and tonumber(text)
    or field.names and field.names[text:upper()]
  if value and value >= field.least and value <= field.most then return value end
  return explain(field, at, text)
end

---@return integer first, integer last
local function range_of(field, at, text)
  if text == "*" or text == "?" and field.free then
    return field.least, field.key == "weekday" and 6 or field.most
  end
  local first, last = text:match "^([^-]+)%-([^-]+)$"
  if not first then
    local value = value_of(field, at, text)
    return value, value
  end
  local from, to = value_of(field, at, first), value_of(field, at + #first + 1, last)
  if field.key == "weekday" and from > 0 and to == 0 then to = 7 end -- FRI-SUN
  if from > to then
    fail(field, at, "the range '%s' runs backwards: write it as two, with a comma", text)
  end
  return from, to
end

---@return integer
local function step_of(field, at, text, range)
  if not text then return 1 end
  local step = text:find "^%d+$" and tonumber(text)
  local most = field.most - (field.key == "weekday" and 0 or field.least - 1)
  if not step or step < 1 or step > most then
    fail(field, at, "the step '%s' is not a number from 1 to %d", text, most)
  end
  if not range:find "[*?-]" then
    fail(field, at, "a step goes with '*' or a range: '%s-%d/%s'", range, field.most, text)
  end
  return step
end

---@param into table<integer, true>
local function add_item(field, at, item, into)
  local range, step = item:match "^([^/]*)/(.*)$"
  range = range or item
  if range == "" then fail(field, at, "nothing stands between the commas, or before '/'") end
  local by = step_of(field, at + #range + 1, step, range)
  local first, last = range_of(field, at, range)
  for value = first, last, by do
    into[field.key == "weekday" and value % 7 or value] = true
  end
end

---@param text string
---@param at integer  where it begins in the expression
---@return table<integer, true>
local function parse_field(field, text, at)
  local set, from = {}, 1
  while true do
    local comma = text:find(",", from, true)
    add_item(field, at + from - 1, text:sub(from, (comma or 0) - 1), set)
    if not comma then return set end
    from = comma + 1
  end
end

-- ---- all of them -------------------------------------------------------------------

local function sorted(set)
  local list = {}
  for value in pairs(set) do list[#list + 1] = value end
  table.sort(list)
  return list
end

---One moment of the day, which is said without "*" and "/".
local function is_one(text, list) return #list == 1 and not text:find "[*/?]" end

local DAYS = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

---The 30th of February never comes.
local function check_days(fields, day, month, any_weekday)
  if not any_weekday then return end
  for m in pairs(month) do
    for d in pairs(day) do
      if d <= DAYS[m] then return end
    end
  end
  fail(FIELDS[4], fields[4].at, "'%s' does not exist in month '%s'", fields[4].text,
    fields[5].text)
end

---@class cron.expression
---@field second integer[]
---@field minute integer[]
---@field hour integer[]
---@field day table<integer, true>
---@field month table<integer, true>
---@field weekday table<integer, true>  0: Sunday
---@field any_day boolean
---@field any_weekday boolean
---@field fixed boolean  at one time of the day

---@param text string
---@return { text: string, at: integer }[]
local function split(text)
  local fields = {}
  for at, word in text:gmatch "()(%S+)" do fields[#fields + 1] = { text = word, at = at } end
  if #fields == 5 then table.insert(fields, 1, { text = "0", at = 1 }) end
  if #fields ~= 6 then
    error({ message = ("%d fields; five are needed (minute, hour, day of the month, month, day "
      .. "of the week), or six with the second first"):format(#fields) }, 0)
  end
  return fields
end

local function parse(text)
  local word = text:match "^%s*(@.-)%s*$"
  if word and not ALIASES[word] then
    error({ message = ("'%s' is not known: @hourly, @daily, @weekly, @monthly, @yearly are%s")
      :format(word, word:find "^@every" and "; for intervals there is app.timer(seconds, "
      .. "{ singleton = true }, fn)" or "") }, 0)
  end
  local fields, sets = split(word and ALIASES[word] or text), {}
  for i, field in ipairs(FIELDS) do
    sets[field.key] = parse_field(field, fields[i].text, fields[i].at)
  end
  local function any(i) return fields[i].text == "*" or fields[i].text == "?" end
  check_days(fields, sets.day, sets.month, any(6))
  local made = { second = sorted(sets.second), minute = sorted(sets.minute),
    hour = sorted(sets.hour), day = sets.day, month = sets.month, weekday = sets.weekday,
    any_day = any(4), any_weekday = any(6) }
  made.fixed = is_one(fields[1].text, made.second) and is_one(fields[2].text, made.minute)
    and is_one(fields[3].text, made.hour)
  return made
end

---@param text string
---@return cron.expression|nil
---@return string|nil why  names the field and the place
function M.parse(text)
  local ok, made = pcall(parse, text)
  if ok then return made end
  if type(made) ~= "table" then error(made, 0) end
  return nil, made.message
end

return M
