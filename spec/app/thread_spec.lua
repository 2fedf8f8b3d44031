-- app.thread: what blocks, in threads with Lua states of their own.
local eventually = require "spec.support.eventually"
local lfs = require "lfs"
local own = require "spec.support.own"
local process = require "spec.support.process"
local testing = require "lunats.testing"

after_each(function()
  own.close()
  process.close_all()
end)

local BLOCKING = [[
  local M, calls = {}, 0
  function M.count() calls = calls + 1 return calls end
  function M.same(...) return ... end
  function M.types(...)
    local list = {}
    for i, value in ipairs { ... } do list[i] = math.type(value) or type(value) end
    return table.concat(list, " ")
  end
  function M.raise(value) error(value) end
  function M.made(what)
    local made = { fn = print, file = io.stdout, thread = coroutine.create(print),
      object = setmetatable({}, {}) }
    return 1, { list = { made[what] } }
  end
  function M.deep(n) local t = {} for _ = 1, n do t = { t } end return t end
  function M.loop() while true do end end
  function M.stubborn() while true do pcall(M.loop) end end
  function M.grow() local t = {} for i = 1, math.huge do t[i] = ("x"):rep(1e6) .. i end end
  function M.touch(path) assert(io.open(path, "w")):close() return true end
  -- Holds its thread, in C, until there is a file, or the test is over.
  function M.wait(path)
    M.touch(path .. ".begun")
    return os.execute("until test -e '" .. path .. "' || ! test -e '" .. path
      .. ".begun'; do sleep 0.01; done")
  end
  function M.require(name) return (require(name)) end
  function M.eval(text) return load(text)() end
  return M
]]

---The folder of a service with modules.
local function project(modules)
  local folder = process.path "d"
  assert(lfs.mkdir(folder))
  for name, text in pairs(modules) do
    local file <close> = assert(io.open(folder .. "/" .. name, "w"))
    file:write(text)
  end
  return folder
end

---A service with the module "blocking" that answers `eval` with what the code returns; has
---`state`, an app.thread.open of it.
local EVAL = [[
  state = app.thread.open "blocking"
  app.listen("%s", function(msg) return { value = assert(load(msg.raw, "=eval"))() } end)
]]

local function start(opts, more)
  local folder = project { ["blocking.lua"] = BLOCKING,
    ["main.lua"] = EVAL:format("spec.thread." .. math.random(1e9)) .. (more or "") }
  local svc = own.keep(testing.start(folder .. "/main.lua", opts))
  svc.folder = folder
  return svc
end

local function subject(svc)
  local file <close> = assert(io.open(svc.folder .. "/main.lua"))
  return file:read "a":match 'listen%("([^"]+)"'
end

local function eval(svc, code, timeout)
  return svc:request(subject(svc), code, { timeout = timeout or 20 })
end

local function data(svc, code) return assert(eval(svc, code)).data.value end

local function exists(path) return lfs.attributes(path) ~= nil end

local function touch(path) assert(io.open(path, "w")):close() end

