-- What a script that nobody vouches for can reach: --libs safe.
local lfs = require "lfs"
local own = require "spec.support.own"
local process = require "spec.support.process"
local testing = require "lunats.testing"

after_each(function()
  own.close()
  process.close_all()
end)

---Runs code that comes with a message, as statements.
local SCRIPT = [[
  app.listen("run", { data_type = "string" }, function(msg)
    local fn, err = load(msg.raw, "=attack")
    if not fn then return { false, err } end
    local results = table.pack(pcall(fn))
    return { results[1], tostring(results[2]), tostring(results[3]) }
  end)
]]

---A folder with the script and files beside it, whose names may be paths.
---@return string folder
local function project(files)
  local folder = process.path "project"
  lfs.mkdir(folder)
  for name, text in pairs(files) do
    local sub = name:match "^(.*)/"
    if sub then lfs.mkdir(folder .. "/" .. sub) end
    local file <close> = assert(io.open(folder .. "/" .. name, "wb"))
    file:write(text)
  end
  return folder
end

local function started(source, opts)
  opts = opts or {}
  opts.libs = opts.libs or "safe"
  return own.start(source, opts)
end

---What the code does in the service: its first two results, or the error.
local function attack(svc, code)
  local reply = assert(svc:request("run", code)).data
  if not reply[1] then return nil, reply[2] end
  return reply[2], reply[3]
end

local BYTE_CODE = string.dump(function() return "byte code has run" end)

---A string of Lua that is these bytes.
local function quoted(bytes)
  return '"' .. bytes:gsub(".", function(c) return ("\\%03d"):format(c:byte()) end) .. '"'
end

local REFUSED = "not available with %-%-libs safe"

