-- lunats new: what it writes works at once.
local json_in = require "spec.support.json_in"
local lfs = require "lfs"
local process = require "spec.support.process"
local read = require "spec.support.read"

after_each(process.close_all)

---Runs `lunats new` in a new folder; returns that folder.
local function new(name, ...)
  local folder = process.path "parent"
  assert(lfs.mkdir(folder))
  local child = process.spawn({ process.lunats(), "new", name, ... }, { cwd = folder })
  return child:wait(), child:output(), folder
end

describe("lunats new", function()
  for _, name in ipairs { "orders", "order-mail_2" } do
    it("makes a service whose specs pass: " .. name, function()
      local status, output, parent = new(name)
      assert.equal(0, status, output)
      local cwd = parent .. "/" .. name
      local child = process.spawn({ process.lunats(), "test", "--timeout", "20", "-o", "TAP" },
        { cwd = cwd })
      assert.equal(0, child:wait(), child:output())
      assert.matches("ok 3", child:output())
    end)
  end

  for template, tests in pairs { service = 3, http = 3, worker = 2 } do
    it("makes of the template " .. template .. " what passes, and has no mistakes", function()
      local status, output, parent = new("order-mail_2", "--template", template)
      assert.equal(0, status, output)
      local cwd = parent .. "/order-mail_2"
      local child = process.spawn({ process.lunats(), "test", "--timeout", "20", "-o", "TAP" },
        { cwd = cwd })
      assert.equal(0, child:wait(), child:output())
      assert.matches("ok " .. tests, child:output())
      child = process.spawn({ process.lunats(), "check", "--json", "order-mail_2.lua" },
        { cwd = cwd })
      assert.equal(0, child:wait(), child:output())
      assert.same({}, json_in(child:output())[1].problems)
      local readme = read(cwd .. "/README.md")
      assert.matches("\n| `", readme)
      assert.matches("systemctl enable %-%-now lunats@order%-mail_2", readme)
    end)
  end

  it("knows its templates", function()
    local status, output = new("orders", "--template", "web")
    assert.equal(1, status)
    assert.matches('no template "web": it is one of service, http, worker', output)
  end)

  it("makes a service that check and luacheck find nothing wrong with", function()
    local _, _, parent = new "orders"
    local child = process.spawn({ process.lunats(), "check", "--json", "orders.lua" },
      { cwd = parent .. "/orders" })
    assert.equal(0, child:wait(), child:output())
    local result = json_in(child:output())[1]
    assert.same({}, result.problems)
    assert.same({ "orders", "0.1.0" }, { result.name, result.version })
    if not os.execute "command -v luacheck >/dev/null" then return pending "no luacheck" end
    child = process.spawn({ "luacheck", "." }, { cwd = parent .. "/orders" })
    assert.equal(0, child:wait(), child:output())
  end)

  it("writes all the files, without a word of the template", function()
    local _, output, parent = new "orders"
    for _, path in ipairs { "orders.lua", "spec/orders_spec.lua", ".busted", ".luacheckrc",
      ".luarc.json", ".gitignore", "README.md", "orders.env", "Containerfile",
      ".github/workflows/test.yml" } do
      local text = read(parent .. "/orders/" .. path)
      assert.is_nil(text:find "@%u+@", path)
      assert.truthy(output:find("orders/" .. path, 1, true), output)
    end
    local settings = assert(app.json.decode(read(parent .. "/orders/.luarc.json")))
    assert.equal("Lua 5.4", settings["runtime.version"])
    assert.matches("LUNATS_TYPES}$", settings["workspace.library"][1])
  end)

  it("points at the declarations that are installed beside the program", function()
    local prefix = process.path "prefix"
    for _, folder in ipairs { "", "/bin", "/share", "/share/lunats", "/share/lunats/types" } do
      assert(lfs.mkdir(prefix .. folder))
    end
    assert(os.execute(("cp %q %q/bin/lunats"):format(process.lunats(), prefix)))
    assert(io.open(prefix .. "/share/lunats/types/app.d.lua", "w")):close()
    local child = process.spawn({ prefix .. "/bin/lunats", "new", "orders" }, { cwd = prefix })
    assert.equal(0, child:wait(), child:output())
    local settings = assert(app.json.decode(read(prefix .. "/orders/.luarc.json")))
    assert.equal(prefix .. "/share/lunats/types", settings["workspace.library"][1])
  end)

  it("never overwrites anything", function()
    local _, _, parent = new "orders"
    local child = process.spawn({ process.lunats(), "new", "orders" }, { cwd = parent })
    assert.equal(1, child:wait())
    assert.matches("orders is there already; nothing was changed", child:output())
  end)

  for _, case in ipairs {
    { "9lives", "cannot be the name of a service", 1 },
    { "a b", "cannot be the name of a service", 1 },
    { "no/such/orders", "[Nn]o such file", 1 },
  } do
    it("refuses the name " .. case[1], function()
      local status, output = new(case[1])
      assert.equal(case[3], status)
      assert.matches(case[2], output)
    end)
  end

  it("wants one name", function()
    local status, output = process.lunats_to_end { "new" }
    assert.equal(2, status)
    assert.matches("takes one NAME", output)
  end)
end)
