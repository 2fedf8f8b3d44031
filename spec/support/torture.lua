-- A service that calls every declared function with every kind of wrong argument, in every
-- stage of its life, and prints what no script should get to see. With the global `allow` of
-- spec/unit/allocation_test.c it needs no server, and memory runs out in the middle of calls.
local allow = rawget(_G, "allow")
local declarations = require "spec.support.declarations"

local SEED = tonumber(os.getenv "LN_TORTURE_SEED") or 1
local CALLS = (tonumber(os.getenv "LN_TORTURE") or 1) * 60 -- in each stage

math.randomseed(SEED)
print("seed " .. SEED)
local STRESS = os.getenv "LN_GC_STRESS" == "1"
if STRESS then collectgarbage("incremental", 1, 1000, 1) end
if not allow then app.config { name = "torture" } end

local random = math.random
local function pick(list) return list[random(#list)] end

-- ---- complaints ------------------------------------------------------------------

local HOSTILE = "hostile"

local complaints = 0

local function complain(where, text)
  text = text:gsub("[^\n\x20-\x7e]", "?"):sub(1, 300)
  complaints = complaints + 1
  print("COMPLAINT " .. where .. ": " .. text)
end

---@return string|nil what is wrong with an error
local function fault_of(name, text)
  if text:find(HOSTILE, 1, true) then return nil end
  if text:find "^lunats/" then return "blames lunats: " .. text end
  local number, of = text:match "bad argument #(%-?%d+) to '([^']+)'"
  if number and tonumber(number) < 1 then return "no such argument: " .. text end
  -- string.rep and next were called by whoever was given them.
  local theirs = of and of:find "^string%."
    or text:find("table expected, got no value", 1, true)
  if theirs then return nil end
  if of == "?" or of and of:match "[^.:]+$" ~= name then return "argument of what: " .. text end
  if text:find "attempt to %l+ a%l* %l+ value" and not text:find "torture%.lua" then
    return "unchecked: " .. text
  end
end

local function check_results(where, name, ok, first, second)
  if not ok then
    local text = type(first) == "string" and first or nil
    if type(first) == "table" and type(first.message) == "string" then text = first.message end
    if text then
      local fault = fault_of(name, text)
      if fault then complain(where, fault) end
    end
  elseif first == nil and second ~= nil then
    if type(second) ~= "table" or type(second.code) ~= "string" then
      complain(where, "fails without a code: " .. tostring(second))
    elseif fault_of(name, second.message) then
      complain(where, second.message)
    end
  end
end

-- ---- wrong arguments -------------------------------------------------------------

local function hostile() error(HOSTILE) end

local function with(meta) return setmetatable({}, meta) end

local cyclic = {}
cyclic.self, cyclic[1] = cyclic, cyclic
local deep = {}
for _ = 1, 300 do deep = { deep } end
local large = {}
for i = 1, 2000 do large[i], large["k" .. i] = i, i end
local closed = assert(io.tmpfile())
closed:close()
local dead = coroutine.create(function() end)
coroutine.resume(dead)
local resting = coroutine.create(coroutine.yield)
coroutine.resume(resting)

local objects = {} -- what functions have returned, and what was made for them

---Values of which each is made anew, so that what is done to it does not count for the next.
local VALUES = {
  function() return nil end,
  function() return random(2) == 1 end,
  function() return pick { 0, 1, -1, 2, 255, 65536, 1 << 31, 1 << 53, math.maxinteger,
    math.mininteger } end,
  function() return pick { 0.0, -0.0, 0.5, -0.5, 1e-9, 1e15, 2^53, 2^63, 1e308, -1e308,
    math.huge, -math.huge, 0 / 0 } end,
  function() return pick { "", "a", "a b", "*", ">", "a.>", ".", "a..b", "\0", "a\0b",
    "\xff\xfe", "$JS.API.>", "_INBOX.x", "a\r\nPUB x 0\r\n", "1", "-1", "0x10", "nan", "%s%n",
    "\u{202e}x" } end,
  function() return ("x"):rep(pick { 300, 70000, 1200000 }) end,
  function() return {} end,
  function() return pick { { 1, 2, 3 }, { "a", "b" }, { nil, 2 }, { a = 1 }, { [1.5] = 1 },
    { [true] = false }, { "a", b = 1 } } end,
  function() return pick { cyclic, deep, large } end,
  function() return with { __index = hostile, __len = hostile, __tostring = hostile,
    __pairs = hostile, __newindex = hostile, __eq = hostile, __lt = hostile, __concat = hostile,
    __unm = hostile, __call = hostile, __close = hostile, __name = HOSTILE } end,
  function() return with { __index = function() coroutine.yield() end,
    __len = function() app.sleep(0) return 1 end, __tostring = function() coroutine.yield() end,
    __pairs = function() app.sleep(0) end } end,
  function() return with { __len = function() return pick { -1, 1 << 62, 0.5, "x" } end,
    __tostring = function() return pick { 1, {}, false } end, __name = 1, __metatable = false,
    __index = function(t, key) return type(key) == "string" and t or nil end,
    __pairs = function() return next, {}, nil end } end,
  function() return with { __gc = hostile, __close = hostile,
    __call = function() return 1, 2 end, __index = function(_, key)
      return type(key) == "string" and key or nil
    end } end,
  function() return hostile end,
  function() return function(...) return ... end end,
  function() return function() app.sleep(0) end end,
  function() return function() coroutine.yield(1) end end,
  function() return function() collectgarbage() end end,
  function() return pick { string.rep, print, app.sleep, app.now, next, coroutine.yield } end,
  function() return pick { dead, resting, coroutine.create(print), (coroutine.running()) } end,
  function() return pick { io.stdout, closed, app.json.null } end,
  function() return pick(objects) end,
  function() return pick(objects) end,
}

local function wrong() return pick(VALUES)() end

-- ---- what runs in the middle of a call -----------------------------------------------

local call_any -- below
local STOPS = { "stop", "close", "cancel", "drain", "commit", "discard", "__gc", "__close" }
local given = {} -- the tables that are arguments of calls under way
local depth = 0

local ACTS = {
  collectgarbage,
  function() app.json.encode { other = ("y"):rep(9000), list = { 1, 2, 3 } } end,
  function()
    for _, t in ipairs(given) do
      for key in next, t do t[key] = nil end
    end
    collectgarbage()
  end,
  function()
    for _, t in ipairs(given) do
      for i = 1, 50 do t["more" .. i] = { i } end
    end
  end,
  function()
    local object = pick(objects)
    local meta = debug.getmetatable(object)
    local methods = meta and meta.__index
    if type(methods) ~= "table" then methods = meta end
    local name = pick(STOPS)
    if type(methods) == "table" and rawget(methods, name) then methods[name](object) end
    collectgarbage()
  end,
  function(stage) call_any(stage) end,
  function(stage) call_any(stage) end,
}

---What a metamethod or a finalizer may do to the call in which it runs.
local function act(stage)
  if depth > 2 then return end
  depth = depth + 1
  pcall(pick(ACTS), stage)
  depth = depth - 1
end

---A finalizer that does it runs as soon as Lua is asked for memory.
local function disturb(stage)
  if STRESS or random(3) > 1 then return end
  collectgarbage "generational"
  collectgarbage "stop"
  pcall(setmetatable, {}, { __gc = function() act(stage) end })
  collectgarbage "restart"
end

---The same options, some of them by a metamethod.
local function hide(opts, stage)
  local hidden = {}
  for name in pairs(opts) do
    if random(2) == 1 then hidden[name] = opts[name] end
  end
  for name in pairs(hidden) do opts[name] = nil end
  return setmetatable(opts, { __index = function(_, name)
    act(stage)
    return hidden[name]
  end })
end

local SUBJECTS = { "torture.a", "torture.b", "torture.stored.a", "torture.stored.b" }

---@return table opts some of them right, some of them wrong
local function options(names)
  local opts = {}
  for _, name in ipairs(names) do
    local chance = random(6)
    if chance == 1 then opts[name] = wrong() end
    if chance == 2 then
      opts[name] = pick { 1, 0.01, "torture", true, false, {}, { "a" }, function() end }
    end
  end
  return opts
end

local names_of = {} -- of options, by the type of the parameter

local function right(param, owner, stage)
  local name, kind = param.name, param.type
  if declarations.is_options(param) then
    if not names_of[kind] then
      names_of[kind] = {}
      for option in pairs(declarations.options(kind)) do
        if option ~= "[string]" then table.insert(names_of[kind], option) end
      end
      table.sort(names_of[kind])
    end
    local opts = options(names_of[kind])
    given[#given + 1] = opts
    return random(4) == 1 and hide(opts, stage) or opts
  end
  if kind:find "^fun%(" then return function(...) return ... end end
  if name == "subject" or name == "to" then return pick(SUBJECTS) end
  if name == "prefix" then return "torture" end
  if name == "stream" or name == "name" and owner == "js" then
    return pick { "TORTURE", "NONE" }
  end
  if name == "timeout" or name == "seconds" or name == "interval" then return 0.01 end
  if kind:find "^integer" or kind:find "^number" then return random(3) end
  if kind:find "^boolean" then return true end
  if kind:find "^table" then
    local t = { a = 1 }
    given[#given + 1] = t
    return random(4) == 1 and hide(t, stage) or t
  end
  return pick { "a", "torture", '{"a":1}' }
end

local function arguments(params, owner, stage)
  local args = { n = #params }
  local broken = random(0, #params + 1)
  for i, param in ipairs(params) do
    local is_wrong = i == broken or random(8) == 1
    if is_wrong then args[i] = wrong() else args[i] = right(param, owner, stage) end
  end
  if random(10) == 1 then args.n = random(0, #params) end
  if random(10) == 1 then
    args.n = args.n + 1
    args[args.n] = wrong()
  end
  return args
end

-- ---- calls -----------------------------------------------------------------------

local owners = {} -- by their names in the declarations

---Calls as scripts do, so that errors know the name of the function.
local callers = {}
local function caller(name, method)
  local key = name .. tostring(method)
  callers[key] = callers[key] or load(([[
    local o, args = ...
    local results = table.pack(o%s%s(table.unpack(args, 1, args.n)))
    return table.unpack(results, 1, results.n)]]):format(method and ":" or ".", name),
    "=torture.lua")
  return callers[key]
end

local function keep(value)
  if type(value) ~= "table" and type(value) ~= "userdata" then return end
  if #objects > 200 then
    local old = table.remove(objects, random(#objects))
    local meta = debug.getmetatable(old)
    if meta and type(meta.__index) == "table" and rawget(meta.__index, "stop") then
      pcall(meta.__index.stop, old)
    end
  end
  objects[#objects + 1] = value
end

local FUNCTIONS = declarations.functions()

local plenty <const> = setmetatable({}, { __close = function() allow() end })

---Gives the call little memory, where that can be done.
---@return boolean ok, any first, any second
local function starved(fn, ...)
  if not allow then return pcall(fn, ...) end
  local _ <close> = plenty
  allow(random(0, pick { 5, 50, 500 }))
  local ok, first, second = pcall(fn, ...) -- into variables, which need no memory
  return ok, first, second
end

local function call_declared(stage)
  local fn = pick(FUNCTIONS)
  local owner = owners[fn.owner]
  if owner == nil then return end
  if depth == 0 then given = {} end
  local args, target = arguments(fn.params, fn.owner, stage), owner
  if fn.name == "on_start" and type(args[1]) == "function" then return end -- which would fail
  local method = fn.method
  if method and random(6) == 1 then -- another self
    method, args.n = false, args.n + 1
    table.insert(args, 1, wrong())
    target = debug.getmetatable(owner)
    target = target and target.__index
    if type(target) ~= "table" or not rawget(target, fn.name) then return end
  end
  local where = ("%s, %s.%s"):format(stage, fn.owner, fn.name)
  local call = caller(fn.name, method)
  disturb(stage)
  local ok, first, second = starved(call, target, args)
  check_results(where, fn.name, ok, first, second)
  keep(first)
end

---Metamethods can be had by getmetatable().
local function call_meta(stage)
  local meta = debug.getmetatable(pick(objects))
  if not meta then return end
  local names = {}
  for name, fn in next, meta do
    if type(fn) == "function" then names[#names + 1] = tostring(name) end
  end
  if #names == 0 then return end
  table.sort(names)
  local fn = meta[pick(names)]
  local self, first, second = random(3) > 1 and pick(objects) or wrong(), wrong(), wrong()
  disturb(stage)
  starved(fn, self, first, second)
end

function call_any(stage)
  if random(12) == 1 then call_meta(stage) else call_declared(stage) end
end

local function finished(stage) print("stage " .. stage) end

---Where a call could wait for ever it gets a moment.
local function bounded(stage) app.timeout(0.02, call_any, stage) end

local function burst(stage, call)
  for _ = 1, CALLS do
    pcall(call or call_any, stage)
    if allow then allow() end -- the call may still wait
  end
end

-- ---- what functions belong to ------------------------------------------------------

local TABLES = { app = app, ["app.log"] = app.log, ["app.crypto"] = app.crypto,
  ["app.nats"] = app.nats, ["app.metrics"] = app.metrics, json = app.json, js = app.js,
  ["app.http"] = app.http, ["app.thread"] = app.thread, tcp = app.tcp }
for name, value in pairs(TABLES) do owners[name] = value end

local function metric(kind)
  local ending = kind == "counter" and "_total" or ""
  return app.metrics[kind] { name = "torture_" .. kind .. ending, help = "x", labels = { "a" } }
end
owners.metric_counter, owners.metric_gauge = metric "counter", metric "gauge"
owners.metric_histogram = metric "histogram"
owners.group, owners.mutex = app.group "torture", app.mutex()
owners.cache = app.cache "torture"
owners.periodic = app.timer(1e3, function() end)
owners.thread = app.thread.open "string"

local function add_objects()
  for name, owner in pairs(owners) do
    if not TABLES[name] then objects[#objects + 1] = owner end
  end
end

---What needs the server.
local function open_all()
  local js = app.js
  owners.fiber = app.spawn(function() end)
  owners.batch, owners.counter = js.batch(), js.counter "torture.count"
  assert(js.add_stream { name = "TORTURE", storage = "memory", max_msgs = 100,
    subjects = { "torture.stored.>" } })
  owners.dead_letters = assert(js.dead_letters "TORTURE")
  owners.kv = assert(js.create_key_value { bucket = "TORTURE", storage = "memory" })
  owners.store = assert(js.create_object_store { bucket = "TORTURE", storage = "memory" })
  owners.watch = assert(owners.kv:watch(function() end))
  owners.psub = js.pull_subscribe("torture.stored.a", { stream = "TORTURE", durable = "d" })
  local other = js.pull_subscribe("torture.stored.b", { stream = "TORTURE" })
  owners.consume = assert(other:consume(function() end))
  owners.subscription = assert(js.subscribe("torture.stored.>", { stream = "TORTURE",
    ordered = true }, function() end))
  owners.future = assert(js.publish_async("torture.stored.a", "x"))
  owners.stored_msg = assert(js.get_msg("TORTURE", { last_by_subject = "torture.stored.a" }))
  owners.msg = assert(owners.psub:fetch(1))[1]
  owners.connection = assert(app.connect { server = os.getenv "NATS_URL" })
  local host, port = os.getenv "NATS_URL":match "@?([%d.]+):(%d+)$"
  owners.socket = assert(app.tcp.connect(host, tonumber(port)))
  owners.leader = app.leader("torture", function() app.sleep(1e3) end)
  owners.cron_job = app.cron("0 0 1 1 *", function() end)
  objects[#objects + 1] = select(2, app.request("torture.nobody", "x"))
  add_objects()
end

-- ---- the stages --------------------------------------------------------------------

add_objects()
if allow then
  owners.fiber = app.spawn(function() end)
  owners.connection = app.connect { server = "nats://127.0.0.1:1", retry = true }
  owners.js = owners.connection.js
  owners.listener = owners.connection.listen("torture.a", function() end)
  add_objects()
  burst("offline", bounded)
  table.sort({ 1, 2 }, function() burst "offline" return false end) -- where nothing can wait
  finished "offline"
  if complaints > 0 then os.exit(3) end
  return
end
owners.listener = app.listen("torture.a", function(msg) return msg.raw end)
owners.route = app.http.get("/torture", function() return 1 end)
burst "top level"

app.on_start(function()
  open_all()
  burst("on_start", bounded)
end)

app.listen("torture.go", function()
  burst("handler", bounded)
  finished "handler"
  return true
end)

local STAGES = {
  { "coroutine", function(stage)
    coroutine.wrap(function() burst(stage, bounded) end)()
  end },
  { "finalizer", function(stage)
    setmetatable({}, { __gc = function() burst(stage) end })
    collectgarbage()
    collectgarbage()
  end },
  { "__close", function(stage)
    local _ <close> = setmetatable({}, { __close = function() burst(stage, bounded) end })
  end },
  { "message handler", function(stage)
    xpcall(error, function() burst(stage) end)
  end },
  { "metamethod", function(stage)
    return setmetatable({}, { __index = function() burst(stage, bounded) end }).x
  end },
  { "sort", function(stage)
    table.sort({ 1, 2 }, function() burst(stage) return false end)
  end },
  { "cancelled", function(stage)
    local f
    f = app.spawn(function()
      app.sleep(0)
      f:cancel()
      burst(stage)
    end)
    f:await(60)
  end },
}

app.task(function()
  objects[#objects + 1] = app.request("torture.a", "x")
  finished "start"
  for _, stage in ipairs(STAGES) do
    stage[2](stage[1])
    finished(stage[1])
  end
  app.request("torture.go", "", { timeout = 120 })
  local done
  local timer = app.timer(1e3, function()
    if done then return end
    burst("timer", bounded)
    done = true
  end)
  for _ = 1, 2000 do
    if done then break end
    app.sleep(0.05)
  end
  timer:stop()
  finished "timer"
  os.exit(0)
end)

app.on_stop(function()
  burst("on_stop", bounded)
  finished "on_stop"
end)

-- The last of all: when the state is closed.
app.state.last = setmetatable({}, { __gc = function()
  burst "end"
  finished "end"
end })
