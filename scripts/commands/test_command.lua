---The command line of this `lunats test`, for starting others of its kind.
local core = require "lunats.core"

local M = {}

---Options of busted and of lunats whose value is the next word.
local VALUED = {}
for name in ([[
  -C --directory -f --config-file --coverage-config-file -t --tags --exclude-tags --filter
  --filter-out -m --lpath --cpath -r --run --repeat --seed --lang --loaders --helper -o --output
  -p --pattern --exclude-pattern -e -X -Xoutput -Xhelper
  -s --server --user --password --token --creds --nkey --tlsca --tlscert --tlskey --name
  --drain-timeout --log-format --log-level -j --jobs
]]):gmatch "%S+" do
  VALUED[name] = true
end

---Ours, which the children must not get.
local OWN = { ["-j"] = true, ["--jobs"] = true, ["--watch"] = true }

local function words_of_process()
  local file = assert(io.open("/proc/self/cmdline", "rb"))
  local words = {}
  for word in file:read("a"):gmatch "([^\0]*)\0" do words[#words + 1] = word end
  file:close()
  return table.move(words, 3, #words, 1, {}) -- behind "lunats test"
end

---@class test_command
---@field options string[]  everything but the files and folders, -j and --watch
---@field roots string[]  files and folders that were named

---@return test_command
function M.read()
  local options, roots = {}, {}
  local words = words_of_process()
  local i = 1
  while i <= #words do
    local word = words[i]
    local value = VALUED[word] and words[i + 1]
    if word:sub(1, 1) ~= "-" then
      roots[#roots + 1] = word
    elseif word ~= "--" and not OWN[word] and not word:find "^%-j%d"
      and not word:find "^%-%-jobs=" then
      options[#options + 1] = word
      options[#options + 1] = value or nil
    end
    i = i + (value and 2 or 1)
  end
  return { options = options, roots = roots }
end

---The words that run `lunats test` with these options and files. What the environment says
---about watching and parallel runs was for this process.
function M.words(options, roots)
  local words = { "/usr/bin/env", "LUNATS_WATCH=0", "LUNATS_JOBS=", assert(core.program()),
    "test" }
  table.move(options, 1, #options, #words + 1, words)
  return table.move(roots, 1, #roots, #words + 1, words)
end

return M
