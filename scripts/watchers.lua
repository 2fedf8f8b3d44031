---app.on_error: functions that are told of each error that is logged of the script's own code.
local core = require "lunats.core"
local check = require "lunats.check"

local M = {
  ---Errors that are being told at once. More are counted and left out.
  most = 16,
}

---Seconds between two lines about errors that were left out.
local TELL_EVERY = 1

local watchers, running = {}, 0
local left_out, told = 0, -math.huge

local function tell_left_out()
  core.log(2, ("app.on_error: %d errors were not told, because %d were being told already")
    :format(left_out, M.most))
  left_out, told = 0, core.hrtime()
end

local ended = setmetatable({}, { __close = function()
  running = running - 1
  if running == 0 and left_out > 0 then tell_left_out() end
end })

---One error after the other to each watcher: one that fails keeps none from being told.
local function run(err, where)
  local _ <close> = ended
  for _, fn in ipairs { table.unpack(watchers) } do
    local ok, caught = core.protect(fn, err, where)
    if core.cancelled() then
      if not ok then error(caught, 0) end
      return
    end
    if not ok then core.report("app.on_error: " .. core.caught(caught)) end
  end
end

---Adds to the facts what the text says.
---@param text string  what the log has
---@param facts table
local function describe(text, facts)
  local at = text:find("\nstack traceback:", 1, true)
  facts.kind = facts.kind or "service"
  facts.message = at and text:sub(1, at - 1) or text
  facts.traceback = at and text:sub(at + 1) or ""
  return facts
end

---Called by the host, in no fiber: it must not wait.
local function on_error(text, err, facts)
  if running == M.most then
    left_out = left_out + 1
    if core.hrtime() - told >= TELL_EVERY then tell_left_out() end
    return
  end
  facts = describe(text, facts)
  if err == nil then err = facts.message end
  core.tell(run, err, facts)
  running = running + 1
end

---@param fn fun(err: any, where: app.where)
function M.add(fn)
  check.fn("app.on_error", fn)
  if #watchers == 0 then core.set_phase("error", on_error) end
  watchers[#watchers + 1] = fn
end

return M
