-- The search for undeclared globals in byte code.
local bytecode = require "lunats.commands.bytecode"
local globals = require "lunats.commands.globals"

local function undeclared(source)
  local names = {}
  for i, one in ipairs(globals.undeclared(bytecode.read(assert(load(source))), _G)) do
    names[i] = one.line .. ":" .. one.name
  end
  return table.concat(names, " ")
end

describe("undeclared globals", function()
  for _, case in ipairs {
    { "are none in an empty chunk", "", "" },
    { "are none of the standard ones", "print(string.format('%d', math.pi))", "" },
    { "are found when called", "foo()", "1:foo" },
    { "are found when read", "local x = foo", "1:foo" },
    { "are found as the base of a field", "foo.bar.baz = 1", "1:foo" },
    { "are found with their lines", "\n\nfoo()\n\nbar()", "3:foo 5:bar" },
    { "are found in nested functions",
      "return function()\n return function()\n return deep end end", "3:deep" },
    { "do not include what the chunk sets itself", "x = 1 function y() return x + y() end",
      "" },
    { "are not fields, locals or parameters",
      "local t = {} function t:m(p) return self.q, p, t.r end", "" },
    { "are found amid constants of all kinds",
      "local a, b, c, d, e = 1.5, 70000, 'short', ('long'):rep(2), nil; x = { true, false, "
      .. "nil, 1e300, 1 << 40, '" .. ("s"):rep(300) .. "' }\nreturn foo", "2:foo" },
    { "are found after lines far apart", ("\n"):rep(5000) .. "foo()", "5001:foo" },
    { "are not looked for in an environment of one's own",
      "local _ENV = { x = 1 } return x", "" },
  } do
    it(case[1], function() assert.equal(case[3], undeclared(case[2])) end)
  end

  it("are found in a long function with many lines and jumps", function()
    local lines = {}
    for i = 1, 400 do lines[i] = "if x then local t = { " .. i .. " } x = t[1] end" end
    lines[401] = "nope()"
    assert.equal("401:nope", undeclared(table.concat(lines, "\n")))
  end)
end)
