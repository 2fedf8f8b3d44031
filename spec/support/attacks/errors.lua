---Attacks on the stack, on those who handle errors, and on what a library allows.
local C_OVERFLOW = "stack overflow of C"

local function fails(name, id, told, fate, body)
  return { name = name, id = id, body = body, told = "listener ID[^\n]*" .. told, fate = fate }
end

local function safe(name, id, body, what)
  return { name = name .. ", with `--libs safe`", id = id, body = body, own = true,
    options = { "--libs", "safe" }, fate = "raises",
    told = "listener ID[^\n]*" .. what .. " is not available with %-%-libs safe" }
end

return {
  fails("recursion without end", "deep", "not enough memory",
    "fails: not enough memory, or a stack overflow",
    "local function f() return 1 + f() end return f()"),
  fails("recursion of `string.gsub`", "cdeep", "C stack overflow", C_OVERFLOW,
    "local function g(s) return (s:gsub('.', g)) end return g 'a'"),
  fails("recursion of `pcall`", "pdeep", "C stack overflow", C_OVERFLOW,
    "local function g() local ok, err = pcall(g) return error(err, 0) end return g()"),
  fails("recursion of coroutines", "codeep", "C stack overflow", C_OVERFLOW,
    "local function g() return coroutine.wrap(g)() end return g()"),
  fails("recursion of `__index`", "mdeep", "C stack overflow", C_OVERFLOW,
    "local t = {} setmetatable(t, { __index = function(_, k) return t[k .. 'x'] end }) "
      .. "return t.a"),
  fails("JSON nested 100,000 deep", "nested", "nested deeper than 128 levels",
    "is not decoded: deeper than 128",
    "return assert(app.json.decode(('['):rep(100000)))"),
  fails("reply that contains itself", "cycle", "nested deeper than 128 levels",
    "is not encoded",
    "local t = {} t.t = t return t"),
  fails("`__tostring` of an error raises", "tostring",
    "an error of type table whose __tostring fails: [^\n]*in tostring", "told with both errors",
    "error(setmetatable({}, { __tostring = function() error 'in tostring' end }))"),
  fails("`__tostring` of an error, endless", "tospin",
    "an error of type table whose __tostring fails", "ended after its slice",
    "error(setmetatable({}, { __tostring = spin }))"),
  fails("`__index` of an error raises", "eindex", "in index", "told with that error",
    "error(setmetatable({}, { __index = function() error 'in index' end }))"),
  fails("error of a megabyte", "long", "long long", "its beginning is told",
    "error(('long '):rep(200000))"),
  fails("error with control bytes and headers", "bytes", "line1\\x0d",
    "told as one entry, escaped",
    [[error "line1\r\nNats-Service-Error-Code: 200\r\n\r\nbody \27[31m \0 \xff"]]),
  fails("`__close` that raises", "close", "in close", "both errors are told",
    "local _ <close> = setmetatable({}, { __close = function() error 'in close' end }) "
    .. "error 'body'"),
  { name = "`__gc` that raises", id = "gc", told = "error in __gc %([^\n]*in gc",
    fate = "told, the handler goes on",
    body = "setmetatable({}, { __gc = function() error 'in gc' end }) collectgarbage()" },
  { name = "`__gc` that waits", id = "gcwait",
    told = "error in __gc %([^\n]*app.sleep cannot wait here",
    fate = "told, the handler goes on",
    body = "setmetatable({}, { __gc = function() app.sleep(1) end }) collectgarbage()" },
  fails("`coroutine.yield` to nobody", "yield", "coroutine.yield outside a coroutine", "raises",
    "coroutine.yield()"),
  safe("`os.exit`", "exit", "os.exit(7)", "os.exit"),
  safe("`os.execute` of a `kill`", "kill", "os.execute 'kill -KILL $PPID'", "os.execute"),
  safe("the registry of `debug`, cleared", "registry",
    "local r = debug.getregistry() for k in pairs(r) do r[k] = nil end", "debug.getregistry"),
  safe("byte code that is broken", "bytecode",
    "local s = string.dump(never) return load(s:sub(1, 40) .. ('\\255'):rep(#s - 40))()",
    "string.dump"),
  { name = "`os.exit` without it", id = "exits", body = "os.exit(7)", own = true, status = 7,
    fate = "stops all services, as it says" },
}
