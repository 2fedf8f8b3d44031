---Waits until a function returns a true value, and returns that; an error after 40 s: a
---deadline for slow machines under load, not a duration.
---@param what string  for the message of the error
---@param fn function
---@param timeout number|nil
return function(what, fn, timeout)
  local deadline = app.now() + (timeout or 40)
  while true do
    local result = fn()
    if result then return result end
    if app.now() > deadline then
      error(("waited in vain for %s"):format(type(what) == "function" and what() or what), 2)
    end
    app.sleep(0.005)
  end
end
