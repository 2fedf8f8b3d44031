---Catches the errors that the state of the spec reports: they fail nothing, and are not logged.
local core = require "lunats.core"

local M = {}

local report, logged_error, log = core.report, core.logged_error, core.log

-- luacheck: push ignore 122

---@return string[] reports gets them as they come, until release()
function M.catch()
  local reports = {}
  function core.report(text) reports[#reports + 1] = text end
  core.logged_error = core.report
  function core.log(level, ...)
    if level < 3 then log(level, ...) end
  end
  return reports
end

function M.release()
  core.report, core.logged_error, core.log = report, logged_error, log
end

-- luacheck: pop

return M
