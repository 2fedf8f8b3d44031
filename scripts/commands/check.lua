---`lunats check`: reads and loads scripts without a server and tells what is wrong with them
---and what they declare.
local bytecode = require "lunats.commands.bytecode"
local core = require "lunats.core"
local globals = require "lunats.commands.globals"
local json = require "lunats.json"
local luacheck = require "lunats.commands.luacheck"
local members = require "lunats.commands.members"
local names = require "lunats.commands.names"
local subjects = require "lunats.commands.check_subjects"
local workers = require "lunats.commands.check_workers"

---@class check.problem
---@field level "error"|"warning"
---@field where string  file:line
---@field message string
---@field source string|nil  the line, for a caret under it
---@field column integer|nil
---@field global string|nil  which one there is not

-- ---- the text of the script --------------------------------------------------

local function line_of(text, number)
  local i = 0
  for line in (text .. "\n"):gmatch "([^\n]-)\r?\n" do
    i = i + 1
    if i == number then return line end
  end
  return ""
end

---The parser names the token at which it gave up: the caret goes there.
local function syntax_problem(path, text, err)
  local number, message = err:match ":(%d+): (.*)$"
  local line = line_of(text, tonumber(number) or 1)
  local token = message and message:match "near '(.*)'$"
  local column = #line + 1
  if token then
    local at, from = nil, 1
    while true do -- the last one: what stands before it has been understood
      local first = line:find(token, from, true)
      if not first then break end
      at, from = first, first + 1
    end
    column = at or column
  end
  return { level = "error", where = ("%s:%s"):format(path, number or 1),
    message = message or err, source = line, column = column }
end

local function suggestion(nearest)
  return nearest and (" (did you mean '%s'?)"):format(nearest) or ""
end

