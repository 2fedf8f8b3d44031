-- Expressions of cron: what they stand for, and what is said of those that are wrong.
local expressions = require "lunats.cron.expression"

local function values(set)
  local list = {}
  for value in pairs(set) do list[#list + 1] = value end
  table.sort(list)
  return list
end

local function parse(text) return assert(expressions.parse(text)) end

describe("An expression of cron", function()
  it("has five fields, or six with the second first", function()
    assert.same({ { 0 }, { 30 }, { 3 } }, { parse("30 3 * * *").second,
      parse("30 3 * * *").minute, parse("30 3 * * *").hour })
    assert.same({ { 15 }, { 30 } }, { parse("15 30 3 * * *").second,
      parse("15 30 3 * * *").minute })
    assert.same({ 3 }, parse("  30   3 * * *\t").hour)
  end)

  it("knows ranges, steps and lists", function()
    assert.same({ 0, 20, 40 }, parse("*/20 * * * *").minute)
    assert.same({ 5, 6, 7 }, parse("5-7 * * * *").minute)
    assert.same({ 5, 8, 11, 40 }, parse("40,5-12/3 * * * *").minute)
    assert.same({ 0 }, parse("*/60 * * * *").minute)
    assert.same({ 7 }, parse("07 * * * *").minute)
  end)

  it("knows names of months and days, in any case", function()
    assert.same({ 1, 2, 3, 12 }, values(parse("0 0 * jan-MAR,Dec *").month))
    assert.same({ 1, 2, 3, 4, 5 }, values(parse("0 0 * * MON-fri").weekday))
    assert.same({ 0, 5, 6 }, values(parse("0 0 * * FRI-SUN").weekday))
  end)

  it("has two numbers for Sunday", function()
    for _, text in ipairs { "0", "7", "SUN", "0-0", "0,7" } do
      assert.same({ 0 }, values(parse("0 0 * * " .. text).weekday), text)
    end
    assert.same({ 0, 5, 6 }, values(parse("0 0 * * 5-7").weekday))
    assert.same({ 0, 2, 4, 6 }, values(parse("0 0 * * */2").weekday))
  end)

  it("may be a word", function()
    for word, text in pairs { ["@hourly"] = "0 * * * *", ["@daily"] = "0 0 * * *",
      ["@midnight"] = "0 0 * * *", ["@weekly"] = "0 0 * * 0", ["@monthly"] = "0 0 1 * *",
      ["@yearly"] = "0 0 1 1 *", ["@annually"] = "0 0 1 1 *" } do
      assert.same(parse(text), parse(word))
    end
  end)

  it("is at one time of the day, or not", function()
    for text, fixed in pairs { ["30 2 * * *"] = true, ["5 30 2 * * MON"] = true,
      ["30-30 2 * * *"] = true, ["0,30 2 * * *"] = false, ["*/60 2 * * *"] = false,
      ["0 * * * *"] = false, ["* 0 2 * * *"] = false } do
      assert.equal(fixed, parse(text).fixed, text)
    end
  end)

  local WRONG = {
    ["61 * * * *"] = "minute, at character 1: '61' is not a number from 0 to 59",
    ["0 24 * * *"] = "hour, at character 3: '24' is not a number from 0 to 23",
    ["0 0 0 * *"] = "day of the month, at character 5: '0' is not a number from 1 to 31",
    ["0 0 1 FOO *"] = "month, at character 7: 'FOO' is not a number from 1 to 12, nor a name "
      .. "like JAN",
    ["0 0 * * 8"] = "day of the week, at character 9: '8' is not a number from 0 to 7, nor a "
      .. "name like MON",
    ["1,2,x * * * *"] = "minute, at character 5: 'x' is not a number from 0 to 59",
    ["1,,2 * * * *"] = "minute, at character 3: nothing stands between the commas, or before "
      .. "'/'",
    ["/5 * * * *"] = "minute, at character 1: nothing stands between the commas, or before '/'",
    ["50-10 * * * *"] = "minute, at character 1: the range '50-10' runs backwards: write it as "
      .. "two, with a comma",
    ["*/0 * * * *"] = "minute, at character 3: the step '0' is not a number from 1 to 60",
    ["*/x * * * *"] = "minute, at character 3: the step 'x' is not a number from 1 to 60",
    ["0 5/2 * * *"] = "hour, at character 5: a step goes with '*' or a range: '5-23/2'",
    ["? * * * *"] = "minute, at character 1: '?' is not a number from 0 to 59",
    ["0 0 L * *"] = "day of the month, at character 5: 'L' is not known here: let it run on "
      .. "28-31, and look at the date",
    ["0 0 15W * *"] = "day of the month, at character 5: 'L' and 'W' are not known here",
    ["0 0 * * 5L"] = "day of the week, at character 9: 'L' and 'W' are not known here",
    ["0 0 * * 1#2"] = "day of the week, at character 9: '#' is not known here: let it run on "
      .. "1-7, 8-14, ..., and look at the weekday",
    ["0 0 30,31 FEB *"] = "day of the month, at character 5: '30,31' does not exist in month "
      .. "'FEB'",
    ["* * * *"] = "4 fields; five are needed (minute, hour, day of the month, month, day of "
      .. "the week), or six with the second first",
    [""] = "0 fields; five are needed (minute, hour, day of the month, month, day of the "
      .. "week), or six with the second first",
    ["@reboot"] = "'@reboot' is not known: @hourly, @daily, @weekly, @monthly, @yearly are",
    ["@every 5s"] = "'@every 5s' is not known: @hourly, @daily, @weekly, @monthly, @yearly "
      .. "are; for intervals there is app.timer(seconds, { singleton = true }, fn)",
  }
  for text, why in pairs(WRONG) do
    it(("%q is wrong, and said where"):format(text), function()
      assert.same({ nil, why }, { expressions.parse(text) })
    end)
  end
end)
