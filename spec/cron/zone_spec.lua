-- Time zones, from files of the system and from files that are made here.
local zones = require "lunats.cron.zone"

local BERLIN = zones.open "Europe/Berlin"
local here = BERLIN and it or pending -- a system without tzdata

---A file as RFC 8536 has it: { at, offset } of each change, and the rule for all that follows.
local function file(first, changes, rule)
  local kinds, times, types = { first }, {}, {}
  for _, change in ipairs(changes) do
    kinds[#kinds + 1] = change[2]
    times[#times + 1] = (">i8"):pack(change[1])
    types[#types + 1] = string.char(#kinds - 1)
  end
  local body = table.concat(times) .. table.concat(types)
  for _, offset in ipairs(kinds) do body = body .. (">i4BB"):pack(offset, 0, 0) end
  local function header(times_count, types_count)
    return "TZif2" .. ("\0"):rep(15)
      .. (">I4I4I4I4I4I4"):pack(0, 0, 0, times_count, types_count, 4)
  end
  return header(0, 1) .. (">i4BB"):pack(0, 0, 0) .. "LMT\0"
    .. header(#changes, #kinds) .. body .. "XXX\0" .. "\n" .. rule .. "\n"
end

local function offsets(zone, ...)
  local list = {}
  for i, t in ipairs { ... } do list[i] = zone:period(t).offset end
  return list
end

describe("A time zone", function()
  it("UTC needs no file", function()
    assert.same({ offset = 0, from = -math.huge, till = math.huge },
      zones.open("UTC"):period(1e9 // 1))
  end)

  it("has the offsets that its file lists", function()
    local zone = zones.read(file(100, { { 1000, 3600 }, { 2000, 7200 } }, ""), "x")
    assert.same({ 100, 3600, 3600, 7200, 7200 }, offsets(zone, 999, 1000, 1999, 2000, 1 << 40))
    assert.same({ offset = 3600, from = 1000, till = 2000 }, zone:period(1500))
    assert.same({ offset = 100, from = -math.huge, till = 1000 }, zone:period(0))
  end)

  it("follows the rule of its file afterwards", function()
    local zone = zones.read(file(0, { { 1000, 3600 } }, "CET-1CEST,M3.5.0,M10.5.0/3"), "x")
    assert.same({ offset = 7200, from = 1774746000, till = 1792890000 },
      zone:period(1780000000)) -- 2026-03-29 to 2026-10-25, 01:00 UTC
    assert.same({ offset = 3600, from = 1792890000, till = 1806195600 },
      zone:period(1800000000))
    assert.equal(3600, zone:period(2000).offset)
  end)

  it("knows rules of the south, of days that are counted, and of names in brackets", function()
    local sydney = zones.read(file(0, { { 1000, 36000 } }, "AEST-10AEDT,M10.1.0,M4.1.0/3"), "x")
    assert.same({ 39600, 36000 }, offsets(sydney, 1767225600, 1782864000)) -- January, July
    local counted = zones.read(file(0, { { 1000, 0 } }, "<+00>0<+01>,J60/0,300"), "x")
    -- Of 2024, a leap year: March the 1st, whatever February has; day 300 is October the 27th.
    assert.same({ 0, 3600, 3600, 0 }, offsets(counted, 1709251199, 1709251200, 1729990799,
      1729990800))
    local without = zones.read(file(0, { { 1000, -10800 } }, "<-03>3"), "x")
    assert.same({ -10800 }, offsets(without, 1780000000))
  end)

  here("is found by its name", function()
    assert.same({ 7200, 3600 }, offsets(BERLIN, 1780000000, 1800000000))
    assert.same({ 20700 }, offsets(assert(zones.open "Asia/Kathmandu"), 1780000000))
    assert.same({ 3600 }, offsets(assert(zones.open "Europe/Berlin"), 4102444800)) -- 2100
  end)

  here("that the system does not know is an error", function()
    assert.same({ nil, "the system knows no time zone 'Europe/Atlantis'" },
      { zones.open "Europe/Atlantis" })
    assert.same({ nil, "the system knows no time zone 'Europe'" }, { zones.open "Europe" })
  end)

  it("has a name, and no path", function()
    for _, name in ipairs { "", "/etc/passwd", "../../etc/passwd", "Europe//Berlin", "a.b" } do
      local zone, why = zones.open(name)
      assert.is_nil(zone)
      assert.equal(("'%s' is no name of a time zone, like \"Europe/Berlin\""):format(name), why)
    end
  end)

  it("is asked for where tzdata is missing", function()
    local getenv = os.getenv
    os.getenv = function(name) -- luacheck: ignore 122
      return name == "TZDIR" and "/nowhere" or getenv(name)
    end
    local zone, why = zones.open "Europe/Berlin"
    os.getenv = getenv -- luacheck: ignore 122
    assert.is_nil(zone)
    assert.equal("there are no time zones in /nowhere: install the package tzdata, or leave "
      .. "the zone out (UTC)", why)
  end)

  it("whose file is broken is refused", function()
    for _, text in ipairs { "", "TZif", "not a zone at all, and longer than a header of a file",
      file(0, { { 1000, 3600 } }, ""):sub(1, 80) } do
      assert.is_false((pcall(zones.read, text, "x")))
    end
  end)
end)
