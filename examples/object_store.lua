-- Files that are too large for a message: reports are written into an object store and read
-- from it piece by piece, so that none is ever in memory as a whole.
--
--   lunats dev examples/object_store.lua
--
-- reports.make  {"name": "may", "rows": 100000}  ->  {"name": ..., "size": ..., "digest": ...}
-- reports.sum   {"name": "may"}                  ->  {"rows": 100000, "sum": 5000050000}
-- reports.list  (anything)                       ->  ["may"]
app.config { name = "object_store", version = "1.0.0" }

local BUCKET = "reports"
local ROWS_AT_ONCE = 1000

local reports

app.on_start(function()
  reports = assert(app.js.create_object_store { bucket = BUCKET, ttl = 30 * 86400 })
  assert(reports:watch({ updates_only = true }, function(report)
    app.log.info(report.deleted and "report is gone" or "report is there",
      { name = report.name, size = report.size })
  end))
end)

-- A function that returns the next piece of a report, nil after the last one.
local function pieces_of_report(rows)
  local done = 0
  return function()
    if done == rows then return nil end
    local lines = {}
    for row = done + 1, math.min(done + ROWS_AT_ONCE, rows) do
      lines[#lines + 1] = ("row,%d\n"):format(row)
    end
    done = done + #lines
    return table.concat(lines)
  end
end

-- The name in a message, or nil and what is wrong with it.
local function name_of(msg)
  local name = type(msg.data) == "table" and msg.data.name
  if type(name) == "string" and name ~= "" then return name end
  return nil, { code = 400, message = "name must be a string" }
end

app.listen("reports.make", { concurrency = 4 }, function(msg)
  local name, wrong = name_of(msg)
  if not name then return nil, wrong end
  local rows = msg.data.rows
  if math.type(rows) ~= "integer" or rows < 0 then
    return nil, { code = 400, message = "rows must be a whole number" }
  end
  local report, err = reports:put(name, pieces_of_report(rows),
    { metadata = { rows = tostring(rows) } })
  if not report then return nil, { code = 503, message = err.message } end
  return { name = report.name, size = report.size, digest = report.digest }
end)

app.listen("reports.sum", { concurrency = 4 }, function(msg)
  local name, wrong = name_of(msg)
  if not name then return nil, wrong end
  local rows, sum, rest = 0, 0, ""
  local report, err = reports:get(name, { write = function(piece)
    -- A piece may end in the middle of a line.
    local text = rest .. piece
    local last = 1
    for number, at in text:gmatch "row,(%d+)\n()" do
      rows, sum, last = rows + 1, sum + math.tointeger(tonumber(number)), at
    end
    rest = text:sub(last)
  end })
  if not report then
    return nil, { code = err.code == "not_found" and 404 or 503, message = err.message }
  end
  return { rows = rows, sum = sum }
end)

app.listen("reports.list", function()
  local names = app.json.array()
  for i, report in ipairs(assert(reports:list())) do names[i] = report.name end
  return names
end)
