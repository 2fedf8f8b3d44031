---Scripts that attack the process that runs them, beside a neighbour that only wants to answer:
---the specs of spec/system run them, and bench/attacks.lua measures what the neighbour notices.
---
---The rows of spec/support/attacks/*.lua are lists of tables:
---  name    what the script does
---  body    of the listener ID of the script, where it does that when it is asked; or
---  script  the whole script, which begins by itself
---  id      of the listener; "attack" if there is none
---  own     the process has no other attack: this one stays
---  told    a pattern of Lua: what the log says, after "attack: "
---  fate    what happens to it, for docs/limits.md
---  options of the process, beside those of all
---  status  with which the process ends; nil: it goes on
---  silent  the service of the script does not answer any more, as it is full
local process = require "spec.support.process"

local M = {}

local NEIGHBOUR = [[
app.config { name = "neighbour" }
app.listen("PREFIX.hello", function() return "hello" end)
]]

local SCRIPT = [[
app.config { name = "attack" }
local function spin() while true do end end
local kept = {}
local function never() app.sleep(3600) end
app.listen("PREFIX.alive", function() return "alive" end)
app.listen("PREFIX.never", { name = "never" }, never)
]]

local LISTENER = [[
app.listen("PREFIX.%s", { name = %q }, function(msg)
  %s
end)
]]

---A process with these rows in one script, and the neighbour; both have started.
---@param prefix string  of their subjects: .hello, .alive, and .ID of each row
---@param options string[]  of `lunats run`
---@param opts table|nil  as those of process.spawn
function M.start(rows, prefix, options, opts)
  local parts = { SCRIPT }
  for _, row in ipairs(rows) do
    parts[#parts + 1] = row.script or LISTENER:format(row.id, row.id, row.body)
  end
  local source = table.concat(parts):gsub("PREFIX", prefix)
  local words = { "--errors", "full", "--drain-timeout", "0" }
  table.move(options, 1, #options, #words + 1, words)
  for _, row in ipairs(rows) do
    table.move(row.options or {}, 1, #(row.options or {}), #words + 1, words)
  end
  words[#words + 1] = process.write("neighbour.lua", (NEIGHBOUR:gsub("PREFIX", prefix)))
  local child = process.run(source, words, opts)
  child:expect("attack: started", 60)
  child:expect("neighbour: started", 60)
  return child
end

return M
