-- Values of PostgreSQL as values of Lua, and the other way round.
local postgres = require "spec.support.postgres"

local pg = postgres.pg

describe("lunats.pg: values", function()
  local server, db
  if not postgres.each(function(...) server, db = ... end) then return end

  ---What an expression is in Lua.
  local function value(expr, ...)
    local rows = assert(db:query("select " .. expr .. " as v", ...))
    assert.equal(1, #rows)
    return rows[1].v
  end

  it("are integers as long as 64 bits hold them", function()
    for _, n in ipairs { 0, 1, -1, 2 ^ 53 | 0, (2 ^ 53 | 0) + 1, math.maxinteger,
      math.mininteger } do
      local got = value("$1::bigint", n)
      assert.equal(n, got)
      assert.equal("integer", math.type(got))
    end
    assert.equal(32767, value "32767::smallint")
    assert.equal(-2147483648, value "(-2147483648)::int")
    assert.equal(4294967295, value "4294967295::oid")
  end)

  it("are what was given, though a script has changed a typed one", function()
    collectgarbage("generational", 1, 1)
    finally(function() collectgarbage "generational" end)
    for i = 1, 500 do
      local typed = pg.json { 1 }
      typed[1] = 123456789 + i
      local _ = ("x"):rep(math.random(3000))
      assert.equal(123456789 + i, value(i .. " - " .. i .. " + $1::json::text::bigint", typed))
    end
  end)

  it("are floats that read back as the same", function()
    for _, n in ipairs { 0.1, -2.5, 1e300, 5e-324, 1 / 3, 1.7976931348623157e308 } do
      assert.equal(n, value("$1::float8", n))
    end
    assert.equal(math.huge, value("$1::float8", math.huge))
    assert.equal(-math.huge, value("$1::float8", -math.huge))
    local nan = value("$1::float8", 0 / 0)
    assert.not_equal(nan, nan)
    assert.equal(2.5, value "2.5::real")
    assert.equal("float", math.type(value "3::float8"))
    assert.equal(3, value("$1::int", 3.0))
  end)

  it("are exact texts where they are numeric", function()
    assert.equal("0.10", value "0.10::numeric(10,2)")
    assert.equal("123456789012345678901234567890.5",
      value("$1::numeric", "123456789012345678901234567890.5"))
    assert.equal("NaN", value "'NaN'::numeric")
    assert.equal(12, value "12::numeric(18,0)")
    assert.equal("integer", math.type(value "12::numeric(18,0)"))
    assert.equal("12", value "12::numeric(19,0)")
    assert.equal("2.50", value "(select sum(x) from (values (1.25::numeric), (1.25)) t(x))")
  end)

  it("are numbers where they are numeric and the pool wants that", function()
    local numbers = pg.pool { dsn = server.dsn, numeric = "number" }
    local rows = assert(numbers:query("select 0.1::numeric a, 7::numeric b, "
      .. "'{1,2.5}'::numeric[] c, 'NaN'::numeric d"))
    assert.equal(0.1, rows[1].a)
    assert.equal("integer", math.type(rows[1].b))
    assert.same({ 1, 2.5 }, rows[1].c)
    assert.not_equal(rows[1].d, rows[1].d)
    numbers:close()
  end)

  it("are booleans", function()
    assert.is_true(value("$1::bool", true))
    assert.is_false(value("$1::bool", false))
    assert.is_true(value "1 = 1")
  end)

  it("are texts, with all that UTF-8 has", function()
    for _, text in ipairs { "", "x", "Grüße, 世界 🐘", "'; drop table x; --", "a\nb\\c\"d" } do
      assert.equal(text, value("$1::text", text))
    end
    assert.equal("ab  ", value "'ab'::char(4)")
    assert.equal("8d2ba0f4-6a1c-4d0f-9a2e-0a1b2c3d4e5f",
      value("$1::uuid", "8d2ba0f4-6a1c-4d0f-9a2e-0a1b2c3d4e5f"))
    assert.equal("1 day 02:00:00", value "'1 day'::interval + '2 hours'")
  end)

  it("are bytes", function()
    local all = {}
    for i = 0, 255 do all[#all + 1] = string.char(i) end
    local bytes = table.concat(all)
    assert.equal(bytes, value("$1", pg.bytea(bytes)))
    assert.equal("", value "''::bytea")
    assert.equal(256, value("length($1)", pg.bytea(bytes)))
    assert(db:transaction(function(tx)
      assert(tx:query "set local bytea_output = escape")
      local rows = assert(tx:query("select $1 as v", pg.bytea(bytes)))
      assert.equal(bytes, rows[1].v)
      return true
    end))
  end)

  it("are nil where they are NULL", function()
    assert.is_nil(value "null::int")
    assert.is_nil(value("$1::int", nil))
    assert.is_nil(value("$1::int", app.json.null))
    local rows, info = assert(db:query("select $1::int a, $2::text b, $3::int c",
      nil, "x", nil))
    assert.same({ b = "x" }, rows[1])
    assert.same({ "a", "b", "c" }, info.columns)
  end)

  it("are app.json.null where the pool wants that", function()
    local nulls = pg.pool { dsn = server.dsn, null = app.json.null }
    local rows = assert(nulls:query "select null::int a, 1 b")
    assert.same({ a = app.json.null, b = 1 }, rows[1])
    assert.matches('"a":null', app.json.encode(rows))
    nulls:close()
  end)

  it("are tables where they are JSON", function()
    local doc = { name = "x", list = app.json.array { 1, 2.5, "c" }, none = app.json.null,
      empty = app.json.array {}, big = math.maxinteger }
    assert.same(doc, value("$1::jsonb", pg.json(doc)))
    assert.same(doc, value("$1::json", pg.json(doc)))
    assert.equal('{"a": []}', value([[($1::jsonb)::text]], pg.json { a = app.json.array {} }))
    assert.equal("text", value [['"text"'::jsonb]])
    assert.equal(app.json.null, value "'null'::jsonb")
    assert.equal(1, value([[($1::jsonb->>'a')::int]], pg.json { a = 1 }))
    assert.equal("1e999", value "'1e999'::json") -- what Lua has no number for
  end)

  it("are lists where they are arrays", function()
    assert.same({ 1, 2, 3 }, value "'{1,2,3}'::int[]")
    assert.same({ 1, app.json.null, 3 }, value "array[1, null, 3]")
    assert.same({ { 1, 2 }, { 3, 4 } }, value "array[[1,2],[3,4]]")
    assert.same({}, value "'{}'::text[]")
    assert.equal("[]", app.json.encode(value "'{}'::text[]"))
    assert.same({ "NULL", 'a"b', "c\\d", "e,f", "{g}", "", " h " },
      value [[array['NULL', 'a"b', 'c\d', 'e,f', '{g}', '', ' h ']::text[] ]])
    assert.same({ true, false }, value "array[true, false]")
    assert.same({ 1, 2 }, value "'[0:1]={1,2}'::int[]")
    assert.same({ "0.10" }, value "array[0.10]::numeric[]")
    assert.same({ { a = 1 } }, value [[array['{"a":1}']::jsonb[] ]])
    assert.same({ "\0\xff" }, value [[array['\x00ff']::bytea[] ]])
  end)

  it("go there as lists", function()
    for _, list in ipairs { {}, { 1, 2 }, { 1, app.json.null }, { { 1, 2 }, { 3, 4 } } } do
      assert.same(list, value("$1::int[]", pg.array(list)))
    end
    local odd = { "NULL", 'a"b', "c\\d", "e,f", "{g}", "", " h ", "ü" }
    assert.same(odd, value("$1::text[]", pg.array(odd)))
    assert.same({ true, false }, value("$1::bool[]", pg.array { true, false }))
    assert.same({ 0.1 }, value("$1::float8[]", pg.array { 0.1 }))
    assert.is_true(value("2 = any($1::int[])", pg.array { 1, 2 }))
  end)

  it("go there in lists as they go there alone", function()
    local floats = { 0.1 + 0.2, 1 / 3, 2.0 ^ 53, -1e300, 5e-324, math.huge, -math.huge }
    assert.same(floats, value("$1::float8[]", pg.array(floats)))
    local nan = value("$1::float8[]", pg.array { 0 / 0 })[1]
    assert.is_true(nan ~= nan)
    local whole = { 3.0, 1e15, -2.0 ^ 62, math.maxinteger, math.mininteger }
    assert.same(whole, value("$1::bigint[]", pg.array(whole)))
    for _, n in ipairs(whole) do assert.equal(n, value("$1::bigint", n)) end
    assert.same({ { a = 'b"\\' }, app.json.null },
      value("$1::jsonb[]", pg.array { pg.json { a = 'b"\\' }, app.json.null }))
    assert.same({ "\0\xff\\", "" },
      value("$1::bytea[]", pg.array { pg.bytea "\0\xff\\", pg.bytea "" }))
    assert.same({ 0.5 }, value(
      "array(select extract(epoch from x)::float8 from unnest($1::timestamptz[]) x)",
      pg.array { pg.timestamp(0.5) }))
    assert.same({ { 1 }, { 2 } }, value("$1::int[]", pg.array { pg.array { 1 }, { 2 } }))
  end)

  it("are texts where they are points in time", function()
    assert.equal("2026-11-26", value "'2026-11-26'::date")
    assert.equal("2026-11-26 08:09:10.5", value "'2026-11-26 08:09:10.5'::timestamp")
    assert(db:transaction(function(tx)
      assert(tx:query "set local timezone = 'Asia/Kathmandu'")
      local rows = assert(tx:query "select '2026-11-26 00:00:00Z'::timestamptz as v")
      assert.equal("2026-11-26 05:45:00+05:45", rows[1].v)
      return true
    end))
  end)

  it("are seconds where they are points in time and the pool wants that", function()
    local seconds = pg.pool { dsn = server.dsn, timestamps = "seconds" }
    local function at(text, zone)
      return (assert(seconds:transaction(function(tx)
        assert(tx:query(("set local timezone = '%s'"):format(zone or "UTC")))
        return assert(tx:query("select $1::timestamptz v, "
          .. "extract(epoch from $1::timestamptz)::float8 e", text))[1]
      end)))
    end
    for _, zone in ipairs { "UTC", "Asia/Kathmandu", "America/New_York", "Europe/Amsterdam" } do
      for _, text in ipairs { "1970-01-01 00:00:00Z", "2026-11-26 08:09:10.123456Z",
        "1899-12-31 23:59:59.5Z", "2000-02-29 12:00:00Z", "0001-01-01 00:00:00Z",
        "0044-03-15 12:00:00Z BC", "12345-06-07 08:09:10Z" } do
        local row = at(text, zone)
        assert.equal(row.e, row.v, text .. " in " .. zone)
      end
    end
    assert.equal(math.huge, at("infinity").v)
    assert.equal(-math.huge, at("-infinity").v)
    local rows = assert(seconds:query [[select '2026-11-26 08:09:10'::timestamp v,
      array['1970-01-01 00:00:01Z'::timestamptz] a]])
    assert.equal(1795680550, rows[1].v)
    assert.same({ 1 }, rows[1].a)
    seconds:close()
  end)

  it("go there as points in time", function()
    for _, n in ipairs { 0, 1795680550.25, -1.5, 253402300799 } do
      assert.equal(n, value("extract(epoch from $1)::float8", pg.timestamp(n)))
    end
    -- the last two are 44 BC and the year 44
    for _, n in ipairs { -210866803200, 9224318015999, -63517824000, -60756825600 } do
      assert.equal(n, value("extract(epoch from $1)::float8", pg.timestamp(n)))
    end
    for _ = 1, 50 do -- the number that is nearest to so many microseconds is that many of them
      local micro = 1795680550 * 1000000 + math.random(0, 999999)
      assert.equal(micro,
        value("(extract(epoch from $1) * 1000000)::bigint", pg.timestamp(micro / 1e6)))
    end
    assert.equal(1, value("extract(epoch from $1)::float8", pg.timestamp(0.9999999)))
    for _, n in ipairs { 2.0 ^ 63, -2.0 ^ 63, 1e17, 1e300, 9224318016000, math.mininteger } do
      assert.error_matches(function() pg.timestamp(n) end,
        "PostgreSQL has no time .* seconds since 1970")
    end
    assert.error_matches(function() pg.timestamp(math.huge) end, "the time must be a number")
    assert.error_matches(function() pg.timestamp "now" end, "the time must be a number")
  end)

  it("are refused where no column can hold them", function()
    local fn = function() end
    for pattern, wrong in pairs { ["%$1 is a function"] = fn,
      ["write pg.json%(t%) or pg.array%(t%)"] = { 1 } } do
      assert.error_matches(function() db:query("select $1", wrong) end, pattern)
    end
    assert.error_matches(function() db:query("select $1, $2", { a = 1 }, 1) end,
      "parameter %$1 is a table: write pg.json%(t%) or pg.array%(t%)")
    assert.error_matches(function() pg.array { 1, nil, 3 } end, "without holes")
    assert.error_matches(function() pg.array { { a = 1 } } end, "without holes.*JSON pg.json")
    assert.error_matches(function() pg.array { { 1, a = 1 } } end, "without holes")
    local endless = {}
    endless[1] = endless
    assert.error_matches(function() pg.array(endless) end, "at most 6 inside of each other")
    assert.error_matches(function() pg.array { fn } end, "no element can be a function")
    assert.error_matches(function() pg.bytea(1) end, "string")
    local rows, err = db:query("select $1::text", "a\0b")
    assert.is_nil(rows)
    assert.equal("22021", err.code)
    assert.matches("pg.bytea", err.message)
    assert.equal(1, value "1") -- and the connection goes on
  end)
end)