---Each is code, and what its results or its error must look like.
local ATTACKS = {
  { "opens a file", "io.open('/etc/passwd')", REFUSED },
  { "reads lines of a file", "for _ in io.lines('/etc/passwd') do end", REFUSED },
  { "runs a program", "io.popen('id')", REFUSED },
  { "finds an open file", "return io.stdout, io.stderr", "^nil nil$" },
  { "runs a command", "os.execute('id')", "os%.execute is " .. REFUSED },
  { "removes a file", "os.remove('x')", REFUSED },
  { "renames a file", "os.rename('x', 'y')", REFUSED },
  { "makes a file", "os.tmpname()", REFUSED },
  { "ends the process", "os.exit(0)", REFUSED },
  { "changes the locale of the process", "os.setlocale('C')", REFUSED },
  { "writes byte code", "string.dump(function() end)", REFUSED },
  { "writes byte code by a method", "return ('').dump(function() end)", REFUSED },
  { "writes byte code by the metatable of strings",
    "return getmetatable('').__index.dump(print)", "attempt to index a boolean" },
  { "gives strings other methods", "getmetatable('').__index = { find = print }",
    "attempt to index a boolean" },
  { "gives strings another metatable", "setmetatable('', {})", "table expected, got string" },
  { "puts a method in the place of Lua's", "function string.find() return 'mine' end "
    .. "return ('a'):find 'a'", "^1 1$" },
  { "loads byte code", "return load(" .. quoted(BYTE_CODE) .. ")", "nil .*binary chunk" },
  { "loads byte code by name", "return load(" .. quoted(BYTE_CODE) .. ", 'x', 'b')",
    "nil byte code is " .. REFUSED },
  { "loads byte code as either", "return load(" .. quoted(BYTE_CODE) .. ", 'x', 'bt')",
    "nil .*binary chunk" },
  { "loads byte code piece by piece", "local s, i = " .. quoted(BYTE_CODE) .. ", 0 "
    .. "return load(function() i = i + 1 return s:sub(i, i) end)", "nil .*binary chunk" },
  { "asks for the registry", "debug.getregistry()", REFUSED },
  { "reads upvalues of functions of app", "debug.getupvalue(app.listen, 1)", REFUSED },
  { "looks at its callers", "debug.getinfo(1, 'f')", REFUSED },
  { "sets a hook in a coroutine", "debug.sethook(coroutine.create(print), print, 'c')",
    REFUSED },
  { "changes metatables of all kinds", "debug.setmetatable(1, {})", REFUSED },
  { "requires a library", "return require('io') == io and require('os') == os and "
    .. "require('debug') == debug and select(2, pcall(require('io').open, 'x'))", REFUSED },
  { "looks for libraries in package.loaded", "return package.loaded.io.open == io.open and "
    .. "package.loaded._G == _G and _G.io == io and package.loaded['lunats.core']", "^nil" },
  { "requires what app is made with", "require 'lunats.core'", "no modules of lunats" },
  { "requires the tools of specs", "require 'lunats.testing'", "no modules of lunats" },
  { "loads a library in C", "package.loadlib('/lib/libc.so.6', '*')", REFUSED },
  { "requires a module in C", "require 'lfs'", "no C modules" },
  { "requires one by a path", "package.cpath = '/usr/lib/x86_64-linux-gnu/lua/5.4/?.so' "
    .. "require 'lfs'", "no C modules" },
  { "moves the path of modules", "package.path = '/tmp/?.lua' require 'elsewhere'",
    "package%.path cannot be changed" },
  { "uses searchers", "local found = {} for i = 1, 9 do local search = package.searchers[i] "
    .. "if search then found[#found + 1] = search 'lunats.core' or search 'lfs' end end "
    .. "for i, one in ipairs(found) do assert(type(one) == 'string', one) end return #found",
    "^%d nil" },
  { "takes searchers away", "package.searchers = {} require 'lunats.core'",
    "no modules of lunats" },
  { "preloads a module", "package.preload.evil = function(...) return { ... } end "
    .. "local got = require 'evil' return #got, got[2]", "^2 :preload:" },
  { "asks where files are", "package.searchpath('passwd', '/etc/?')", REFUSED },
  { "runs a file elsewhere", "dofile '/etc/passwd'", "must be in the folder of the script" },
  { "reads a file elsewhere", "return loadfile '/etc/passwd'", "must be in the folder" },
  { "reads a file that is not there", "return loadfile '/etc/none'", "must be in the folder" },
  { "goes up", "return loadfile '../../../../../../../etc/passwd'", "must be in the folder" },
  { "cuts a path by a zero", "return loadfile('service.lua\\0')", "must be in the folder" },
  { "reads its standard input", "return loadfile()", "string expected" },
  { "runs code with globals of its own", "return load('return io', 'x', 't', {})()", "^nil" },
  { "runs code with all globals", "return load('return io.open')() == io.open", "^true" },
  { "waits for a finalizer", "local said setmetatable({}, { __gc = function() "
    .. "_, said = pcall(os.execute, 'id') end }) collectgarbage() collectgarbage() return said",
    REFUSED },
  { "changes strings while lunats decides", "local format, find = string.format, string.find "
    .. "string.format = function() end string.find = function() end "
    .. "local fn, err = loadfile '/etc/passwd' string.format, string.find = format, find "
    .. "return fn, err", "^nil cannot read" },
  { "puts functions in the place of Lua's", [[
    local got, real, pack, type = {}, {}, table.pack, type
    for name, fn in pairs(_G) do
      if type(fn) == "function" then
        real[name] = fn
        _G[name] = function(...)
          local args = pack(...)
          for i = 1, args.n do got[#got + 1] = args[i] end
          return fn(...)
        end
      end
    end
    local _ = app.crypto.uuid() and app.js.batch() and app.health and app.mutex()
    for name, fn in real.next, real do _G[name] = fn end
    return #got, got[1] ]], "^0 nil$" },
  { "puts functions in the place of those of libraries", [[
    local got, real, pack, type, next = {}, {}, table.pack, type, next
    for _, library in ipairs { string, table, math, utf8, coroutine, os } do
      real[library] = {}
      for name, fn in pairs(library) do
        if type(fn) == "function" then
          real[library][name] = fn
          library[name] = function(...) got[#got + 1] = name return fn(...) end
        end
      end
    end
    local _ = app.crypto.uuid() and app.json.decode "[1]" and app.mutex()
    pcall(app.listen, "a b", print)
    pcall(app.connect, { server = "nats://127.0.0.1:1", creds = "/etc/passwd" })
    pcall(app.metrics.counter, { name = "libs" })
    pcall(require, "nobody.has.that")
    pcall(app.config, { nmae = "x" })
    for library, functions in next, real do
      for name, fn in next, functions do library[name] = fn end
    end
    return #got, got[1] ]], "^0 nil$" },
  { "gets at the metatable of an error",
    "return getmetatable(select(2, app.json.decode '{'))", "^false" },
  { "gives an error another metatable",
    "setmetatable(select(2, app.json.decode '{'), {})", "cannot change a protected metatable" },
  { "gets at the metatable of a fiber", "return getmetatable(app.spawn(print))", "^false" },
  { "finalizes a fiber by hand", "local f = app.spawn(error, 'x') f:await() "
    .. "getmetatable(f).__gc { trace = 'x' }", "attempt to index a boolean" },
  { "finalizes a cache by hand", "local c = app.cache('libs', { max_bytes = 10000 }) "
    .. "c.__gc(c)", "attempt to call a nil value %(field '__gc'%)" },
  { "gets at the metatable of a mutex", "return getmetatable(app.mutex())", "^false" },
  { "gets at the metatable of a timer", "local t = app.timer(1e3, function() end) t:stop() "
    .. "return getmetatable(t)", "^false" },
  { "gets at the metatable of a message",
    "return getmetatable((app.request('run', 'return 1')))", "^false" },
  { "gets at the metatable of a listener", "local one = app.listen('libs.y', print) one:stop() "
    .. "return getmetatable(one)", "^false" },
  { "gets at the metatable of a metric",
    "return getmetatable(app.metrics.gauge { name = 'libs', help = 'x' })", "^false" },
  { "gets at the metatable of a batch", "return getmetatable(app.js.batch())", "^false" },
  { "gets at the metatable of a cache",
    "return getmetatable(app.cache('libs', { max_bytes = 10000 }))", "^false" },
  { "gets at the metatable of a group", "return getmetatable(app.group 'libs')", "^false" },
  { "frees what lunats holds", "local listener = app.listen('libs.x', print) "
    .. "local meta = getmetatable(listener[1]) listener:stop() return meta", "^false" },
  { "writes an object into a file", "app.js.create_object_store { bucket = 'LIBS', storage = "
    .. "'memory' }:get('x', { file = '/tmp/x' })", REFUSED },
  { "connects with the keys of others", "app.connect { server = 'nats://127.0.0.1:1', "
    .. "creds = '/etc/passwd' }", "creds: cannot read /etc/passwd: with %-%-libs safe" },
}

describe("a script with --libs safe", function()
  local svc

  setup(function() svc = testing.start(SCRIPT, { libs = "safe" }) end)
  teardown(function()
    svc:stop()
    app.js.delete_object_store "LIBS"
  end)

  for _, case in ipairs(ATTACKS) do
    it(case[1] .. " in vain", function()
      local first, second = attack(svc, case[2])
      local text = first and first .. " " .. second or second
      assert.matches(case[3], text)
      assert.is_nil(text:find("byte code has run", 1, true))
    end)
  end

  it("still has what reaches nothing", function()
    assert.equal("ok", attack(svc, [[
      assert(os.time() > 0 and os.clock() >= 0 and os.date "!%Y" and os.difftime(2, 1) == 1)
      assert(os.getenv "PATH" and not os.getenv "NO_SUCH_VARIABLE")
      assert(select(2, xpcall(error, debug.traceback, "x")):find "^x\nstack traceback")
      assert(load("return ...", "=x", "bt", {})(3) == 3 and load "return app"() == app)
      function string.twice(s) return s .. s end
      assert(("a"):twice() == "aa" and require "app" == app and require "string" == string)
      local piece = coroutine.yield
      local read = load(coroutine.wrap(function() piece "return " piece "7" end))
      assert(read() == 7 and package.config and app.json.encode {} and app.crypto.uuid())
      return "ok"
    ]]))
  end)

  it("is told what it did wrong, and where", function()
    for code, text in pairs {
      ["load(nil)"] = "attack:1: bad argument #1 to 'load' (function expected, got nil)",
      ["load('', {})"] = "attack:1: bad argument #2 to 'load' (string expected, got table)",
      ["loadfile({})"] = "attack:1: bad argument #1 to 'loadfile' (string expected, got table)",
      ["dofile()"] = "attack:1: bad argument #1 to 'dofile' (string expected, got nil)",
      ["os.getenv()"] = "attack:1: bad argument #1 to 'getenv' (string expected, got nil)",
      ["io.write 'x'"] = "attack:1: io.write is not available with --libs safe",
    } do
      local _, err = attack(svc, code)
      assert.equal(text, err)
    end
  end)
end)

-- ---- what can be reached at all --------------------------------------------------

---Answers with all functions to which tables, metatables and what app makes lead.
local REACH = [[
  local made
  app.on_start(function()
    local js = app.js
    made = { app.spawn(app.sleep, 0), app.mutex(), app.group "libs", js.batch(),
      app.timer(1e3, function() end), app.listen("libs.x", function() end), js.counter,
      app.metrics.counter { name = "libs_total", help = "x" }, app.health, app.crypto,
      select(2, app.request("libs.nobody", "")), app.json.array {}, app.json.object {},
      app.connect { server = SERVER },
      js.create_key_value { bucket = "LIBS", storage = "memory" },
      js.create_object_store { bucket = "LIBSO", storage = "memory" },
      js.pull_subscribe("$KV.LIBS.>", { stream = "KV_LIBS" }) }
  end)
  app.listen("reach", function(msg)
    local seen, found = {}, app.json.array {}
    local function visit(value)
      if value == nil or type(value) == "string" or type(value) == "number" or seen[value] then
        return
      end
      seen[value] = true
      if type(value) == "function" then found[#found + 1] = tostring(value) end
      if type(value) == "table" then
        for key, one in next, value do visit(key) visit(one) end
      end
      visit(getmetatable(value))
    end
    visit(_G)
    visit(made)
    visit(msg)
    visit(getmetatable "")
    return found
  end)
]]

---The functions by which a script could get out, as tostring shows them: those in C without
---upvalues have the same address in all states.
local function dangerous()
  local core = require "lunats.core"
  local found = {}
  local function add(name, fn) found[tostring(fn)] = name end
  for name, fn in pairs(io) do add("io." .. name, fn) end
  for name, fn in pairs(debug) do if name ~= "traceback" then add("debug." .. name, fn) end end
  for _, name in ipairs { "execute", "getenv", "remove", "rename", "tmpname", "setlocale" } do
    add("os." .. name, os[name])
  end
  for _, name in ipairs { "native", "confine", "process", "folder", "broker", "load_service",
    "start_service", "set_phase", "module", "watch", "input" } do
    add("core." .. name, assert(core[name], name))
  end
  add("os.exit", core.exit)
  add("string.dump", string.dump)
  add("load", load)
  add("package.loadlib", package.loadlib)
  add("package.searchpath", package.searchpath)
  return found
end

---@return string[]  names
local function reached(libs)
  local svc = started(("local SERVER = %q\n"):format(testing.server_url()) .. REACH,
    { libs = libs })
  local by_address, names = dangerous(), {}
  for _, address in ipairs(assert(svc:request("reach", "")).data) do
    names[#names + 1] = by_address[address]
  end
  table.sort(names)
  return names
end

describe("with --libs safe", function()
  after_each(function()
    app.js.delete_key_value "LIBS"
    app.js.delete_object_store "LIBSO"
  end)

  it("nothing that a script can reach leads out", function()
    assert.same({}, reached "safe")
  end)

  it("it is the option that takes it away", function()
    local names = table.concat(reached "all", " ")
    for _, name in ipairs { "io.open", "os.execute", "debug.getregistry", "load",
      "core.process", "string.dump", "package.loadlib" } do
      assert.truthy((names .. " "):find(name .. " ", 1, true), name .. " in " .. names)
    end
  end)

  it("modules and files beside the script are loaded, as text", function()
    local folder = project {
      ["s.lua"] = 'folder = (...)\nlocal m = require "m"\nassert(m == "m")\n' .. SCRIPT,
      ["m.lua"] = "assert(not pcall(io.open, 'x')) return 'm'",
      ["sub/file.lua"] = "return 'file', io.open == pcall",
      ["code.lua"] = BYTE_CODE, ["wrong.lua"] = "x =", ["empty.lua"] = "",
    }
    local svc = started(folder .. "/s.lua")
    local at = ("%q"):format(folder .. "/sub/file.lua")
    assert.equal("file", attack(svc, "return dofile(" .. at .. ")"))
    assert.equal("file", attack(svc, "return loadfile(" .. at .. ", 'bt', { io = {} })()"))
    for _, code in ipairs { "require 'code'", ("dofile(%q)"):format(folder .. "/code.lua"),
      ("return loadfile(%q)"):format(folder .. "/code.lua") } do
      local first, second = attack(svc, code)
      assert.matches("binary chunk", second or first)
    end
    local _, err = attack(svc, "require 'wrong'")
    assert.matches(
      "error loading module 'wrong' from file '[^']+/wrong.lua':\n\t.*wrong.lua:1: ", err)
    _, err = attack(svc, "require 'empty'")
    assert.matches("module 'empty' is empty", err)
  end)

  it("a link does not lead out of the folder", function()
    local folder = project { ["s.lua"] = SCRIPT }
    lfs.link("/etc/passwd", folder .. "/link.lua", true)
    local svc = started(folder .. "/s.lua")
    local _, err = attack(svc, ("dofile(%q)"):format(folder .. "/link.lua"))
    assert.matches("must be in the folder of the script", err)
  end)

  it("the next version of a script has no more than the first", function()
    local svc = started("app.state.open = tostring(io.open)\n" .. SCRIPT)
    assert(svc:reload("old = app.state.open\n" .. SCRIPT))
    assert.matches("^function: ", (attack(svc, "return old")))
    local _, err = attack(svc, "io.open 'x'")
    assert.matches(REFUSED, err)
    local ok, refused = svc:reload "os.execute 'id'\n"
    assert.is_nil(ok)
    assert.matches("os%.execute is " .. REFUSED, refused.message)
  end)

  it("a service goes through its whole life", function()
    local folder = project { ["s.lua"] = [[
      app.config { name = "libs-life" }
      app.on_start(function()
        app.js.ensure_stream { name = "LIBS", subjects = { "libs.>" } }
      end)
      app.on_stop(function() app.js.delete_stream "LIBS" print "bye" end)
      app.listen("life", function() return app.js.publish("libs.1", "x").seq end)
    ]] }
    local child = process.spawn { process.lunats(), "run", "--libs", "safe", "--console", "-s",
      testing.server_url(), folder .. "/s.lua" }
    child:expect "started, connected"
    assert.equal(1, assert(app.request("life", "")).data)
    local _, output = process.lunats_to_end { "console", "-s", testing.server_url(),
      "libs-life", "-e", "a = 1", "-e", "return _G.a, io == _G.io", "-e", "io.open 'x'" }
    assert.matches("^1\ttrue\n", output)
    assert.matches("io%.open is " .. REFUSED, output)
    assert.equal(0, child:stop())
    child:expect "bye"
  end)
end)

describe("--libs", function()
  it("is an option of run, dev and check, and a variable", function()
    local path = process.write("s.lua", "os.execute 'id'\n")
    for _, case in ipairs {
      { { "check", "--libs", "safe", path } },
      { { "check", path }, { LUNATS_LIBS = "safe" } },
      { { "run", "--libs=safe", "-s", testing.server_url(), path } },
    } do
      local status, output = process.lunats_to_end(case[1], { env = case[2] })
      assert.equal(1, status)
      assert.matches("s%.lua:1: os%.execute is " .. REFUSED, output)
    end
    local status, output = process.lunats_to_end { "run", "--libs", "none", path }
    assert.equal(2, status)
    assert.matches("%-%-libs: none is neither all nor safe", output)
  end)

  it("hides what lunats is configured with, and nothing else", function()
    local path = process.write("s.lua",
      "string.find = function() end\n"
      .. "print(os.getenv 'LUNATS_PASSWORD', os.getenv 'NATS_URL', os.getenv 'SHOWN')\n")
    local env = { LUNATS_PASSWORD = "secret", NATS_URL = "nats://x", SHOWN = "shown" }
    local _, output = process.lunats_to_end({ "check", "--libs", "safe", path }, { env = env })
    assert.matches("nil\tnil\tshown\n", output)
    _, output = process.lunats_to_end({ "check", path }, { env = env })
    assert.matches("secret\t", output)
  end)

  it("of testing.start is all or safe", function()
    local ok, err = pcall(testing.start, "local x = 1\n", { libs = "some" })
    assert.is_false(ok)
    assert.matches('libs must be "all" or "safe"', err)
  end)
end)
