---Checks of arguments. `what` names the function in errors, which blame the caller of the
---function that checks; with `level` 2 its caller, and so on.
local M = {}

local function blame(level, text, ...) error(text:format(...), (level or 1) + 3) end

function M.fn(what, value, level)
  if type(value) ~= "function" then
    blame(level, "%s: a function expected, got %s", what, type(value))
  end
end

function M.table(what, value, level)
  if type(value) ~= "table" then
    blame(level, "%s: a table expected, got %s", what, type(value))
  end
end

---An integer from `least` on, up to `most` where that is given; nil passes.
function M.whole(what, name, value, least, most, level)
  if value == nil
    or math.type(value) == "integer" and value >= least and value <= (most or value) then
    return
  end
  local range = most and ("from %d to %d"):format(least, most) or ("%d or more"):format(least)
  blame(level, "%s: %s must be a whole number%s %s", what, name, most and "" or ",", range)
end

---A time, 0 or more; nil passes.
function M.seconds(what, name, value, level)
  if value == nil then return end
  if type(value) == "number" and value >= 0 and value < math.huge then return end
  blame(level, "%s: %s must be a number of seconds, 0 or more", what, name)
end

---For functions without options: what they would ignore is a mistake.
---@param hint string|nil what the caller may have meant
function M.no_options(what, opts, hint)
  if opts ~= nil then blame(1, "%s takes no options%s", what, hint and ": " .. hint or "") end
end

return M
