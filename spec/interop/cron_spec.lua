-- Schedules made at random, many of them around days on which clocks are changed: croner and
-- cron-parser, which ./dev test installs where there is npm, say when they are due.
local expressions = require "lunats.cron.expression"
local json = require "lunats.json"
local lfs = require "lfs"
local process = require "spec.support.process"
local schedule = require "lunats.cron.schedule"
local zones = require "lunats.cron.zone"

local NPM = lfs.currentdir() .. "/build/interop/npm"
local has_npm = lfs.attributes(NPM .. "/node_modules/croner", "mode") ~= nil
local has_zones = zones.open "Europe/Berlin" ~= nil
local test = has_npm and has_zones and it or pending

local SCHEDULES, COUNT = 1000, 6

local ZONES = { "UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo",
  "America/St_Johns", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Cairo", "Pacific/Apia",
  "America/Santiago", "Europe/Dublin", "Africa/Casablanca", "Pacific/Chatham", "Asia/Tehran" }

after_each(process.close_all)

local random = math.random
local function one_of(list) return list[random(#list)] end

local function number(least, most) return random(least, most) end

---@param every integer  of how many a field is "*"
local function field(least, most, every)
  local kind = random(every + 4)
  if kind <= every then return "*" end
  if kind == every + 1 then return ("*/%d"):format(random(1, (most - least) // 2 + 1)) end
  if kind == every + 2 then
    local first = number(least, most)
    local range = ("%d-%d"):format(first, number(first, most))
    return random(2) == 1 and range or range .. "/" .. random(1, 5)
  end
  local list = {}
  for i = 1, random(2) == 1 and 1 or random(3) do list[i] = tostring(number(least, most)) end
  return table.concat(list, ",")
end

local function some_expression()
  local kind = random(10)
  if kind == 1 then return one_of { "@hourly", "@daily", "@weekly", "@monthly" } end
  if kind <= 4 then -- at one time of the day, in the hours in which clocks are changed
    return ("%d %d * * %s"):format(one_of { 0, 15, 30, 59 }, random(0, 4),
      one_of { "*", "*", "MON-FRI", "0", "7" })
  end
  local text = ("%s %s %s %s %s"):format(field(0, 59, 1), random(2) == 1 and field(0, 23, 2)
    or field(0, 4, 1), field(1, 28, 12), field(1, 12, 16), field(0, 6, 10))
  return random(3) == 1 and field(0, 59, 1) .. " " .. text or text
end

---A day before a change of the clocks, or any moment.
local function some_moment(zone)
  local t = random(1420070400, 2050000000) -- 2015 to 2034
  local change = zone:period(t).till
  if change == math.huge or change > 2050000000 or random(4) == 1 then return t end
  return change - random(1, 86400)
end

local function ours(one)
  local list, t = {}, one.from
  local expression = assert(expressions.parse(one.expression))
  for i = 1, one.count do
    t = schedule.next(expression, assert(zones.open(one.zone)), t)
    if not t then break end
    list[i] = t
  end
  return list
end

local function ask(all)
  local lines = {}
  for i, one in ipairs(all) do lines[i] = json.encode(one) end
  local run = process.spawn { "node", "spec/interop/cron.cjs", NPM,
    process.write("schedules", table.concat(lines, "\n")) }
  assert.equal(0, (run:wait(120)))
  local answers = {}
  for line in run:output():gmatch "[^\n]+" do answers[#answers + 1] = json.decode(line) end
  assert.equal(#all, #answers)
  return answers
end

test("schedules are due when croner says, also where clocks are changed", function()
  local seed = os.time()
  math.randomseed(seed)
  local all, changes = {}, 0
  for i = 1, SCHEDULES do
    local zone = assert(zones.open(one_of(ZONES)))
    all[i] = { expression = some_expression(), zone = zone.name, from = some_moment(zone),
      count = COUNT }
  end
  for i, theirs in ipairs(ask(all)) do
    local mine = ours(all[i])
    assert.same(theirs.croner, mine, ("seed %d: %s"):format(seed, json.encode(all[i])))
    if zones.open(all[i].zone):period(all[i].from).till < (mine[#mine] or 0) then
      changes = changes + 1
    end
  end
  assert.is_true(changes > SCHEDULES / 4)
end)

-- Of schedules that are due several times in such an hour, how often they are on that day.
local DIFFERENT = {
  -- cron-parser leaves out the second of two hours that are the same on the wall.
  { expression = "*/20 2 * * *", from = 1792886399, ours = 6, parser = 3 },
  -- It runs one hour later what would have been due in an hour that is left out.
  { expression = "*/20 2 * * *", from = 1774738800, ours = 0, parser = 3 },
}

test("cron-parser has another rule for hours that come twice, or not at all", function()
  for _, one in ipairs(DIFFERENT) do
    one.zone, one.count, one.both = "Europe/Berlin", 8, true
  end
  for i, theirs in ipairs(ask(DIFFERENT)) do
    local one = DIFFERENT[i]
    local function on_the_day(list)
      local count = 0
      for _, t in ipairs(list) do
        if t < one.from + 86400 then count = count + 1 end
      end
      return count
    end
    assert.same({ one.ours, one.ours, one.parser },
      { on_the_day(ours(one)), on_the_day(theirs.croner), on_the_day(theirs.parser) })
  end
end)
