---Attacks that want more and more of something.
local FULL = "ID[^\n]*not enough memory: [^\n]* would exceed the %d+%.0 MiB of "
local FIBERS = "listener ID[^\n]*cannot start a fiber: "
local SLICE = "listener ID[^\n]*ended after [%d.]+ s without a wait: its slice is [%d.]+ s"

local function handler(name, id, body)
  return { name = name, id = id, body = body, told = FULL, fate = "fails: not enough memory" }
end

---What it has got stays, so the service is full.
local function stays(row)
  row.own, row.silent = true, true
  return row
end

return {
  handler("`string.rep` of a gigabyte", "rep", "return #('x'):rep(2 ^ 30 // 1)"),
  handler("concatenation without end", "concat",
    "local s = 'xxxxx' while true do s = s .. s end"),
  handler("`table.concat` of a gigabyte", "join",
    "local t, s = {}, ('x'):rep(2 ^ 20 // 1) for i = 1, 1000 do t[i] = s end "
    .. "return #table.concat(t)"),
  handler("tables in tables without end", "list", "local t while true do t = { t } end"),
  handler("coroutines without end", "coroutines",
    "local t = {} while true do t[#t + 1] = coroutine.create(print) end"),
  handler("reply of a gigabyte of JSON", "json",
    "local t, s = {}, ('x'):rep(2 ^ 20 // 1) for i = 1, 1000 do t[i] = s end return t"),
  { name = "reply larger than the server takes", id = "reply",
    body = "return ('x'):rep(2000000)",
    told = "listener ID[^\n]*the reply of 2000000 bytes was not sent: more than the server",
    fate = "is not sent, whoever asked gets an error" },
  { name = "labels of a metric without end", id = "labels",
    body = [[
  local c = app.metrics.counter { name = "attacks_total", help = "Attacks", labels = { "id" } }
  for i = 1, 3000 do c:inc { id = i } end
  return "done" ]],
    told = "metric attacks_total: more than 1000 sets of labels",
    fate = "1000 of them count, the log tells" },
  stays(handler("table that grows for ever", "grow",
    "while true do kept[#kept + 1] = { #kept } end")),
  stays { name = "`app.spawn` without end", id = "spawn",
    body = "while true do app.spawn(never) end", told = FIBERS,
    fate = "`app.spawn` raises at `limits.fibers`, or three quarters of the memory" },
  stays { name = "`app.request` without end, never awaited", id = "requests",
    body = "while true do app.spawn(app.request, 'PREFIX.never', '', { timeout = 3600 }) end",
    told = FIBERS, fate = "as `app.spawn`" },
  stays { name = "`app.timer` without end", id = "timers", memory = "8M",
    body = "while true do app.timer(3600, never) app.sleep(0) end", told = FULL,
    fate = "`app.timer` raises: not enough memory" },
  stays { name = "`app.listen` without end", id = "listeners", memory = "4M",
    body = [[
  local n = 0
  while true do
    n = n + 1
    app.listen("PREFIX.x." .. n, never)
    if n % 100 == 0 then app.sleep(0) end
  end ]],
    told = "listener ID[^\n]*cannot listen: more than three quarters of the 4.0 MiB",
    fate = "`app.listen` raises at three quarters of the memory" },
  stays { name = "`kv:watch` without end", id = "watches", memory = "4M",
    after = function(prefix) app.js.delete_key_value(prefix) end,
    body = [[
  local kv = assert(app.js.create_key_value { bucket = "PREFIX", storage = "memory" })
  while true do kept[#kept + 1] = assert(kv:watch(never)) end ]],
    told = "not enough memory: [^\n]* of limits.memory [^\n]*listener=ID",
    fate = "`kv:watch` raises: not enough memory" },
  stays { name = "`app.connect` without end", id = "connections", memory = "8M",
    body = [[while true do kept[#kept + 1] = assert(app.connect { server = "SERVER" }) end]],
    told = FULL, fate = "`app.connect` raises: not enough memory" },
  { name = "`app.publish` without end", id = "publish", own = true,
    script = [[
      app.task(function()
        while true do app.publish("PREFIX.nobody", ("x"):rep(10000)) end
      end)]],
    fate = "waits whenever 1 MiB is not written" },
  { name = "`app.publish` without end from many fibers", id = "publishers", own = true,
    script = [[
      app.task(function()
        for _ = 1, 100 do
          app.spawn(function()
            while true do app.publish("PREFIX.nobody", ("x"):rep(10000)) end
          end)
        end
        app.sleep(3600)
      end)]],
    fate = "they wait whenever 1 MiB is not written" },
  { name = "log lines without end", id = "log", own = true,
    body = [[
  local n = 0
  while true do
    n = n + 1
    app.log.warn("line", { n = n % 10 })
  end ]],
    told = SLICE,
    fate = "ended after its slice; the same lines are counted instead" },
  { name = "entries of `app.cache` without end", id = "cache", own = true,
    script = [[
      app.task(function()
        local c, n = app.cache("attack", { max_bytes = 4000000 }), 0
        while true do
          n = n + 1
          c:set("key " .. n, ("x"):rep(100))
          if n % 1000 == 0 then app.sleep(0) end
        end
      end)]],
    fate = "the entries used longest ago go" },
}
