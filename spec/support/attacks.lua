---Scripts that attack the process that runs them, beside a neighbour that only wants to answer:
---the specs of spec/system run them, and bench/attacks.lua measures what the neighbour notices.
---
---spec/support/attacks/*.lua are lists of rows:
---  name    what the script does
---  body    of the listener ID of the script, where it does that when it is asked; or
---  script  all of the script, which begins by itself
---  id      what is named in the log
---  told    a pattern of Lua: what the log says behind "attack: "; ID is the id
---  fate    what happens to it, for docs/limits.md
---  own     it needs a process without other attacks, as it stays
---  memory  limits.memory of the script, where filling what there is takes long
---  options of the process, beside those of all
---  status  with which the process ends; nil: it goes on
---  after   a function that gets the prefix of the subjects: tidies up on the server
---  silent  the service does not answer any more, as its memory is full
local process = require "spec.support.process"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

local M = {}

---In seconds: for one reply of the neighbour, with a sanitizer and on a busy machine; and until
---the log tells.
local BOUND, PATIENCE = 15, 60

local NEIGHBOUR = [[
app.config { name = "neighbour" }
app.listen("PREFIX.hello", function() return "hello" end)
]]

local SCRIPT = [[
local function spin() while true do end end
local kept = {}
local function never() app.sleep(3600) end
app.listen("PREFIX.alive", function() return "alive" end)
app.listen("PREFIX.never", never)
]]

local LISTENER = [[
app.listen("PREFIX.%s", { name = %q }, function()
  %s
end)
]]

local function config(rows)
  local memory = #rows == 1 and rows[1].memory
  local limits = memory and ("limits = { memory = %q }"):format(memory) or ""
  return ("app.config { name = 'attack', %s }\n"):format(limits)
end

---A process with these rows in one script, and the neighbour; both have started.
---@param prefix string  of their subjects: .hello, .alive, and .ID of each row
---@param options string[]  of `lunats run`
---@param opts table|nil  as those of process.spawn
function M.start(rows, prefix, options, opts)
  local parts, words = { config(rows), SCRIPT }, { "--errors", "full", "--drain-timeout", "0" }
  table.move(options, 1, #options, #words + 1, words)
  for _, row in ipairs(rows) do
    parts[#parts + 1] = row.script or LISTENER:format(row.id, row.id, row.body)
    table.move(row.options or {}, 1, #(row.options or {}), #words + 1, words)
  end
  words[#words + 1] = process.write("neighbour.lua", (NEIGHBOUR:gsub("PREFIX", prefix)))
  local names = { PREFIX = prefix, SERVER = opts and opts.servers[1] or testing.server_url() }
  local source = table.concat(parts):gsub("%f[%w]%u+%f[%W]", names)
  local child = process.run(source, words, opts)
  child:expect("attack: started", PATIENCE)
  child:expect("neighbour: started", PATIENCE)
  return child
end

local child, prefix, is_own
---Seconds: where memory is what ends them, a slow machine needs more than for those that
---compute.
local SLICES = { errors = "0.2", time = "0.2", memory = "2" }
local slice = SLICES.time

local function ask(name, timeout)
  return app.request(prefix .. name, nil, { timeout = timeout })
end

local function start(rows)
  prefix = unique "attacks"
  child = M.start(rows, prefix, { "--slice", slice, "--memory", "16M" })
end

---The process of those that share one; a new one if something has ended it.
local function share(rows)
  if child and not child:status() then return end
  local together = {}
  for _, row in ipairs(rows) do
    if not row.own then together[#together + 1] = row end
  end
  start(together)
end

---The neighbour answers, at least 20 times, until `done`.
local function neighbour_answers(done)
  local deadline, count = app.now() + PATIENCE, 0
  while count < 20 or not done() do
    local reply, err = ask(".hello", BOUND)
    if not reply then error(("the neighbour: %s\n%s"):format(err, child:output())) end
    count = count + 1
    if app.now() > deadline then error("the log does not tell:\n" .. child:output()) end
  end
end

---Lets a row of a list attack: the log names it, the neighbour answers meanwhile, and the
---service of the row afterwards.
function M.survive(row, rows)
  if row.own or is_own then M.close() end
  is_own = row.own
  if row.own then
    start { row }
  else
    share(rows)
  end
  local asked = row.body and app.spawn(ask, "." .. row.id, PATIENCE)
  local told = row.told and "attack: [^\n]*" .. row.told:gsub("ID", row.id)
  local function happened() return not told or child:output():match(told) end
  if row.status then
    local status = child:wait(PATIENCE)
    if status ~= row.status then error("status " .. status .. "\n" .. child:output()) end
  else
    neighbour_answers(happened)
    if child:status() then error("the process has ended:\n" .. child:output()) end
    if not row.silent then assert(ask(".alive", PATIENCE)) end
  end
  if asked then asked:cancel() end
  if not happened() then error("the log does not tell:\n" .. child:output()) end
  if row.own then M.close() end
  if row.after then row.after(prefix) end
end

---What describe() takes: a test for each row of a list.
---@param kind "errors"|"memory"|"time"
function M.tests(kind)
  local busted, tsan = require "busted", require "spec.support.tsan"
  local rows = require("spec.support.attacks." .. kind)
  return function()
    slice = SLICES[kind]
    busted.lazy_teardown(M.close)
    for _, row in ipairs(rows) do
      if tsan then
        busted.pending(row.name .. " (ThreadSanitizer keeps back the signal that ends it)")
      else
        busted.it(row.name, function() M.survive(row, rows) end)
      end
    end
  end
end

---Ends the processes; raises if a sanitizer has found something.
function M.close()
  child = nil
  process.close_all()
end

return M
