local eventually = require "spec.support.eventually"

---Waits until a service of lunats.testing has logged `count` lines that match; returns the text
---of the last one.
---@param pattern string  of Lua
---@param count integer|nil  1
return function(svc, pattern, count)
  return eventually(("the line %q"):format(pattern), function()
    local lines = svc:logs(pattern)
    return #lines >= (count or 1) and lines[#lines].message
  end)
end
