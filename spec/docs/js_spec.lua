-- docs/jetstream.md, key_value.md, object_store.md, dead_letters.md and ordering.md show every
-- call and every option of app.js in a piece of code, which spec/docs/readme_spec.lua runs.
-- That they name each of them is seen to by spec/docs/pages_spec.lua.
local pages = require "spec.support.pages"
local read = require "spec.support.read"

local function code_of_documents()
  local parts = {}
  for _, name in ipairs { "jetstream", "key_value", "object_store", "dead_letters",
    "ordering" } do
    parts[#parts + 1] = select(2, pages.split("docs/" .. name .. ".md"))
  end
  return table.concat(parts, "\n")
end

local function has_word(text, word) return text:find("%f[%w_]" .. word .. "%f[^%w_]") ~= nil end

---The options that the sources of app.js check: { name = "type", ... }. The server's fields are
---in schema.lua and answer.lua.
local function options()
  local types = { string = true, number = true, boolean = true, table = true,
    ["function"] = true }
  local names = {}
  local list = assert(io.popen "ls scripts/js.lua scripts/js/*.lua")
  for path in list:lines() do
    if not path:find "%.d%.lua$" and not path:find "/schema%.lua$"
        and not path:find "/answer%.lua$" then
      for name, kind in read(path):gmatch '([%a_][%w_]*) = "(%a+)[%a|]*"' do
        if types[kind] then names[name] = path end
      end
    end
  end
  list:close()
  return names
end

---The calls of app.js, and the methods of what they return.
local function calls()
  local names = {}
  for name, value in pairs(app.js) do
    if type(value) == "function" then names[name] = "app.js" end
  end
  for class, methods in pairs { psub = "pull", kv = "kv", store = "object", batch = "batch",
    counter = "counter", dead_letters = "dead_letters", group = "consumer_group",
    elastic_group = "elastic_group" } do
    local source = read("scripts/js/" .. methods .. ".lua")
    for method in source:gmatch("function " .. class .. ":([%w_]+)") do
      names[method] = class
    end
  end
  return names
end

describe("the documents of app.js", function()
  local code = code_of_documents()

  for what, names in pairs { option = options(), call = calls() } do
    it("show every " .. what .. " in code that runs", function()
      local missing = {}
      for name, where in pairs(names) do
        if not has_word(code, name) then missing[#missing + 1] = where .. " " .. name end
      end
      table.sort(missing)
      assert.same({}, missing)
    end)
  end
end)
