---`lunats test -j N`: every spec file in a process of its own, with a server of its own.
local core = require "lunats.core"
local command = require "lunats.commands.test_command"

---What busted would run: its own options, `.busted` and all.
local function find_files()
  local settings = require "busted.options"
  settings.output = settings.output or "plainTerminal"
  settings.standalone = false
  local cli = require "busted.modules.cli" (settings)
  cli:set_name "lunats test"
  local parsed, err = cli:parse(arg)
  if not parsed then
    io.stderr:write(err, "\n")
    os.exit(1)
  end
  local busted = require "busted.core" ()
  require "busted" (busted)
  local path = require "pl.path"
  local roots, missing = {}, 0
  for _, root in ipairs(parsed.ROOT) do
    if path.exists(root) then
      roots[#roots + 1] = root
    else
      missing = missing + 1
      io.stderr:write("lunats test: there is no ", root, "\n")
    end
  end
  local _, _, get_files = require "busted.modules.test_file_loader" (busted, parsed.loaders)
  local files = get_files(roots, parsed.pattern, {
    excludes = parsed["exclude-pattern"], verbose = parsed.verbose,
    recursive = parsed.recursive,
  })
  return files, missing
end

local COUNTS = {
  { "successes", "(%d+) success" }, { "failures", "(%d+) failure" },
  { "errors", "(%d+) error" }, { "pending", "(%d+) pending" },
}

---The counts in busted's last line; nothing when another reporter was asked for.
local function count(output, totals)
  local line
  for one in output:gsub("\27%[[%d;]*m", ""):gmatch "[^\n]+" do
    if one:find "^%d+ success.* : [%d.]+ second" then line = one end
  end
  if not line then return nil end
  for _, entry in ipairs(COUNTS) do
    local number = tonumber(line:match(entry[2]) or 0)
    totals[entry[1]] = totals[entry[1]] + number
  end
  return line:match "^(.-) : " or line
end

local function run_one(file, options, totals)
  local began = core.hrtime()
  local words = { "/bin/sh", "-c", 'exec "$@" 2>&1', "sh" }
  local test = command.words(0, options, { file })
  table.move(test, 1, #test, #words + 1, words)
  local child = assert(core.process(words, true))
  local status, output = child:wait()
  local counts = count(output, totals)
  local from, to = output:find("lunats test: " .. command.NO_MATCH .. "\n", 1, true)
  if from then -- another file may have tests that were asked for
    status, output = 0, output:sub(1, from - 1) .. output:sub(to + 1)
  end
  totals.tested = totals.tested or not from
  if status ~= 0 then totals.failed[#totals.failed + 1] = file end
  print(("%-6s %s: %s (%.1f s)"):format(status == 0 and "ok" or "FAILED", file,
    counts or "exit status " .. status, core.hrtime() - began))
  -- Another reporter than the usual one was asked for because somebody wants to read it.
  if status ~= 0 or not counts then io.stdout:write(output, "\n") end
  io.stdout:flush()
end

---@param jobs integer  files at a time
---@return boolean  whether all have passed
return function(jobs)
  local files, missing = find_files()
  local options = command.read().options
  local totals = { successes = 0, failures = 0, errors = missing, pending = 0, failed = {},
    tested = false }
  local began, next_file, running = core.hrtime(), 1, 0
  local done = core.alarm()
  local function work()
    while next_file <= #files do
      next_file = next_file + 1
      run_one(files[next_file - 1], options, totals)
    end
    running = running - 1
    done:ring()
  end
  for _ = 1, math.min(jobs, #files) do
    running = running + 1
    app.spawn(work)
  end
  while running > 0 do done:sleep(3600) end
  print(("%d files in %.1f s: %d successes / %d failures / %d errors / %d pending"):format(
    #files, core.hrtime() - began, totals.successes, totals.failures, totals.errors,
    totals.pending))
  for _, file in ipairs(totals.failed) do print("failed: " .. file) end
  if #files > 0 and not totals.tested then
    io.stderr:write("lunats test: ", command.NO_MATCH, "\n")
  end
  return #totals.failed == 0 and missing == 0 and totals.tested
end
