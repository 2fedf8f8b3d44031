---The pages of JetStream tell of each of its functions, with all options, and no page names
---what does not exist. What there is stands in the declarations, which are the reference;
---spec/docs/declarations_spec.lua and options_spec.lua compare those with the code.
local declarations = require "spec.support.declarations"
local lfs = require "lfs"
local pages = require "spec.support.pages"
local read = require "spec.support.read"

local STREAM_PAGES = { "docs/jetstream.md", "docs/key_value.md", "docs/object_store.md",
  "docs/dead_letters.md", "docs/ordering.md" }
local ALL_PAGES = { "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md" }
for name in lfs.dir "docs" do
  if name:find "%.md$" then ALL_PAGES[#ALL_PAGES + 1] = "docs/" .. name end
end
table.sort(ALL_PAGES)

---How the pages write the owner of a function; a `?` may be left out.
local OWNERS = {
  ["app.metrics"] = "app.metrics.", metric_counter = "c:", metric_gauge = "gauge:",
  metric_histogram = "histogram:",
  app = "app.", ["app.log"] = "app.log.", ["app.crypto"] = "app.crypto.",
  ["app.http"] = "app.http.",
  ["app.nats"] = "app.nats.", json = "app.json.",
  js = "app.js.?", testing = "testing.", service = "svc:", broker = "broker:",
  cluster = "cluster:", msg = "msg:", psub = "psub:", consume = "handle:", future = "future:",
  batch = "batch:", counter = "counter:", dead_letters = "letters:",
  consumer_group = "readers:", elastic_group = "elastic:",
  kv = "kv:", store = "store:", watch = "watch:",
  stored_msg = "message:", periodic = "timer:", listener = "listener:",
  subscription = "subscription:", fiber = "f:", mutex = "m:", group = "group:",
  cache = "cache:", pg = "pg.", db = "db:", tx = "tx:", p = "p:", listening = "listening:",
  msgpack = "msgpack.", ["app.thread"] = "app.thread.", thread = "t:",
  tcp = "app.tcp.", socket = "socket:",
  redis_module = "redis.", redis = "redis:", redis_batch = "p:", redis_subscription = "feed:",
  request = "req:", route = "route:", leader = "lead:", cron_job = "job:",
}
---Those of the pages of JetStream.
local OF_STREAMS = { js = true, psub = true, consume = true, future = true, batch = true,
  counter = true, dead_letters = true, consumer_group = true,
  elastic_group = true,
  kv = true, store = true, watch = true,
  stored_msg = true,
  subscription = true }
---Every command of Redis is a method, too.
local OPEN = { ["redis:"] = true, ["p:"] = true, ["redis."] = true }

local FUNCTIONS = declarations.functions()

---Whether a piece of code names the function.
local function names(span, fn)
  local prefix = OWNERS[fn.owner]
  local full = prefix:gsub("%?", "") .. fn.name
  if (" " .. span .. " "):find("[^%w_.:]" .. full:gsub("%.", "%%.") .. "[^%w_]") then
    return true
  end
  return prefix:find("?", 1, true) and span:find("^" .. fn.name .. "%f[^%w_]") ~= nil
end

local function any(list, test)
  for _, item in ipairs(list) do
    if test(item) then return true end
  end
  return false
end

local function has_word(text, word) return text:find("%f[%w_]" .. word .. "%f[^%w_]") ~= nil end

local function sorted(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

---Whether a page shows a function, in words or in code.
local function shows(path, fn)
  local text, code = pages.split(path)
  return any(pages.spans(text), function(span) return names(span, fn) end) or names(code, fn)
end

local cache = {}
local function units(list)
  local found = {}
  for _, path in ipairs(list) do
    cache[path] = cache[path] or pages.units(path)
    table.move(cache[path], 1, #cache[path], #found + 1, found)
  end
  return found
end

---What the pages say about a function.
local function told(fn, list)
  local found = {}
  for _, unit in ipairs(units(list)) do
    if any(unit.calls, function(span) return names(span, fn) end) then
      found[#found + 1] = unit
    end
  end
  return found
end

---The options that the pages name for a function, or refer to: "those of `app.js.publish`".
local function told_options(fn, list, seen)
  local found = {}
  seen = seen or {}
  seen[fn] = true
  for _, unit in ipairs(told(fn, list)) do
    found[#found + 1] = table.concat(pages.spans(unit.text), "\n")
    for reference in unit.text:gmatch "[Oo]ptions: those of `([^`]+)`" do
      for _, other in ipairs(FUNCTIONS) do
        if names(reference, other) and not seen[other] then
          found[#found + 1] = told_options(other, list, seen)
        end
      end
    end
  end
  return table.concat(found, "\n")
end

local function full_name(fn) return OWNERS[fn.owner]:gsub("%?", "") .. fn.name end

describe("the pages", function()
  it("name every function of JetStream", function()
    local missing = {}
    for _, fn in ipairs(FUNCTIONS) do
      local named = any(STREAM_PAGES, function(path) return shows(path, fn) end)
      if OF_STREAMS[fn.owner] and not named then missing[#missing + 1] = full_name(fn) end
    end
    assert.same({}, missing)
  end)

  it("name every option of JetStream where they tell of its function", function()
    local missing = {}
    for _, fn in ipairs(FUNCTIONS) do
      local text = OF_STREAMS[fn.owner] and told_options(fn, STREAM_PAGES)
      local options = text and declarations.options_of(fn) or {}
      -- Of a whole configuration of the server, these stand for the others.
      if options["[string]"] then options = {} end
      for _, name in ipairs(sorted(options)) do
        if not has_word(text, name) then
          missing[#missing + 1] = ("%s of %s"):format(name, full_name(fn))
        end
      end
    end
    assert.same({}, missing)
  end)

  it("name every command, and every option of the command line", function()
    local missing, text = {}, read "README.md"
    text = text:match "\n## Command line\n(.-)\n## "
    local source = read "host/options/table.c"
    for name in source:gmatch '%f[%u]%u+%("([%l-]+)",' do
      if not text:find("%-%-" .. name:gsub("%-", "%%-") .. "%f[^%w-]") then
        missing[#missing + 1] = "--" .. name
      end
    end
    for name in source:gmatch '%[OPTIONS_%u+%] = {%s+"(%l+)"' do
      if not text:find("lunats " .. name, 1, true) then missing[#missing + 1] = name end
    end
    assert.same({}, missing)
  end)
end)

describe("the pages", function()
  ---What may stand behind an owner: functions, and fields of the class.
  local function members(owner)
    local found = {}
    for _, fn in ipairs(FUNCTIONS) do
      if fn.owner == owner then found[fn.name] = true end
    end
    return found
  end

  local CLASSES = { ["app."] = "app", ["app.nats."] = "nats", ["app.js."] = "js",
    ["app.json."] = "json", ["app.log."] = "log", ["msg."] = "msg", ["entry."] = "kv.entry" }

  it("name no function that does not exist", function()
    local wrong = {}
    local known = {}
    for owner, prefix in pairs(OWNERS) do known[prefix:gsub("%?", "")] = members(owner) end
    for prefix, class in pairs(CLASSES) do
      known[prefix] = known[prefix] or {}
      for field in pairs(declarations.fields(class)) do known[prefix][field] = true end
    end
    known["app.json."].null = true
    for field in pairs(declarations.fields "testing.fake_js_msg") do
      known["msg."][field] = true
    end
    local FILES = { c = true, d = true, h = true, lua = true }
    for _, path in ipairs(ALL_PAGES) do
      local text, code = pages.split(path)
      text = "\n" .. table.concat(pages.spans(text), "\n") .. "\n" .. code
      for prefix, names_of in pairs(known) do
        local pattern = "[^%w_.:]" .. prefix:gsub("%.", "%%.") .. "([%a][%w_]*)%f[^%w_]"
        for name in text:gmatch(pattern) do
          if not names_of[name] and not FILES[name] and not OPEN[prefix] then
            wrong[#wrong + 1] = path .. ": " .. prefix .. name
          end
        end
      end
    end
    assert.same({}, wrong)
  end)

  it("name no function of app.js that does not exist, its owner left out", function()
    local wrong, known = {}, members "js"
    for _, path in ipairs(STREAM_PAGES) do
      for _, unit in ipairs(pages.units(path)) do
        for _, span in ipairs(unit.text:find "^|" and unit.calls or {}) do
          local name = span:match "^([%l_]+) ?[({]"
          if name and name ~= "function" and not known[name] and #unit.options == 0 then
            wrong[#wrong + 1] = path .. ": " .. span
          end
        end
      end
    end
    assert.same({}, wrong)
  end)

  it("name no option that does not exist", function()
    local wrong = {}
    for _, path in ipairs { "docs/services.md", "docs/sending.md", "docs/data.md",
      table.unpack(STREAM_PAGES) } do
      for _, unit in ipairs(units { path }) do
        local known, named = {}, false
        for _, fn in ipairs(FUNCTIONS) do
          if any(unit.calls, function(span) return names(span, fn) end) then
            named = true
            for name in pairs(declarations.options_of(fn)) do known[name] = true end
          end
        end
        local function look(name)
          if not known[name] and not known["[string]"] then
            wrong[#wrong + 1] = ("%s: %s in %s"):format(path, name, unit.text:sub(1, 70))
          end
        end
        for _, span in ipairs(named and unit.options or {}) do
          local name = span:match "^[%l_]+"
          if name then look(name) end
        end
        -- "`opts`: `one`, `two` (5), ..." up to the end of the sentence.
        local text = unit.text:gsub("%b()", "")
        local list = named
          and (text:match "`opts`:(.*)" or text:match "Options of `[^`]+`:(.*)")
        for _, span in ipairs(list and pages.spans(list:match "^(.-)%.%s" or list) or {}) do
          local name = span:match "^([%l_]+)$" or span:match "^([%l_]+) ="
          if name then look(name) end
        end
        for _, span in ipairs(unit.calls) do
          if named and any(FUNCTIONS, function(fn) return names(span, fn) end) then
            for name in (span:match "%b{}" or ""):gmatch "([%l_]+) =" do look(name) end
          end
        end
      end
    end
    assert.same({}, wrong)
  end)

  it("name no option of the command line that does not exist", function()
    -- Of busted, cmake, ./dev and bench/.
    local FOREIGN = { filter = true, lua = true, preset = true, build = true, install = true,
      prefix = true, quick = true, messages = true, every = true }
    local known, wrong = { help = true, version = true }, {}
    for name in read("host/options/table.c"):gmatch '%f[%u]%u+%("([%l-]+)",' do
      known[name], known["no-" .. name] = true, true
    end
    for _, path in ipairs { "README.md", "docs/services.md", "docs/testing.md",
      "docs/reload.md", "docs/command_line.md", "SECURITY.md", table.unpack(STREAM_PAGES) } do
      for name in read(path):gmatch "%f[%-]%-%-(%l[%l-]+)" do
        if not known[name] and not FOREIGN[name] then
          wrong[#wrong + 1] = path .. ": --" .. name
        end
      end
    end
    assert.same({}, wrong)
  end)
end)
