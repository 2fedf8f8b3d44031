---`lunats top`: the services of the cluster, live.
local client = require "lunats.commands.client"
local cluster = require "lunats.commands.cluster"
local columns = require "lunats.commands.columns"
local core = require "lunats.core"
local input = require "lunats.commands.input"
local rates = require "lunats.commands.rates"

local INTERVAL, QUIET = 1, 0.25 -- seconds
local HEAD = 3                  -- lines above the rows

local NUMBERS = {
  { title = "REQUESTS/S", right = true },
  { title = "ERRORS/S", right = true },
  { title = "TIME", right = true },
  { title = "TOTAL", right = true, drop = 1 },
}

local VIEWS = {
  instances = {
    columns = { { title = "NAME", shrinks = true }, { title = "ID", shrinks = true },
      { title = "VERSION", shrinks = true, drop = 3 }, table.unpack(NUMBERS) },
    cells = function(row) return row.name, row.id, row.service.version end,
  },
  endpoints = {
    columns = { { title = "SERVICE", shrinks = true }, { title = "ENDPOINT", shrinks = true },
      { title = "SUBJECT", shrinks = true, drop = 3 }, table.unpack(NUMBERS) },
    cells = function(row)
      return row.name .. "/" .. row.id, row.endpoint.name, row.endpoint.subject
    end,
  },
}
table.insert(VIEWS.instances.columns, { title = "UP", right = true, drop = 2 })
table.insert(VIEWS.instances.columns, { title = "WHERE", shrinks = true, drop = 4 })

---By its key; what is equal stays in the order of the names.
local ORDERS = {
  n = { "name", function() return 0 end },
  r = { "requests", function(row) return row.requests or 0 end },
  e = { "errors", function(row) return row.errors or 0 end },
  t = { "time", function(row) return row.nanoseconds or 0 end },
}

local terminal
local view, order, paused, looked = "instances", "n", false, false
local looks = { instances = {}, endpoints = {} }
local trouble

-- ---- drawing -------------------------------------------------------------------

local function sorted(rows)
  local list, place = {}, {}
  for i, row in ipairs(rows) do list[i], place[row] = row, i end
  local value = ORDERS[order][2]
  table.sort(list, function(a, b)
    local x, y = value(a), value(b)
    if x ~= y then return x > y end
    return place[a] < place[b]
  end)
  return list
end

local function rate(value) return value and columns.rate(value) or "-" end

local function cells(row)
  local list = { VIEWS[view].cells(row) }
  table.move({ rate(row.requests), rate(row.errors),
    row.nanoseconds and columns.duration(row.nanoseconds) or "-", tostring(row.total) }, 1, 4,
    #list + 1, list)
  if view == "instances" then
    local service = row.service
    list[#list + 1] = columns.age(service.started and app.now() - service.started)
    list[#list + 1] = service.place ~= "" and service.place or "-"
  end
  return list
end

local function summary()
  local requests, errors = 0, 0
  for _, row in ipairs(looks.instances) do
    requests, errors = requests + (row.requests or 0), errors + (row.errors or 0)
  end
  return ("lunats top  %s  %s  %s requests/s, %s errors/s%s"):format(os.date "%H:%M:%S",
    client.plural(#looks.instances, "instance"), columns.rate(requests), columns.rate(errors),
    paused and "  PAUSED" or "")
end

local function second_line()
  if app.nats.status() ~= "connected" then return terminal:said() or app.nats.status() end
  if trouble then return trouble end
  return ("by %s; keys: n r e t sort, v %s, p %s, q quit"):format(ORDERS[order][1],
    view == "instances" and "endpoints" or "instances", paused and "goes on" or "pauses")
end

local function table_lines(width, height)
  local rows = {}
  for i, row in ipairs(sorted(looks[view])) do rows[i] = cells(row) end
  local lines = columns.lines(VIEWS[view].columns, rows, width)
  if #lines - 1 > height then
    local hidden = #lines - height
    for i = #lines, height + 1, -1 do lines[i] = nil end
    lines[height + 1] = ("and %d more"):format(hidden)
  end
  lines[1] = "\27[7m" .. lines[1] .. (" "):rep(width - (utf8.len(lines[1]) or 0)) .. "\27[0m"
  return lines
end

local function draw()
  local width, height = core.terminal_size()
  if not width then return end
  local lines = { columns.cut(summary(), width),
    columns.cut(columns.clean(second_line()), width) }
  if looked then
    table.move(table_lines(width, math.max(height - HEAD, 1)), 1, height, 3, lines)
  end
  local text = "\27[H" .. table.concat(lines, "\27[K\n", 1, math.min(#lines, height))
    .. "\27[K\27[J"
  if not io.stdout:write(text) or not io.stdout:flush() then os.exit(1) end
end

-- ---- what goes on --------------------------------------------------------------

local function look(numbers, which)
  local services, err = cluster.list("STATS", which, QUIET)
  if paused then return end
  looked = true
  trouble = not services and client.explain(err, "$SRV.STATS", "")
    or #services == 0 and (which and "there is no service " .. which or "no service answers")
    or nil
  looks.instances, looks.endpoints = numbers:look(services or {}, cluster.sums, core.hrtime())
end

local function quit()
  terminal:close()
  os.exit(0)
end

local function press(key)
  if key == "q" or key == "Q" or key == "\4" then quit() end
  if key == "p" or key == " " then paused = not paused end
  if key == "v" then view = view == "instances" and "endpoints" or "instances" end
  if ORDERS[key] then order = key end
end

local function read_keys()
  while true do
    local bytes = input.some()
    if not bytes then return quit() end
    for key in bytes:gsub("\27%[?[%d;]*%a?", ""):gmatch "." do press(key) end
    draw()
  end
end

local function watch_size()
  while terminal:wait() do draw() end
end

return function()
  local options = core.options
  local which = options.args[1]
  cluster.scope(which)
  terminal = core.terminal "screen"
  if not terminal then
    client.fail(2, "it draws on a terminal, and there is none; `lunats stats` prints the same "
      .. "numbers once")
  end
  core.background(read_keys)
  core.background(watch_size)
  draw()
  local numbers = rates.new()
  local interval = options.interval > 0 and options.interval or INTERVAL
  while true do
    local began = core.hrtime()
    if not paused then
      look(numbers, which)
      draw()
    end
    core.sleep(math.max(interval - (core.hrtime() - began), 0.05))
  end
end
