-- A folder of scripts: modules in it, new files, files that go.
local core = require "lunats.core"
local lfs = require "lfs"
local process = require "spec.support.process"
local eventually = require "spec.support.eventually"
local json_in = require "spec.support.json_in"
local testing = require "lunats.testing"

local folder, prefix
before_each(function()
  prefix = "folder_" .. core.new_inbox():sub(-6)
  folder = process.path "services"
  assert(lfs.mkdir(folder))
end)
after_each(process.close_all)

local function put(name, text)
  local path = folder .. "/" .. name
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

local function subject(name) return prefix .. "." .. name end

---A service with the name of its file.
local function service(name, value)
  return ("app.listen(%q, function() return %d end)\n"):format(subject(name), value)
end

local MODULE = "return { rate = 3 }\n"

local function spawn(words, opts)
  return process.spawn({ process.lunats(), "run", "--server", testing.server_url(),
    table.unpack(words) }, opts)
end

local function run(words, opts)
  local child = spawn(words, opts)
  child:expect "started, connected"
  return child
end

local function answers(name, value)
  eventually(("%s from %s"):format(value, name), function()
    local reply, err = app.request(subject(name), "", { timeout = 1 })
    return (reply and reply.data or err.code) == value
  end)
end

describe("a file of a folder that declares nothing", function()
  it("is a module of the others, and said to be no service", function()
    put("orders.lua", "local rates = require 'rates'\n" .. service("orders", 1))
    put("rates.lua", MODULE)
    local child = run { folder }
    answers("orders", 1)
    child:expect "INFO +rates: declares no listener, timer, task or hook: a module"
    assert.equal(0, child:count "rates: started")
    assert.equal(0, child:stop())
  end)

  it("becomes a service when it declares something", function()
    put("orders.lua", service("orders", 1))
    put("rates.lua", MODULE)
    local child = run { "--watch", folder }
    put("rates.lua", "local x = 1\n" .. MODULE)
    put("rates.lua", service("rates", 2))
    answers("rates", 2)
    assert.equal(1, child:count "rates: declares no", child:output())
  end)

  it("is none that declares a task, a hook, a name, a subscription", function()
    put("b.lua", "app.task(function() end)\nreturn {}\n")
    put("c.lua", "app.on_start(function() end)\n")
    put("d.lua", "app.config { version = '1.0.0' }\n")
    put("e.lua", "app.js.subscribe('x.y', { stream = 'none' }, function() end) os.exit(9)\n")
    local child = spawn { folder }
    assert.equal(9, child:wait())
    assert.equal(0, child:count "declares no")
  end)

  it("is an error when there is nothing else", function()
    put("rates.lua", MODULE)
    local child = spawn { folder }
    assert.equal(1, child:wait())
    assert.equal(1, child:count "none of the scripts declares anything to serve")
  end)

  it("is named by lunats check", function()
    put("orders.lua", service("orders", 1))
    put("rates.lua", MODULE)
    local status, output = process.lunats_to_end { "check", folder }
    assert.equal(0, status, output)
    assert.matches("rates%.lua declares no listener, timer, task or hook: a module", output)
    assert.is_nil(output:find "orders%.lua declares no")
    status, output = process.lunats_to_end { "check", "--json", folder }
    assert.equal(0, status, output)
    local list = json_in(output)
    assert.is_true(list[1].service)
    assert.is_false(list[2].service)
  end)
end)

describe("a script that declares nothing and is named itself", function()
  it("is refused when it returns a value, with what to do", function()
    local child = spawn { put("rates.lua", MODULE) }
    assert.equal(2, child:wait())
    child:expect "rates.lua is a module: it returns a value and declares no listener, timer, "
  end)

  it("is served with a warning when it returns none", function()
    local child = run { put("quiet.lua", "local x = 1\n") }
    child:expect "WARN +quiet: declares no listener, timer, task or hook: there is nothing to"
    assert.equal(0, child:stop())
  end)
end)

