---Medians, tables and goals from the rows { workload, peer, round, value, rate, ... }.
local M = {}

---@return number median, number least, number greatest
function M.spread(values)
  table.sort(values)
  local n = #values
  local median = n % 2 == 1 and values[n // 2 + 1] or (values[n // 2] + values[n // 2 + 1]) / 2
  return median, values[1], values[n]
end

local function collect(rows, workload, peer, field)
  local values = {}
  for _, row in ipairs(rows) do
    if row.workload == workload and row.peer == peer and row[field] then
      values[#values + 1] = row[field]
    end
  end
  return values
end

---The median over the rounds of a/b. The machine is never the same for long, so that only what
---was measured in the same round is compared.
local function ratio(rows, workload, a, b)
  local by_round, ratios = {}, {}
  for _, row in ipairs(rows) do
    if row.workload == workload and row.peer == b then by_round[row.round] = row.value end
  end
  for _, row in ipairs(rows) do
    local other = row.workload == workload and row.peer == a and by_round[row.round]
    if other then ratios[#ratios + 1] = row.value / other end
  end
  if #ratios > 0 then return (M.spread(ratios)) end
end

local function number(value)
  if not value then return "-" end
  if value >= 1000 then
    local text = ("%.0f"):format(value)
    return (text:reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", ""))
  end
  return ((value >= 100 and "%.0f") or (value >= 10 and "%.1f") or "%.2f"):format(value)
end

M.number = number

---Of one workload: for each peer that was measured the figures of all rounds.
local function summarise(rows, workload, peers)
  local list = {}
  for _, peer in ipairs(peers) do
    local values = collect(rows, workload.name, peer.name, "value")
    if #values > 0 then
      local one = { peer = peer.name, rounds = #values }
      one.median, one.min, one.max = M.spread(values)
      for _, field in ipairs { "rate", "cpu", "p50", "p99" } do
        local more = collect(rows, workload.name, peer.name, field)
        one[field] = #more > 0 and (M.spread(more)) or nil
      end
      one.ratio = ratio(rows, workload.name, peer.name, "lunats")
      list[#list + 1] = one
    end
  end
  return list
end

---@return { text: string, met: boolean }|nil
local function judge(rows, workload, list)
  local goal = workload.goal
  if not goal or #list == 0 then return nil end
  if goal.limit then
    local met = list[1].median <= goal.limit
    return { met = met, value = list[1].median, text = ("at most %g"):format(goal.limit) }
  end
  local value = ratio(rows, workload.name, "lunats", goal.peer)
  if not value then return nil end
  return { met = value <= goal.factor, value = value,
    text = ("at most %gx %s"):format(goal.factor, goal.peer) }
end

---All workloads with their figures and what became of the goals.
function M.summary(rows, workloads, peers)
  local result = {}
  for _, workload in ipairs(workloads) do
    local list = summarise(rows, workload, peers)
    if #list > 0 then
      result[#result + 1] = { name = workload.name, title = workload.title,
        value = workload.value, group = workload.group, peers = list,
        goal = judge(rows, workload, list) }
    end
  end
  return result
end

local UNITS = { cpu = "CPU us/msg", p50 = "p50 us", start = "ms", memory = "MB",
  ns = "ns/document" }

---Further columns, where there is anything to show in them.
local COLUMNS = { { "rate", "msgs/s" }, { "cpu", "CPU us/msg" }, { "p50", "p50 us" },
  { "p99", "p99 us" } }

local function columns_of(workload)
  local columns = {}
  for _, column in ipairs(COLUMNS) do
    if column[1] ~= workload.value and workload.peers[1][column[1]] then
      columns[#columns + 1] = column
    end
  end
  return columns
end

local LINE = "%-11s %12s %22s %9s"

local function print_workload(workload)
  local columns = columns_of(workload)
  local head = LINE:format("", UNITS[workload.value], "(least .. most)", "to lunats")
  for _, column in ipairs(columns) do head = head .. ("%12s"):format(column[2]) end
  print("\n" .. workload.title .. "\n" .. head)
  for _, one in ipairs(workload.peers) do
    local line = LINE:format(one.peer, number(one.median),
      ("(%s .. %s)"):format(number(one.min), number(one.max)), number(one.ratio))
    for _, column in ipairs(columns) do
      line = line .. ("%12s"):format(number(one[column[1]]))
    end
    print(line)
  end
end

function M.print(summary)
  for _, workload in ipairs(summary) do
    print_workload(workload)
    local goal = workload.goal
    if goal then
      print(("goal: %s: %s, %s"):format(goal.text, goal.met and "met" or "NOT met",
        number(goal.value)))
    end
  end
end

local function markdown_row(workload, names)
  local unit = UNITS[workload.value]
  local cells = { workload.title }
  if not workload.title:find(unit, 1, true) then cells[1] = cells[1] .. ", " .. unit end
  local by_name = {}
  for _, one in ipairs(workload.peers) do by_name[one.peer] = one end
  for _, name in ipairs(names) do
    local one = by_name[name]
    cells[#cells + 1] = one and ("%s (%s..%s)"):format(number(one.median), number(one.min),
      number(one.max)) or ""
  end
  local goal = workload.goal
  cells[#cells + 1] = goal and ("%s: %s%s"):format(goal.text, number(goal.value),
    goal.met and "" or ", **not met**") or ""
  return "| " .. table.concat(cells, " | ") .. " |"
end

---Who was measured in one of the workloads, in the order of the peers.
local function measured_in(workloads, peers)
  local there, names = {}, {}
  for _, workload in ipairs(workloads) do
    for _, one in ipairs(workload.peers) do there[one.peer] = true end
  end
  for _, peer in ipairs(peers) do
    if there[peer.name] then names[#names + 1] = peer.name end
  end
  return names
end

---The tables of docs/performance.md, one for each group.
function M.markdown(summary, peers)
  local groups, order, lines = {}, {}, {}
  for _, workload in ipairs(summary) do
    local key = workload.group or ""
    if not groups[key] then
      groups[key] = {}
      order[#order + 1] = groups[key]
    end
    table.insert(groups[key], workload)
  end
  for _, group in ipairs(order) do
    local names = measured_in(group, peers)
    lines[#lines + 1] = "\n| | " .. table.concat(names, " | ") .. " | goal |"
    lines[#lines + 1] = "|---" .. ("|---"):rep(#names + 1) .. "|"
    for _, workload in ipairs(group) do lines[#lines + 1] = markdown_row(workload, names) end
  end
  return table.concat(lines, "\n") .. "\n"
end

---One line per goal.
function M.print_goals(summary)
  local met, all = 0, 0
  print "\nGoals"
  for _, workload in ipairs(summary) do
    local goal = workload.goal
    if goal then
      all = all + 1
      met = met + (goal.met and 1 or 0)
      print(("  %-7s %-58s %-24s %s"):format(goal.met and "met" or "NOT met", workload.title,
        goal.text, number(goal.value)))
    end
  end
  print(("%d of %d goals are met"):format(met, all))
end

return M
