-- Files as editors and shells want them: byte order mark, CR LF, a first line with #!.
local process = require "spec.support.process"
local own = require "spec.support.own"

after_each(own.close)
after_each(process.close_all)

local MARK, SHELL = "\u{FEFF}", "#!/usr/bin/env -S lunats run\n"
local SERVICE = [[
app.config { name = "text" }
app.listen("text.line", function()
  return debug.getinfo(1, "l").currentline
end)
]]
local SAYS_LINE = 3 -- of SERVICE

local function crlf(text) return (text:gsub("\n", "\r\n")) end

---What is put around a text, and how many lines come before it.
local FORMS = {
  ["a byte order mark"] = { 0, function(text) return MARK .. text end },
  ["CR LF"] = { 0, crlf },
  ["a line for the shell"] = { 1, function(text) return SHELL .. text end },
  ["all of them"] = { 1, function(text) return MARK .. crlf(SHELL .. text) end },
}

for what, form in pairs(FORMS) do
  local before, dress = form[1], form[2]

  describe("with " .. what, function()
    it("a script is started, from its file and from its text", function()
      local path = process.write("text.lua", dress(SERVICE))
      for _, source in ipairs { path, dress(SERVICE) } do
        local svc = own.start(source)
        assert.equal(SAYS_LINE + before, assert(svc:request("text.line")).data)
      end
    end)

    it("a new version takes over, from its file and from its text", function()
      local path = process.write("text.lua", dress(SERVICE))
      local svc = own.start 'app.config { name = "text" }'
      for _, source in ipairs { path, dress(SERVICE) } do
        assert(svc:reload(source))
        assert.equal(SAYS_LINE + before, assert(svc:request("text.line")).data)
        assert(svc:reload('app.config { name = "text" }\n'
          .. 'app.listen("text.other", function() end)'))
      end
    end)

    it("lunats check reads a script and names the right line", function()
      local status, output = process.lunats_to_end { "check",
        process.write("text.lua", dress(SERVICE)) }
      assert.equal(0, status, output)
      assert.matches(("text.line .-text.lua:%d\n"):format(2 + before), output)
      for _, case in ipairs {
        { "x = = 1\n", "unexpected symbol near '='", "    x = = 1\n        ^\n" },
        { "undeclared_name()\n", "undeclared global 'undeclared_name'", "" },
        { "error 'top'\n", "top", "" },
      } do
        status, output = process.lunats_to_end { "check",
          process.write("text.lua", dress(SERVICE .. case[1])) }
        assert.equal(1, status, output)
        local says = ("text.lua:%d: %s\n%s"):format(5 + before, case[2], case[3])
        assert.truthy(output:find(says, 1, true), output)
      end
    end)

    it("lunats lua runs a file, its modules and what it loads", function()
      local path = process.write("main.lua", dress [[
        local folder = arg[0]:match "^(.*)/"
        print(require("module").value, loadfile(folder .. "/module.lua")().value,
          dofile(folder .. "/module.lua").value)
      ]])
      local module = assert(io.open(path:gsub("main%.lua$", "module.lua"), "wb"))
      module:write(dress "return { value = 7 }\n")
      module:close()
      local status, output = process.lunats_to_end { "lua", path }
      assert.equal(0, status, output)
      assert.equal("7\t7\t7\n", output)
    end)

    it("lunats test reads specs, helpers and its settings", function()
      local path = process.write("text_spec.lua", dress [[
        it("is run", function() assert.equal("helped", HELPED) end)
        it("fails in its line", function() error "here" end)
      ]])
      local folder = path:match "^(.*)/"
      for name, text in pairs {
        ["helper.lua"] = "HELPED = 'helped'\n",
        [".busted"] = "return { default = { helper = './helper.lua' } }\n",
      } do
        local file = assert(io.open(folder .. "/" .. name, "wb"))
        file:write(dress(text))
        file:close()
      end
      local child = process.spawn({ process.lunats(), "test", "-o", "TAP", "text_spec.lua" },
        { cwd = folder })
      assert.equal(1, child:wait())
      assert.equal(1, child:count "ok 1 - is run")
      assert.equal(1, child:count(("text_spec.lua:%d: here"):format(2 + before)))
    end)
  end)
end

it("a module of nothing but a byte order mark is a file that is being written", function()
  local path = process.write("main.lua", 'require "module"')
  local module = assert(io.open(path:gsub("main%.lua$", "module.lua"), "wb"))
  module:write(MARK .. "\r\n")
  module:close()
  local status, output = process.lunats_to_end { "lua", path }
  assert.equal(1, status)
  assert.matches("module 'module' is empty", output)
end)
