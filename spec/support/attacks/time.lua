---Attacks that do not let go of the processor.
local ENDED = "ID[^\n]*ended after [%d.]+ s without a wait: its slice is [%d.]+ s"
local FATE = "ended after its slice"

local function handler(name, id, body)
  return { name = name, id = id, body = body, told = ENDED, fate = FATE }
end

return {
  handler("endless loop", "loop", "while true do end"),
  handler("endless loop around `pcall`", "pcall", "while true do pcall(spin) end"),
  handler("endless loop of coroutines", "coroutine",
    "while true do pcall(coroutine.wrap(spin)) end"),
  handler("endless `__index`", "index", "return setmetatable({}, { __index = spin }).x"),
  handler("endless `__eq`", "eq",
    "local m = { __eq = spin } return setmetatable({}, m) == setmetatable({}, m)"),
  handler("endless `__lt`", "lt",
    "local m = { __lt = spin } return setmetatable({}, m) < setmetatable({}, m)"),
  handler("endless `__concat`", "concat", "return setmetatable({}, { __concat = spin }) .. ''"),
  handler("endless `__len`", "len", "return #setmetatable({}, { __len = spin })"),
  handler("endless iterator", "iterator", "for _ in function() return 1 end do end"),
  handler("endless comparison in `table.sort`", "sort", "table.sort({ 3, 2, 1 }, spin)"),
  handler("endless callback of `string.gsub`", "gsub", "return (('x'):gsub('x', spin))"),
  handler("endless `__close`", "close",
    "local _ <close> = setmetatable({}, { __close = spin }) return 1"),
  { name = "endless `__gc`", id = "gc",
    body = "setmetatable({}, { __gc = spin }) collectgarbage() return 'done'",
    told = "error in __gc %([^\n]*: ended after [%d.]+ s without a wait",
    fate = "the finalizer is ended, the handler goes on" },
  { name = "endless message handler of `xpcall`", id = "xpcall", told = ENDED,
    body = "xpcall(error, spin, 'x') spin()",
    fate = "ended after its slice, again in 200 handlers of handlers: some seconds" },
  handler("endless debug hook", "hook", "debug.sethook(spin, '', 1) return 1"),
  handler("endless loop that takes hooks away", "unhook", "while true do debug.sethook() end"),
  handler("endless loop during `require`", "require",
    "package.preload.spin = spin require 'spin'"),
  { name = "endless timer, ten times a second", id = "tick", own = true,
    script = [[
      app.timer(0.1, { name = "tick" }, function() while true do pcall(spin) end end)]],
    told = "timer " .. ENDED, fate = "each tick is ended after its slice" },
  { name = "endless task that starts again", id = "again", own = true,
    script = [[app.task({ name = "again", restart = "on_error" }, spin)]],
    told = "task " .. ENDED, fate = "each run is ended after its slice" },
  { name = "a hundred fibers that compute and sleep for no time", id = "crowd", own = true,
    script = [[
      app.on_start(function()
        for _ = 1, 100 do
          app.spawn(function()
            while true do
              local till = os.clock() + 0.03
              while os.clock() < till do end
              app.sleep(0)
            end
          end)
        end
      end)]],
    fate = "takes turns with others" },
  { name = "`app.spawn` of what calls `app.spawn`", id = "chain", own = true,
    script = [[
      local function go() app.spawn(go) end
      app.on_start(function() app.spawn(go) end)]],
    fate = "takes turns with others" },
  { name = "pattern that takes years", id = "pattern", own = true,
    body = [[ return ("a"):rep(200):find(("a?"):rep(100) .. ("a"):rep(201)) ]],
    options = { "--stall-exit", "3" }, status = 4,
    told = "listener pattern[^\n]* has held the loop for [%d.]+ s, in a function in C, which "
      .. "nothing can end",
    fate = "cannot be ended, the log tells; `--stall-exit` ends the process" },
}