describe("app.thread", function()
  it("copies arguments and results", function()
    local svc = start()
    assert.same("nil", data(svc, [[
      local results = table.pack(app.thread("blocking", "same", nil, true, 1, 1.0, "a\0b",
        app.json.null, { 1, 2, { x = { y = false } } }, app.json.array(), app.json.object(),
        nil))
      assert(results.n == 10 and results[1] == nil and results[2] == true)
      assert(math.type(results[3]) == "integer" and math.type(results[4]) == "float")
      assert(results[5] == "a\0b" and results[6] == app.json.null)
      assert(results[7][2] == 2 and results[7][3].x.y == false)
      assert(app.json.encode(results[8]) == "[]" and app.json.encode(results[9]) == "{}")
      assert(select("#", app.thread("blocking", "same")) == 0)
      return type(results[10])
    ]]))
    assert.same("integer float string userdata table",
      data(svc, 'return app.thread("blocking", "types", 1, 1.5, "x", app.json.null, {})'))
    assert.same(2e6, data(svc, 'return #app.thread("blocking", "same", ("x"):rep(2e6))'))
  end)

  for what, text in pairs { fn = "function", file = "userdata", thread = "thread",
    object = "table with a metatable" } do
    it("refuses a " .. text, function()
      local svc = start()
      assert.same("blocking.made: result 2.list[1]: cannot copy a " .. text, data(svc,
        ('local r, err = app.thread("blocking", "made", "%s") assert(r == nil and err.code == '
          .. '"thread_error") return err.message'):format(what)))
    end)
  end

  it("raises for an argument that cannot be copied, and says where it is", function()
    local svc = start()
    for code, text in pairs {
      ['app.thread("blocking", "same", 1, { a = { print } })'] =
        "eval:1: app.thread: argument 2.a[1]: cannot copy a function",
      ['state:call("same", io.stdout)'] = "eval:1: t:call: argument 1: cannot copy a userdata",
      ['local t = {} t.t = { t } app.thread("blocking", "same", t)'] =
        "eval:1: app.thread: argument 1.t[1]: the table is inside of itself",
      ['app.thread("blocking")'] =
        "eval:1: app.thread: function must be the name of a function",
      ['app.thread(nil, "f")'] = "eval:1: app.thread: module must be the name of a module",
      ['app.thread.open()'] = "eval:1: app.thread.open: module must be the name of a module",
      ['state:call(1)'] = "eval:1: t:call: function must be the name of a function",
      ['state.call("same")'] =
        "eval:1: t:call: called without its object; write t:call(...), with a colon",
    } do
      assert.same(text,
        data(svc, ("local ok, err = pcall(function() %s end) return err"):format(code)))
    end
    assert.same("1 more than 100 tables are inside of each other", data(svc, [[
      local r, err = app.thread("blocking", "deep", 100)
      return #app.thread("blocking", "deep", 99) .. err.message:match " more than .*"
    ]]))
  end)

  it("runs while the service goes on, each call in a thread of its own", function()
    local svc = start()
    local gate = process.path "gate"
    assert.same("done", data(svc, ([[
      local waiting = {}
      for i = 1, 4 do waiting[i] = app.spawn(app.thread, "blocking", "wait", "%s") end
      local more = app.spawn(app.thread, "blocking", "same", "done")
      repeat local _, err = more:await(0.05) until err.code == "timeout" -- all four are taken
      assert(state:call("touch", "%s")) -- this one has its own
      for _, f in ipairs(waiting) do assert(f:await() == true) end
      return more:await()
    ]]):format(gate, gate)))
  end)

  it("keeps the state of a handle, and calls one after the other", function()
    local svc = start()
    assert.same(5, data(svc, 'for i = 1, 4 do assert(state:call "count" == i) end '
      .. 'return state:call "count"'))
    assert.same("1 2 3", data(svc, [[
      local t, list, fibers = app.thread.open "blocking", {}, {}
      for i = 1, 3 do fibers[i] = app.spawn(function() list[i] = t:call "count" end) end
      for i = 1, 3 do fibers[i]:await() end
      return table.concat(list, " ")
    ]]))
  end)

  it("closes a handle after the calls before it", function()
    local svc = start()
    local gate = process.path "gate"
    assert.same("true true", data(svc, ([[
      local t <close> = app.thread.open "blocking"
      local first = app.spawn(function() return t:call("wait", "%s") end)
      app.sleep(0)
      local closing = app.spawn(function() return t:close() end)
      app.sleep(0)
      local r, err = t:call "count"
      assert(r == nil and err.code == "closed" and err.message == "the thread is closed")
      assert(app.thread("blocking", "touch", "%s"))
      assert(t:close())
      local done, closed = first:await(), closing:await()
      assert(select(2, t:call "count").code == "closed" and t:close())
      return tostring(done) .. " " .. tostring(closed)
    ]]):format(gate, gate)))
  end)

  it("tells what a function raises", function()
    local svc = start()
    assert.same("ok", data(svc, [[
      local r, err = app.thread("blocking", "raise", "a text")
      assert(r == nil and err.code == "thread_error" and err.value == nil)
      assert(err.message:find "blocking%.lua:%d+: a text$", err.message)
      assert(err.traceback:find "in function 'blocking%.raise'", err.traceback)
      r, err = app.thread("blocking", "raise", { code = 404, message = "no such",
        list = { 1 } })
      assert(err.message == "no such" and err.value.code == 404 and err.value.list[1] == 1)
      r, err = app.thread("no_such", "x")
      assert(err.message:find "^module 'no_such' not found", err.message)
      r, err = app.thread("blocking", "no_such")
      assert(err.message == "module 'blocking' has no function 'no_such'")
      r, err = app.thread("blocking", "require", "lunats.core")
      assert(err.message:find "has only its arguments")
      r, err = app.thread("blocking", "eval", "os.exit(0)")
      assert(err.message:find "os.exit is not available in a thread")
      return "ok"
    ]]))
  end)

  it("answers for a module that fails to load, and finds it once it is mended", function()
    local folder = project { ["main.lua"] = "app.listen('spec.thread.mend', function() "
      .. "return app.thread('late', 'f') end)", ["late.lua"] = "return {" }
    local svc = own.keep(testing.start(folder .. "/main.lua", {}))
    local _, err = svc:request "spec.thread.mend"
    assert.matches("error loading module 'late'", err.message)
    local file <close> = assert(io.open(folder .. "/late.lua", "w"))
    file:write "return { f = function() return { 'mended' } end }"
    file:flush()
    assert.same({ "mended" }, assert(svc:request "spec.thread.mend").data)
  end)

  it("logs what a thread warns of", function()
    local svc = start()
    data(svc, [[app.thread("blocking", "eval", "warn('@on') warn('take ', 'care')")]])
    eventually("the warning", function() return #svc:logs "app.thread: take care" == 1 end)
  end)

  for _, name in ipairs { "loop", "stubborn" } do
    it("ends the function '" .. name .. "' when nobody waits for it any more", function()
      local svc = start()
      assert.same("timeout 1", data(svc, ([[
        state:call "count"
        local ok, err = app.timeout(0.1, state.call, state, "%s")
        return err.code .. " " .. state:call "count" -- of a new state
      ]]):format(name)))
    end)
  end

  it("does not begin what was cancelled before its turn", function()
    local svc = start()
    local gate = process.path "gate"
    assert.same("1", data(svc, ([[
      local holds = app.spawn(function() return state:call("wait", "%s") end)
      app.sleep(0)
      local waits = app.spawn(function() return state:call "count" end)
      app.sleep(0)
      waits:cancel()
      assert(select(2, waits:await()).code == "cancelled")
      app.thread("blocking", "touch", "%s")
      holds:await()
      return tostring(state:call "count")
    ]]):format(gate, gate)))
  end)

  it("raises where nothing can wait", function()
    assert.error_matches(function() testing.start 'app.thread("blocking", "count")\n' end,
      "app.thread")
  end)

  it("is not available with --libs safe", function()
    for _, code in ipairs { 'app.thread("blocking", "count")', 'app.thread.open "blocking"' } do
      assert.error_matches(function() testing.start(code .. "\n", { libs = "safe" }) end,
        "service.lua:1: app.thread%S* is not available with %-%-libs safe")
    end
  end)

  it("may have the memory that the service leaves", function()
    local svc = start({}, "app.config { limits = { memory = 30e6 } }\n")
    assert.same("no_memory not enough memory for blocking.grow in its thread", data(svc, [[
      local _, err = app.thread("blocking", "grow")
      return err.code .. " " .. err.message
    ]]))
    assert.same(1, data(svc, [[return (app.thread("blocking", "same", 1))]]))
  end)
end)

describe("app.thread, where it could take what there is not,", function()
  it("copies a list with holes in the memory that it needs, whatever its length", function()
    local svc = start({}, "app.config { limits = { memory = 30e6 } }\n")
    assert.same(2 ^ 28, data(svc, [[
      local list = require "spec.support.lying_list"(1 << 28)
      local same = assert(app.thread("blocking", "same", list))
      for key, value in pairs(list) do assert(same[key] == value) end
      return #list]]))
  end)

  it("ends with the script, in finalizers of which it is closed", function()
    local svc = start({}, [[
      local state = app.thread.open "blocking"
      setmetatable({}, { __gc = function()
        assert(state:close())
        assert(not pcall(state.call, state, "count"))
        assert(not pcall(app.thread, "blocking", "count"))
      end })
      local older
      older = setmetatable({}, { __gc = function() assert(older.state:close()) end })
      older.state = app.thread.open "blocking"
    ]])
    assert.equal(0, svc:stop())
    assert.same({}, svc:errors())
  end)
end)

describe("a call of app.thread", function()
  local function holding(svc, gate)
    svc:publish(subject(svc), ('return app.thread("blocking", "wait", "%s")'):format(gate))
    eventually("its begin", function() return exists(gate .. ".begun") end)
  end

  it("is finished by the version that has begun it", function()
    local svc = start()
    local gate = process.path "gate"
    local answer = app.spawn(eval, svc,
      ('return app.thread("blocking", "wait", "%s")'):format(gate))
    eventually("its begin", function() return exists(gate .. ".begun") end)
    assert(svc:reload())
    assert.same(1, data(svc, 'return state:call "count"'))
    touch(gate)
    assert.is_true(assert(answer:await()).data.value)
  end)

  it("does not keep a service from stopping", function()
    local svc = start { drain_timeout = 0.1 }
    local gate = process.path "gate"
    holding(svc, gate)
    svc:stop()
    assert.is_false(exists(gate))
    touch(gate)
  end)

  it("does not keep the process: what does not end is named", function()
    local folder, gate = project { ["blocking.lua"] = BLOCKING }, process.path "gate"
    local file = assert(io.open(folder .. "/main.lua", "w"))
    file:write(('app.task(function() app.thread("blocking", "wait", "%s") end)'):format(gate))
    file:close()
    local child = process.spawn({ process.lunats(), "run", "-s", testing.server_url(),
      "--drain-timeout", "0.1", "main.lua" }, { cwd = folder })
    eventually("its begin", function() return exists(gate .. ".begun") end)
    assert.equal(0, child:stop())
    assert.matches("main: app.thread: blocking.wait does not end: its thread is left behind",
      child:output(), 1, true)
    touch(gate)
  end)

  it("makes the modules that it loads part of the service", function()
    local folder = project { ["m.lua"] = "return { f = function() return 1 end }",
      ["main.lua"] = "app.listen('spec.thread.watch', function() "
        .. "return app.thread('m', 'f') end)" }
    local child = process.spawn({ process.lunats(), "run", "--watch", "-s",
      testing.server_url(), "main.lua" }, { cwd = folder })
    child:expect "started, connected"
    assert.equal(1, assert(app.request("spec.thread.watch")).data)
    local file = assert(io.open(folder .. "/m.lua", "w"))
    file:write "return { f = function() return 2 end }"
    file:close()
    child:expect "reloaded in"
    assert.equal(2, assert(app.request("spec.thread.watch")).data)
    assert.equal(0, child:stop())
  end)
end)

describe("LuaSQL in app.thread", function()
  it("keeps a database of SQLite open", function()
    local db = [[
      local db = assert(require("luasql.sqlite3").sqlite3():connect(DATABASE))
      local M = {}
      function M.run(sql) return assert(db:execute(sql)) end
      function M.rows(sql)
        local cursor, list = assert(db:execute(sql)), {}
        local row = cursor:fetch({}, "a")
        while row do
          list[#list + 1] = row
          row = cursor:fetch({}, "a")
        end
        cursor:close()
        return list
      end
      return M
    ]]
    local path = process.path "db"
    local folder = project { ["db.lua"] = db:gsub("DATABASE", ("%q"):format(path)),
      ["main.lua"] = [[
        local db = app.thread.open "db"
        app.on_start(function()
          assert(db:call("run", "create table t (n integer, s text)"))
        end)
        app.listen("spec.thread.add", function(msg)
          local row = ("insert into t values (%d, '%s')"):format(msg.data.n, msg.data.s)
          return db:call("run", row)
        end)
        app.listen("spec.thread.list", function()
          return db:call("rows", "select * from t order by n")
        end)
        app.listen("spec.thread.wrong", function()
          return db:call("run", "select * from nothing")
        end)
      ]] }
    local svc = own.keep(testing.start(folder .. "/main.lua", {}))
    local fibers = {}
    for i = 1, 20 do
      fibers[i] = app.spawn(function()
        return svc:request("spec.thread.add", { n = i, s = "ä" })
      end)
    end
    for _, f in ipairs(fibers) do assert.equal(1, assert(f:await()).data) end
    local rows = assert(svc:request "spec.thread.list").data
    assert.equal(20, #rows)
    assert.same({ n = 20, s = "ä" }, rows[20])
    local _, err = svc:request "spec.thread.wrong"
    assert.matches("LuaSQL: near \"nothing\": syntax error", err.message)
  end)
end)

describe("luv", function()
  it("is refused with the reason", function()
    assert(package.searchpath("luv", package.cpath), "lua-luv is installed")
    assert.error_matches(function() testing.start 'require "luv"\n' end,
      "service.lua:1: luv is not available: it has an event loop of its own")
    local ok, err = pcall(require, "luv")
    assert.is_false(ok)
    assert.matches("uv.run would hold all services", err)
    local svc = start()
    assert.matches("ends the whole process",
      data(svc, [[return select(2, app.thread("blocking", "require", "luv")).message]]))
  end)
end)
