-- Where `require` looks for the modules of a script, and what it says when one is missing.
local lfs = require "lfs"
local process = require "spec.support.process"
local testing = require "lunats.testing"

after_each(process.close_all)

local function write(path, text)
  local at = path:match "^/[^/]+"
  for name in path:gsub("/[^/]+$", ""):sub(#at + 1):gmatch "[^/]+" do
    at = at .. "/" .. name
    lfs.mkdir(at)
  end
  local file <close> = assert(io.open(path, "wb"))
  file:write(text)
end

---Files of a project, each a module that returns its path.
---@return string folder
local function project(paths, files)
  local folder = process.path "project"
  for _, path in ipairs(paths) do
    write(folder .. "/" .. path, ("return %q"):format(path))
  end
  for path, text in pairs(files or {}) do write(folder .. "/" .. path, text) end
  return folder
end

---What a script of the project prints.
local function run(folder, script, cwd)
  local status, output = process.lunats_to_end({ "lua", script }, { cwd = cwd or folder })
  return output, status
end

describe("require", function()
  it("looks beside the script, above it, in lua_modules, in the working directory", function()
    local places = { "a/b/m.lua", "a/m.lua", "m.lua", "lua_modules/share/lua/5.4/m.lua" }
    local files = { ["a/b/s.lua"] = "print((require 'm'))", [".luarc.json"] = "{}" }
    local folder, cwd = project(places, files), project({ "m.lua" }, {})
    write(cwd .. "/m.lua", "return 'working directory'")
    places[#places + 1] = "working directory"
    for _, place in ipairs(places) do
      assert.equal(place .. "\n", run(folder, folder .. "/a/b/s.lua", cwd))
      os.remove(folder .. "/" .. place)
    end
  end)

  it("finds the folders above whatever the working directory is", function()
    local folder = project({ "m.lua" }, { ["a/b/s.lua"] = "print((require 'm'))",
      [".luarc.json"] = "{}" })
    for cwd, script in pairs { [""] = "a/b/s.lua", ["/a"] = "b/s.lua", ["/a/b"] = "s.lua",
      ["/a/b/"] = "../../a/./b/s.lua" } do
      assert.equal("m.lua\n", run(folder, script, folder .. cwd))
    end
  end)

  it("leaves folders above alone where no .luarc.json says how far the project goes", function()
    local folder = project({ "m.lua" }, { ["a/s.lua"] = "print((require 'm'))" })
    local output, status = run(folder, "s.lua", folder .. "/a")
    assert.equal(1, status)
    assert.matches("there is %./%.%./m%.lua, above the script: with a file %./%.%./%.luarc%.",
      output)
    write(folder .. "/a/.luarc.json", "{}") -- and not beyond one
    write(folder .. "/.luarc.json", "{}")
    assert.equal(1, (select(2, run(folder, "s.lua", folder .. "/a"))))
  end)

  it("takes packages, C modules included, from a tree of LuaRocks", function()
    local folder = project({ "lua_modules/share/lua/5.4/rock/init.lua" }, {
      ["s.lua"] = "print((require 'rock'), package.cpath)" })
    local output = run(folder, "s.lua")
    assert.matches("^lua_modules/share/lua/5%.4/rock/init%.lua\t%./lua_modules/lib/lua/5%.4/" ..
      "%?%.so;", output)
  end)

  it("does so in services, specs and `check`", function()
    local folder = project({ "shared.lua", "lua_modules/share/lua/5.4/rock.lua" }, {
      [".luarc.json"] = "{}",
      ["services/s.lua"] = [[
        local text = require "shared" .. " " .. require "rock"
        app.listen("where", function() return text end)
        app.task(function() app.log.info(text) end)]],
      ["spec/s_spec.lua"] = [[
        it("finds them", function()
          assert.equal("shared.lua", (require "shared"))
          assert(require "rock")
          require("lunats.testing").start("services/s.lua"):stop()
        end)
        it("is loaded", function() end)]] })
    local status, output = process.lunats_to_end({ "check", "services/s.lua" },
      { cwd = folder })
    assert.equal(0, status, output)
    status, output = process.lunats_to_end({ "test", "spec" }, { cwd = folder })
    assert.equal(0, status, output)
    status, output = process.lunats_to_end({ "test", "s_spec.lua", "--filter", "loaded" },
      { cwd = folder .. "/spec" })
    assert.equal(0, status, output)
    local child = process.spawn({ process.lunats(), "run", "-s", testing.server_url(),
      "--watch", "services/s.lua" }, { cwd = folder })
    child:expect "s: shared.lua lua_modules/share/lua/5.4/rock.lua\n"
    write(folder .. "/shared.lua", "return 'another'")
    child:expect "s: another lua_modules"
    write(folder .. "/lua_modules/share/lua/5.4/rock.lua", "return 'version'")
    child:expect "s: another version\n"
    assert.equal(0, child:stop())
  end)
end)

describe("the error of a missing module", function()
  local FILES = { "lib/Text/trim.lua", "util.lua", "deep/er/down/there.lua",
    "lua_modules/share/lua/5.1/old.lua", "part/init.lua" }

  for _, case in ipairs {
    { "lib.text.trim", "did you mean 'lib%.Text%.trim' %(%./lib/Text/trim%.lua%)%?" },
    { "utli", "did you mean 'util' %(%./util%.lua%)%?" },
    { "pert", "did you mean 'part' %(%./part/init%.lua%)%?" },
    { "util.lua", "the name of that module is 'util': require 'util'" },
    { "./lib/Text/trim.lua", "the name of that module is 'lib%.Text%.trim'" },
    { "trim", "there is %./lib/Text/trim%.lua: require 'lib%.Text%.trim'" },
    { "there", "there is %./deep/er/down/there%.lua: require 'deep%.er%.down%.there'" },
    { "old", "there is %./lua_modules/share/lua/5%.1/old%.lua, for Lua 5%.1: install it for " },
  } do
    it("says where " .. case[1] .. " is", function()
      local folder = project(FILES, { ["s.lua"] = ("require %q"):format(case[1]) })
      local output, status = run(folder, "s.lua")
      assert.equal(1, status)
      assert.matches("\n%s+" .. case[2], output)
      assert.matches("no file '[^']+%.so'\n", output)
    end)
  end

  it("guesses nothing where there is nothing like it", function()
    local folder = project(FILES, { ["s.lua"] = "require 'socket.http'" })
    local output = run(folder, "s.lua")
    assert.matches("no file '[^']+/socket%.so'\n%s+stack traceback", output)
  end)
end)