describe("with --watch a folder of scripts", function()
  it("starts a new file beside the others", function()
    put("orders.lua", service("orders", 1))
    local child = run { "--watch", folder }
    put("stock.lua", service("stock", 2))
    answers("stock", 2)
    answers("orders", 1)
    put("stock.lua", service("stock", 3))
    answers("stock", 3)
    put("stock_spec.lua", "error 'is no script'\n")
    put(".hidden.lua", "error 'is no script'\n")
    put("more.lua", service("more", 4))
    answers("more", 4)
    assert.equal(0, child:count "is no script")
    assert.equal(0, child:stop())
    assert.equal(1, child:count "stock: stopped")
  end)

  for what, text in pairs {
    ["a syntax error"] = "app.listen(\n",
    ["an error at the top level"] = "error 'no'\n",
    ["a failing on_start"] = "app.on_start(function() error 'no' end)\n",
    ["os.exit at the top level"] = "os.exit(3)\n",
    ["os.exit in on_start"] = "app.on_start(function() os.exit(3) end)\n",
    ["a wrong subject"] = "app.listen('a..b', function() end)\n",
  } do
    it("goes on when a new file has " .. what .. ", and takes it when it is mended", function()
      put("orders.lua", service("orders", 1))
      local child = run { "--watch", folder }
      put("stock.lua", text)
      child:expect "WARN +[^\n]*/stock.lua is not started; the others go on"
      answers("orders", 1)
      put("stock.lua", service("stock", 2))
      answers("stock", 2)
      assert.is_nil(child:status())
      assert.equal(0, child:stop())
    end)
  end

  it("stops the service of a file that is gone, in order", function()
    put("orders.lua", service("orders", 1))
    local path = put("stock.lua", service("stock", 2)
      .. "app.on_stop(function() app.log.info 'cleaned up' end)\n")
    local child = run { "--watch", folder }
    answers("stock", 2)
    assert(os.remove(path))
    child:expect "stock.lua is gone: stopping"
    child:expect "cleaned up"
    child:expect "stock: stopped"
    answers("orders", 1)
    put("stock.lua", service("stock", 3))
    answers("stock", 3)
  end)

  it("waits for a script when the last one is gone", function()
    local path = put("orders.lua", service("orders", 1))
    local child = run { "--watch", folder }
    assert(os.remove(path))
    child:expect "no service is left: waiting for a script"
    put("stock.lua", service("stock", 2))
    answers("stock", 2)
    assert(os.remove(folder .. "/stock.lua"))
    eventually("the end of stock", function()
      return child:count "no service is left: waiting for a script" == 2
    end)
    assert.equal(0, child:stop())
  end)

  it("does not stop what is replaced", function()
    local path = put("orders.lua", service("orders", 1))
    local child = run { "--watch", "--log-level", "debug", folder }
    assert(os.rename(path, path .. "~"))
    child:expect "orders.lua is missing"
    put("orders.lua", service("orders", 2))
    answers("orders", 2)
    put("stock.lua", service("stock", 2))
    answers("stock", 2)
    assert.equal(0, child:count "is gone")
  end)

  it("notices all of it with --watch-poll", function()
    put("orders.lua", service("orders", 1))
    local child = run { "--watch-poll", "0.05", folder }
    local path = put("stock.lua", service("stock", 2))
    answers("stock", 2)
    put("stock.lua", service("stock", 33))
    answers("stock", 33)
    assert(os.remove(path))
    child:expect "stock: stopped"
    answers("orders", 1)
  end)

  it("is found again from the working directory, whatever it is called", function()
    put("orders.lua", service("orders", 1))
    for i, name in ipairs { ".", "./", "../" .. folder:match "[^/]+$", folder .. "/" } do
      local child = run({ "--watch", name }, { cwd = folder })
      put("stock.lua", service("stock", i))
      answers("stock", i)
      assert.equal(1, child:count "orders: started")
      assert(os.remove(folder .. "/stock.lua"))
      child:expect "stock: stopped"
      assert.equal(0, child:stop())
    end
  end)
end)

describe("SIGHUP", function()
  it("looks into the folders without --watch, too", function()
    put("orders.lua", service("orders", 1))
    local child = run { folder }
    put("stock.lua", service("stock", 2))
    child:signal "HUP"
    answers("stock", 2)
    assert(os.remove(folder .. "/stock.lua"))
    child:signal "HUP"
    child:expect "stock: stopped"
    answers("orders", 1)
  end)
end)
