-- The optional module behind the admin port: missing, of another version, broken, installed.
local admin = require "spec.support.admin"
local core = require "lunats.core"
local lfs = require "lfs"
local process = require "spec.support.process"
local read = require "spec.support.read"
local testing = require "lunats.testing"

local SCRIPT = 'app.listen("spec.module", function() return 1 end)'

after_each(process.close_all)

---A lunats in a folder of its own, beside which no module lies.
local function alone()
  local path = process.write("lunats", "")
  assert(os.execute(("cp %s %s && chmod +x %s"):format(process.lunats(), path, path)))
  return path
end

local function run(lunats, command, ...)
  local words = { lunats, command, process.write("svc.lua", SCRIPT), ... }
  if command == "run" then
    words[#words + 1] = "--server"
    words[#words + 1] = testing.server_url()
  end
  return process.spawn(words)
end

---Puts a module beside a program; `source` is C.
local function add_module(lunats, source, name)
  local folder = lunats:match "^(.*)/" .. "/modules"
  assert(lfs.mkdir(folder))
  local file = process.write("module.c", source)
  local status, output = assert(core.process({ "cc", "-I/usr/include/lua5.4", "-shared",
    "-fPIC", "-o", ("%s/%s.so"):format(folder, name or "http"), file,
    "-Wl,--unresolved-symbols=ignore-all" }, true)):wait()
  assert.equal(0, status, output)
end

describe("a missing module", function()
  it("is an error that says what to install, where it is asked for", function()
    local child = run(alone(), "run", "--admin", "127.0.0.1:0")
    assert.equal(1, child:wait())
    assert.matches("admin port: the module http is not installed %(there is no /%S+%): "
      .. "install the package lunats%-http, or libmicrohttpd%-dev and build lunats again\n",
      child:output())
    assert.equal(0, child:count "started", child:output())
  end)

  it("is a hint where nobody has asked for it", function()
    local child = run(alone(), "dev")
    child:expect "started, connected to"
    assert.matches("INFO  no admin port: the module http is not installed", child:output())
    assert.equal(0, child:count "ERROR", child:output())
    assert.equal(0, child:stop())
  end)

  it("costs nothing where nobody asks for it", function()
    local child = run(alone(), "run")
    child:expect "started, connected to"
    assert.equal(0, child:count "module", child:output())
    assert.equal(0, child:stop())
  end)
end)

---Of the interface between host and modules.
local NUMBER = assert(read("host/base/module.h"):match 'MODULE_VERSION LN_VERSION "(%-%d+)"')

describe("a module", function()
  it("of another version is refused", function()
    local lunats = alone()
    add_module(lunats, [[struct { const char *version; } lunats_module = { "9.9.9-1" };]])
    local child = run(lunats, "run", "--admin", "127.0.0.1:0")
    assert.equal(1, child:wait())
    assert.matches("made for lunats 9%.9%.9%-1, this is [%d.]+%-%d+: install both from one "
      .. "release", child:output())
  end)

  it("that is no module is refused, by dev as well", function()
    local lunats = alone()
    add_module(lunats, "int nothing;")
    for _, command in ipairs { "run", "dev" } do
      local child = run(lunats, command, "--admin", "127.0.0.1:0")
      assert.equal(1, child:wait())
      assert.matches("module http .* cannot be loaded: .*lunats_module", child:output())
    end
  end)

  it("whose library is missing names its package", function()
    local lunats = alone()
    local folder = lunats:match "^(.*)/"
    add_module(lunats, "int nothing;")
    local library = process.write("library.c", "int other(void) { return 1; }")
    local user = process.write("user.c", "int other(void); int call(void) { return other(); }")
    assert(os.execute(([[cd %s && cc -shared -fPIC -o libother.so.12 \
      -Wl,-soname,libother.so.12 %s && cc -shared -fPIC -o modules/http.so %s libother.so.12 &&
      rm libother.so.12]]):format(folder, library, user)))
    local child = run(lunats, "run", "--admin", "127.0.0.1:0")
    assert.equal(1, child:wait())
    assert.matches("libother%.so%.12: cannot open shared object file: .*"
      .. "install the package libmicrohttpd12 %(since Debian 13: libmicrohttpd12t64%)\n",
      child:output())
  end)

  it("may be for scripts, and calls what the host lets it call", function()
    local lunats = alone()
    add_module(lunats, ([[
      #include <lua.h>
      void log_printf(int level, const char *service, const char *format, ...);
      static int open(lua_State *L) {
        log_printf(1, "spec", "opened");
        lua_pushinteger(L, 42);
        return 1;
      }
      struct { const char *version; const void *api; int (*open)(lua_State *L); }
        lunats_module = { "%s%s", 0, open };]]):format(core.version, NUMBER), "answer")
    local script = process.write("tool.lua", [[
      local core = require "lunats.core"
      print("the answer is " .. core.native "answer")
      print(select(2, pcall(core.native, "nothing")))]])
    local child = process.spawn { lunats, "lua", script }
    assert.equal(0, child:wait())
    assert.matches("spec: opened", child:output())
    assert.matches("the answer is 42", child:output())
    assert.matches("the module nothing is not installed %(there is no /%S+%)\n", child:output())
  end)

  it("is found in the library folder of an installation", function()
    local bin = alone()
    local prefix = bin:match "^(.*)/" .. "/prefix"
    local build = process.lunats():match "^(.*)/"
    assert(os.execute(("cmake --install %s --prefix %s >/dev/null"):format(build, prefix)))
    local child = run(prefix .. "/bin/lunats", "run", "--admin", "127.0.0.1:0")
    child:expect "started, connected to"
    assert.equal(200, (admin.get(admin.url(child), "/livez")))
    assert.equal(0, child:stop())
  end)
end)
