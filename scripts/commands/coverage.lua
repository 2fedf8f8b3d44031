---Measures with luacov what a service under test reaches. Hooks belong to threads, and handlers
---have threads of their own: the functions that a script hands over set the hook first.
local runner = require "luacov.runner"

local function covered(fn)
  return function(...)
    debug.sethook(runner.debug_hook, "l")
    return fn(...)
  end
end

local AT = { spawn = 1, timeout = 2 }

---Wraps the function that is the last argument of t[name], or the one AT tells.
local function wrap(t, name)
  local original = t[name]
  t[name] = function(...)
    local args = table.pack(...)
    local last = AT[name] or args.n
    if type(args[last]) == "function" then args[last] = covered(args[last]) end
    return original(table.unpack(args, 1, args.n))
  end
end

return function()
  runner.init()
  for _, name in ipairs { "listen", "timer", "task", "spawn", "timeout", "on_start",
    "on_stop", "on_reload" } do
    wrap(app, name)
  end
  wrap(app.js, "subscribe")
  local pull_subscribe = app.js.pull_subscribe
  app.js.pull_subscribe = function(...) -- luacheck: ignore 122
    local subscription = pull_subscribe(...)
    wrap(subscription, "consume")
    return subscription
  end
end
