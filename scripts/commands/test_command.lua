---The command line of this `lunats test`, for starting others of its kind.
local core = require "lunats.core"

local M = {}

---There are tests, and none of them was asked for.
M.NO_MATCH = "no test matches: see --filter, --filter-out, --tags, --exclude-tags"

---Options of busted whose value is the next word.
local VALUED = {}
for name in ([[
  -C --directory -f --config-file --coverage-config-file -t --tags --exclude-tags --filter
  --filter-out -m --lpath --cpath -r --run --repeat --seed --lang --loaders --helper -o --output
  -p --pattern --exclude-pattern -e -X -Xoutput -Xhelper
]]):gmatch "%S+" do
  VALUED[name] = true
end

---@class test_command
---@field options string[]  of busted
---@field roots string[]  files and folders that were named

---@return test_command
function M.read()
  local options, roots = {}, {}
  local words = core.options.args
  local i = 1
  while i <= #words do
    local word = words[i]
    local value = VALUED[word] and words[i + 1]
    if word:sub(1, 1) ~= "-" then
      roots[#roots + 1] = word
    elseif word ~= "--" then
      options[#options + 1] = word
      options[#options + 1] = value or nil
    end
    i = i + (value and 2 or 1)
  end
  return { options = options, roots = roots }
end

---The words that run `lunats test` with our own options, these of busted, and these files. What
---the environment says about watching and parallel runs was for this process.
---@param jobs integer  0: all specs in that process
function M.words(jobs, options, roots)
  local words = { "/usr/bin/env", "LUNATS_WATCH=0", "LUNATS_JOBS=", assert(core.program()),
    "test" }
  local function add(list) table.move(list, 1, #list, #words + 1, words) end
  if jobs > 0 then add { "-j", tostring(jobs) } end
  add(core.options.inherited)
  add { "--" }
  add(options)
  add(roots)
  return words
end

return M
