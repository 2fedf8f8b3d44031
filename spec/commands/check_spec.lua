-- lunats check: what is wrong with a script, and what it declares.
local json_in = require "spec.support.json_in"
local lfs = require "lfs"
local process = require "spec.support.process"

after_each(process.close_all)

local GOOD = [[
  app.config { name = "orders", version = "1.2.0" }
  app.listen("orders.create", { concurrency = 4 }, function() end)
  app.listen("orders.watch", { queue = false }, function() end)
  app.timer(2, { name = "cleanup" }, function() end)
  app.task(function() end)
]]

local ONCE = [[
  app.timer(60, { singleton = true }, function() end)
  app.leader("sweep", { ttl = 30 }, function() end)
  app.cron("0 3 * * *", { zone = "UTC", name = "report" }, function() end)
  app.cron("@daily", function() end)
]]

describe("lunats check", function()
  for what, text in pairs {
    ["a name of another version of Lua"] = "local unpack = table.unpack or unpack",
    ["a question for a global of LuaJIT"] = "local is_jit = type(jit) == 'table'",
    ["globals of a file that is run"] = "dofile '%s' app.listen('b', function() helper() end)",
    ["globals that appear when they are asked for"] =
      "setmetatable(_G, { __index = function() return 1 end }) "
      .. "app.listen('b', function() return HOME end)",
    ["a table that is loaded when it is used"] =
      "app.listen('b', function() return app.crypto.uuid() end)",
    ["a local _ENV"] =
      "local function box() local _ENV = { print = print } return whatever end box()",
  } do
    it("has nothing against " .. what, function()
      local file = process.write("globals.lua", "function helper() return 1 end")
      local path = process.write("good.lua", (text:gsub("%%s", file)))
      local status, output = process.lunats_to_end { "check", path }
      assert.equal(0, status, output)
      assert.is_nil(output:find "undeclared")
    end)
  end

  it("says why a module is not there, with --libs safe, too", function()
    local path = process.write("mods.lua", "require 'cjson.nowhere' app.listen('a', print)")
    local status, output = process.lunats_to_end { "check", "--libs", "safe", path }
    assert.equal(1, status)
    assert.matches("mods.lua:1: module 'cjson.nowhere' not found: [^\n]*no C modules with "
      .. "%-%-libs safe\n", output)
    status, output = process.lunats_to_end { "check", path }
    assert.equal(1, status)
    assert.matches("mods.lua:1: module 'cjson.nowhere' not found: [^\n]*%w", output)
  end)

  it("says that it could not look behind os.exit", function()
    local path = process.write("ends.lua", "os.exit(0) app.listen('a', print)")
    local status, output = process.lunats_to_end { "check", path }
    assert.equal(1, status, output)
    assert.matches("ends.lua: os.exit%(%) was called at the top level", output)
  end)

  it("lists what a good script declares", function()
    local status, output = process.lunats_to_end { "check", process.write("any.lua", GOOD) }
    assert.equal(0, status)
    for _, line in ipairs {
      "orders 1.2.0\n",
      "listener  orders.create  queue orders:orders.create  concurrency 4  ",
      "listener  orders.watch  no queue group  ",
      "timer     every 2 s  cleanup  ",
      "task      once  ",
    } do
      assert.truthy(output:find(line, 1, true), line .. "\nin\n" .. output)
    end
  end)

  it("lists what runs once in the fleet", function()
    local status, output = process.lunats_to_end { "check", process.write("any.lua", ONCE) }
    assert.equal(0, status)
    for _, line in ipairs {
      "timer     every 60 s  in one instance  ",
      "leader    sweep  ttl 30 s  ",
      "cron      0 3 * * *  UTC  report  ",
      "cron      @daily  UTC  daily  ",
    } do
      assert.truthy(output:find(line, 1, true), line .. "\nin\n" .. output)
    end
  end)

  for _, case in ipairs {
    { "a syntax error", "local = 1", "bad.lua:1: <name> expected" },
    { "a wrong option", "app.listen('a', { queu = 'x' }, print)", "bad.lua:1: .-'queue'" },
    { "a wrong subject", "\napp.listen('a b', print)", "bad.lua:2: invalid subject" },
    { "an error", "error 'x'", "bad.lua:1: x" },
    { "a wrong expression of cron", "\napp.cron('0 24 * * *', print)",
      "bad.lua:2: app.cron: '0 24 .-': hour, at character 3: '24' is not a number" },
    { "an undeclared global", "own = 1\nprint(own)\nfunction f()\n\n  return lenght('x')\nend",
      "bad.lua:5: undeclared global 'lenght'" },
    { "a request at the top level", "app.request 'x'", "bad.lua:1: .-top level" },
    { "a publish at the top level", "app.publish('x', 1)", "bad.lua:1: .-top level" },
  } do
    it("ends with status 1 for " .. case[1], function()
      local status, output = process.lunats_to_end { "check",
        process.write("bad.lua", case[2]) }
      assert.equal(1, status)
      assert.matches(case[3], output)
    end)
  end

  it("connects to nothing and runs no hook", function()
    local status, output = process.lunats_to_end { "check", process.write("quiet.lua", [[
      app.on_start(function() print "ran" end)
      app.task(function() print "ran" end)
      app.on_stop(function() print "ran" end)
    ]]) }
    assert.equal(0, status)
    assert.is_nil(output:find("ran", 1, true))
  end)

  it("takes a directory", function()
    local path = process.write("one.lua", GOOD)
    local status, output = process.lunats_to_end { "check", (path:gsub("/[^/]+$", "")) }
    assert.equal(0, status)
    assert.matches("orders 1%.2%.0", output)
  end)

  it("shows where a syntax error is", function()
    local path = process.write("bad.lua", "local x = 1\nif x then\n  return = x\nend\n")
    local status, output = process.lunats_to_end { "check", path }
    assert.equal(1, status)
    assert.truthy(output:find("bad.lua:3: unexpected symbol near '='\n      return = x\n"
      .. "             ^\n", 1, true), output)
  end)

  it("names a file of a folder that cannot be read, and goes on", function()
    local folder = process.path "services"
    assert(lfs.mkdir(folder))
    assert(lfs.link("/proc/self/mem", folder .. "/gone.lua", true))
    local file = assert(io.open(folder .. "/orders.lua", "w"))
    file:write(GOOD):close()
    local status, output = process.lunats_to_end { "check", folder }
    assert.equal(1, status)
    assert.matches("gone.lua: cannot be read: Input/output error.*orders 1%.2%.0", output)
    status, output = process.lunats_to_end { "check", "--json", folder }
    assert.equal(1, status)
    assert.truthy(output:find("cannot be read", 1, true), output)
  end)

  it("goes on with the next script after one that is wrong", function()
    local status, output = process.lunats_to_end { "check",
      process.write("bad.lua", "x = = 1"), process.write("any.lua", GOOD) }
    assert.equal(1, status)
    assert.matches("bad.lua:1:.*orders 1%.2%.0", output)
  end)

  -- By luacheck where it is installed, or else from the byte code.
  local function check_names(finder, path)
    return process.lunats_to_end({ "check", path },
      { env = finder == "byte code" and { PATH = "/nowhere" } or nil })
  end

  for _, case in ipairs {
    { "a call", "app.lisen('x', print)", "app has no 'lisen' %(did you mean 'listen'%?%)" },
    { "a field in a function that never ran",
      "app.listen('x', function() app.js.add_steam {} end)",
      "app.js has no 'add_steam' %(did you mean 'add_stream'%?%)" },
    { "a local of the module", "local js = app.js\napp.task(function() js.puplish('a') end)",
      "bad.lua:2: app.js has no 'puplish' %(did you mean 'publish'%?%)" },
    { "digests", "app.task(function() app.crypto.sha265 'x' end)",
      "app.crypto has no 'sha265' %(did you mean 'sha256'%?%)" },
    { "the log", "app.task(function() app.log.wran 'x' end)", "app.log has no 'wran'" },
    { "a fact about the connection", "app.task(function() print(app.nats.conected_url) end)",
      "app.nats has no 'conected_url' %(did you mean 'connected_url'%?%)" },
    { "an undeclared global", "own = 1\nprint(own)\nfunction f()\n\n  return prnit 'x'\nend",
      "bad.lua:5: undeclared global 'prnit' %(did you mean 'print'%?%)" },
  } do
    for _, finder in ipairs { "luacheck", "byte code" } do
      it(("finds a wrong name by %s: %s"):format(finder, case[1]), function()
        local status, output = check_names(finder, process.write("bad.lua", case[2]))
        assert.equal(1, status)
        assert.matches(case[3], output)
      end)
    end
  end

  for _, finder in ipairs { "luacheck", "byte code" } do
    it("believes names that exist or that the script makes: " .. finder, function()
      local path = process.write("good.lua", [[
        app.mine = 1
        app.state.count = app.mine
        counter = 0
        local t = math.random() > 2 and app or { other = 1 }
        app.task(function()
          counter = counter + 1
          print(app.name, app.version, app.instance_id, app.nats.client_id, t.other)
          print(app.js.create_key_value, app.json.null, app.log.warn, app.state.any.thing)
        end)
      ]])
      local status, output = check_names(finder, path)
      assert.equal(0, status, output)
    end)
  end

  it("reads no byte code but that of Lua 5.4", function()
    local bytecode = require "lunats.commands.bytecode"
    local code = string.dump(function() end)
    assert.is_true(bytecode.is_known(code))
    assert.is_false(bytecode.is_known((code:gsub("\x54", "\x55", 1)))) -- Lua 5.5
    assert.is_false(bytecode.is_known(code:sub(1, 20)))
  end)

  for _, case in ipairs {
    { "overlapping patterns in one queue group",
      "app.listen('a.*', { queue = 'q' }, print)\napp.listen('a.b', { queue = 'q' }, print)",
      "x.lua:2: warning: a.b and a.%* %(.-x.lua:1%) overlap in one queue group" },
    { "a listener on inboxes", "app.listen('_INBOX.>', print)", "lua:1: warning: .*replies" },
    { "a listener on JetStream", "app.listen('$JS.>', print)", "lua:1: warning: .*JetStream" },
    { "a listener on everything", "app.listen('>', print)", "lua:1: warning: a listener on >" },
    { "two durables of one name",
      "app.js.subscribe('a', { durable = 'd' }, print)\nlocal p = app.js.pull_subscribe('b', "
        .. "{ durable = 'd' })\napp.task(function() p:fetch(1) end)",
      'x.lua:2: warning: the durable name "d" is used twice %(.-x.lua:1%)' },
  } do
    it("warns about " .. case[1], function()
      local status, output = process.lunats_to_end { "check", process.write("x.lua", case[2]) }
      assert.equal(0, status, output)
      assert.matches(case[3], output)
    end)
  end

  it("does not warn about default queue groups and patterns apart", function()
    local path = process.write("x.lua", [[
      app.listen("a.*", print)
      app.listen("a.b", print)
      app.listen({ "c.*", "d.*" }, { queue = "q" }, print)
    ]])
    local _, output = process.lunats_to_end { "check", path }
    assert.is_nil(output:find("overlap", 1, true), output)
  end)

  it("prints JSON for other programs", function()
    local path = process.write("x.lua", GOOD .. "app.js.pull_subscribe('s', { durable = 'd' })"
      .. "\nlenght()")
    local status, output = process.lunats_to_end { "check", "--json", path }
    assert.equal(1, status)
    local result = json_in(output)[1]
    assert.equal(path, result.path)
    assert.same({ "error", 7, path }, { result.problems[1].level, result.problems[1].line,
      result.problems[1].path })
    assert.matches("undeclared global 'lenght'", result.problems[1].message)
  end)

  it("lists subscriptions, timers and listeners with their lines in JSON", function()
    local path = process.write("x.lua", GOOD .. "app.js.pull_subscribe('s', { durable = 'd' })")
    local status, output = process.lunats_to_end { "check", "--json", path }
    assert.equal(0, status)
    local result = json_in(output)[1]
    assert.same({ subject = "orders.create", queue = "orders:orders.create", concurrency = 4,
      where = path .. ":2" }, result.listeners[1])
    assert.same({ kind = "timer", interval = 2, name = "cleanup", where = path .. ":4" },
      result.timers[1])
    assert.same({ kind = "pull", subject = "s", durable = "d", where = path .. ":6" },
      result.subscriptions[1])
  end)

  it("prints what luacheck finds where it is installed", function()
    if not os.execute "command -v luacheck >/dev/null" then return pending "no luacheck" end
    local path = process.write("x.lua", "app.task(function() local unused = 1 end)")
    local status, output = process.lunats_to_end { "check", path }
    assert.equal(0, status)
    assert.matches("x.lua:1: warning: unused variable 'unused' %(luacheck W211%)", output)
  end)

  it("says that luacheck could not look, and why, and fails", function()
    if not os.execute "command -v luacheck >/dev/null" then return pending "no luacheck" end
    local path = process.write("x.lua", "app.listen('a', function() end)")
    local folder = path:match "^(.*)/"
    local rc = assert(io.open(folder .. "/.luacheckrc", "w"))
    rc:write "not lua at all("
    rc:close()
    local status, output = process.lunats_to_end({ "check", "x.lua" }, { cwd = folder })
    assert.equal(1, status, output)
    assert.matches("x.lua: luacheck could not look at it: [^\n]*%.luacheckrc", output)
  end)

  it("says once that there is no luacheck, which is no failure", function()
    local one = process.write("one.lua", "app.listen('a', function() end)")
    local two = process.write("two.lua", "app.listen('b', function() end)")
    local status, output = process.lunats_to_end({ "check", one, two }, { env = { PATH = "" } })
    assert.equal(0, status, output)
    local _, count = output:gsub("luacheck is not installed", "")
    assert.equal(1, count, output)
  end)

  it("prints JSON with its names in order, the same at each run", function()
    local path = process.write("any.lua", GOOD)
    local first, text
    for _ = 1, 3 do
      local status, output = process.lunats_to_end { "check", "--json", path }
      assert.equal(0, status, output)
      text = output:match "%b[]"
      first = first or text
      assert.equal(first, text)
    end
    local names = {}
    for name in text:gmatch '"([%w_]+)":' do names[#names + 1] = name end
    assert.equal("listeners", names[1])
    assert.same({ "name", "path", "problems", "subscriptions", "timers" },
      { text:match '"(name)":.*"(path)":.*"(problems)":.*"(subscriptions)":.*"(timers)":' })
  end)
end)