local function sorted(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

---By luacheck, or else from the byte code. Nothing when neither can tell.
local function unknown_names(path, fn)
  local undeclared, fields = luacheck.unknown_names(path, app)
  local func = bytecode.read(fn)
  if not undeclared then
    if func then return globals.undeclared(func, _G), members.unknown(func, app) end
  elseif func then -- luacheck takes fields of a local _ENV for globals
    undeclared = globals.confirm(undeclared, globals.undeclared(func, _G))
  end
  return undeclared, fields
end

---Globals of other versions of Lua, for which portable libraries look.
local FOREIGN = {}
for name in ("bit bit32 getfenv jit loadstring module newproxy setfenv unpack"):gmatch "%S+" do
  FOREIGN[name] = true
end

---Takes away what exists once the script is loaded.
---@param list check.problem[]
---@param exist string[]|true
local function drop_existing(list, exist)
  local set = {}
  if exist ~= true then
    for _, name in ipairs(exist) do set[name] = true end
  end
  for i = #list, 1, -1 do
    local name = list[i].global
    if name and (exist == true or set[name]) then table.remove(list, i) end
  end
end

---Names that exist nowhere.
local function name_problems(path, fn, list)
  local undeclared, fields = unknown_names(path, fn)
  if not undeclared then
    list[#list + 1] = { level = "error", where = path,
      message = "its names could not be checked: that wants luacheck with this version of Lua" }
    return
  end
  local exist, tables = sorted(_G), names.tables(app)
  for _, one in ipairs(undeclared) do
    local foreign = FOREIGN[one.name]
    list[#list + 1] = { level = foreign and "warning" or "error", global = one.name,
      where = ("%s:%d"):format(path, one.line),
      message = foreign and ("global '%s' is of another version of Lua"):format(one.name)
        or ("undeclared global '%s'%s"):format(one.name,
          suggestion(core.nearest(one.name, exist))) }
  end
  for _, one in ipairs(fields) do
    list[#list + 1] = { level = "error", where = ("%s:%d"):format(path, one.line),
      message = ("%s has no '%s'%s"):format(one.path, one.name,
        suggestion(core.nearest(one.name, sorted(tables[one.path] or {})))) }
  end
end

---An error at the top level, as the script's author sees it: without our frames. What ends in a
---colon has its reasons on the lines below.
local function load_problem(path, err)
  local first, rest = err:match "^([^\n]*)(.*)"
  if first:find ":%s*$" then
    local reasons = {}
    for reason in rest:gsub("\nstack traceback:.*", ""):gmatch "[^\n]+" do
      reason = reason:match "^%s*(.-)%s*$"
      if reason ~= "" then reasons[#reasons + 1] = reason end
    end
    first = first .. " " .. table.concat(reasons, "; ")
  end
  local where, message = first:match "^(.-:%d+): (.*)$"
  return { level = "error", where = where or path, message = message or first }
end

-- ---- one script --------------------------------------------------------------

local function is_known(list, problem)
  for _, one in ipairs(list) do
    if one.where == problem.where and one.level == "error" then return true end
  end
end

local function by_line(a, b)
  local x, y = tonumber(a.where:match ":(%d+)$") or 0, tonumber(b.where:match ":(%d+)$") or 0
  if x ~= y then return x < y end
  return a.message < b.message
end

local function check(path)
  local result = { path = path, problems = {} }
  local list = result.problems
  local file, reason = io.open(path, "rb")
  local text
  if file then
    text, reason = file:read "a"
    file:close()
  end
  if not text then
    list[1] = { level = "error", where = path,
      message = "cannot be read: " .. reason:gsub("^.*: ", "") }
    return result
  end
  -- As Lua reads files: without a byte order mark and a first line that is for the shell.
  text = text:gsub("^\u{FEFF}", ""):gsub("^#[^\n]*", "")
  local fn, err = load(text, "@" .. path, "t")
  if not fn then
    list[1] = syntax_problem(path, text, err)
    return result
  end
  name_problems(path, fn, list)
  result.fn = fn
  local declared
  declared, err = core.load_service(path, core.options.safe_libs)
  if declared then
    result.declared = json.decode(declared)
    drop_existing(list, result.declared.globals)
    result.declared.globals = nil
    table.move(subjects.problems(result.declared), 1, 1000, #list + 1, list)
  else
    local problem = load_problem(path, err)
    -- `app.lisen(...)` has been found already, and fails when it is called.
    if not is_known(list, problem) then list[#list + 1] = problem end
  end
  local warnings, why = luacheck.warnings(path)
  if warnings then
    table.move(warnings, 1, 1000, #list + 1, list)
  elseif why == luacheck.MISSING then
    result.without_luacheck = true
  else
    list[#list + 1] = { level = "error", where = path,
      message = "luacheck could not look at it: " .. why }
  end
  table.sort(list, by_line)
  return result
end

-- ---- printing ----------------------------------------------------------------

local function line(...) io.stdout:write(string.format(...), "\n") end

local function print_problem(one)
  io.stderr:write(one.where, ": ", one.level == "warning" and "warning: " or "", one.message,
    "\n")
  if one.source then
    -- Tabs stay, so that the caret is below its token whatever their width.
    local indent = one.source:sub(1, one.column - 1):gsub("[^\t]", " ")
    io.stderr:write("    ", one.source, "\n    ", indent, "^\n")
  end
end

local function words(...)
  local list = {}
  for _, word in ipairs { ... } do
    if word ~= "" then list[#list + 1] = word end
  end
  return table.concat(list, "  ")
end

local function print_declared(declared, path)
  if not declared.service then
    line("%s declares no listener, timer, task or hook: a module, and no service", path)
    return
  end
  line("%s %s", declared.name, declared.version)
  for _, one in ipairs(declared.listeners) do
    line("  listener  %s", words(one.subject, one.queue and "queue " .. one.queue
      or "no queue group", one.concurrency ~= 256 and "concurrency " .. one.concurrency or "",
      one.where))
  end
  for _, one in ipairs(declared.routes) do
    line("  %-8s  %s", "HTTP", words(one.method .. " " .. one.path, one.where))
  end
  for _, one in ipairs(declared.timers) do
    line("  %-8s  %s", one.kind, words(one.interval and ("every %g s"):format(one.interval)
      or "once", one.singleton and "in one instance" or "", one.name or "", one.where))
  end
  for _, one in ipairs(declared.leases or {}) do
    line("  leader    %s", words(one.name or "", one.ttl and ("ttl %g s"):format(one.ttl) or "",
      one.where))
  end
  for _, one in ipairs(declared.jobs or {}) do
    line("  cron      %s", words(one.expression or "", one.zone or "UTC", one.name or "",
      one.where))
  end
  for _, one in ipairs(declared.subscriptions) do
    line("  %-8s  %s", one.kind, words(one.subject or "", one.stream and "stream " .. one.stream
      or "", one.durable and (one.kind == "group" and "" or "durable ") .. one.durable or "",
      one.partitions and ("%d partitions"):format(one.partitions) or "", one.where))
  end
end

---What is asked for: what the script declares, or what it may have to do.
local function show(result, path)
  if not core.options.permissions then return print_declared(result.declared, path) end
  if not result.declared.service then return end
  local permissions = require "lunats.commands.permissions"
  io.stdout:write(permissions.text(permissions.collect(path, result.declared, result.fn)))
end

---What all services take together.
local function show_workers(results)
  local list = {}
  for _, result in ipairs(results) do list[#list + 1] = result.load end
  if #list == 0 then return end
  for _, text in ipairs(workers.text(list)) do line("%s", text) end
end

local function print_json(results)
  local list = {}
  for i, result in ipairs(results) do
    local problems = {}
    for j, one in ipairs(result.problems) do
      local path, number = one.where:match "^(.*):(%d+)$"
      problems[j] = { level = one.level, message = one.message, path = path or one.where,
        line = tonumber(number), column = one.column }
    end
    local declared = result.declared or {}
    declared.path, declared.problems = result.path, json.array(problems)
    declared.workers = result.load
    list[i] = declared
  end
  line("%s", core.sorted_json(json.array(list)))
end

return function()
  local results, failed, without_luacheck = {}, false, false
  for i, path in ipairs(core.options.scripts) do
    local result = check(path)
    results[i] = result
    if core.options.workers > 0 and result.declared and result.declared.service then
      result.load = workers.of(result.declared, core.options)
    end
    without_luacheck = without_luacheck or result.without_luacheck
    for _, one in ipairs(result.problems) do failed = failed or one.level == "error" end
    if not core.options.json then
      for _, one in ipairs(result.problems) do print_problem(one) end
      if result.declared then show(result, path) end
    end
  end
  if not core.options.json and not core.options.permissions then show_workers(results) end
  if core.options.origin and not core.options.json and not core.options.permissions then
    line("`lunats run` %s", core.options.origin)
  end
  if core.options.json then print_json(results) end
  if without_luacheck then
    io.stderr:write("lunats check: ", luacheck.MISSING,
      ": nobody has looked for unused variables and the like\n")
  end
  if failed then os.exit(1) end
end
