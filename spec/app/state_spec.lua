-- app.state: how it is copied, and how a new version takes what it was given.
local json = require "lunats.json"
local state = require "lunats.state"

local function copy(value) return (state.unpack(state.pack(value, "app.state"))) end

---What a new version has after its top level ran and the old one went on: `save` is called
---before the load and at the switch, `load` is the top level.
local function reload(save_before, load, save_after)
  local live = {}
  local given = state.refill(live, copy(save_before), {})
  load(live)
  state.refill(live, copy(save_after), given)
  return live
end

describe("a copy", function()
  it("is equal, with types, marks, shared tables and circles", function()
    local shared = json.array { 1, 2.5, -0.0, math.mininteger, "a\0b" }
    local value = { a = shared, b = shared, [1] = true, [2.5] = false, o = json.object {},
      null = json.null }
    value.self = value
    value[shared] = "key"
    local back = copy(value)
    assert.equal(back, back.self)
    assert.equal(back.a, back.b)
    assert.equal("key", back[back.a])
    assert.equal("float", math.type(back.a[2]))
    assert.equal("integer", math.type(back.a[1]))
    assert.same({ 1, 2.5, -0.0, math.mininteger, "a\0b" }, setmetatable(back.a, nil))
    assert.equal(getmetatable(value.o), getmetatable(back.o))
    assert.equal(json.null, back.null)
    assert.is_true(back[1])
    assert.is_false(back[2.5])
  end)

  it("names what cannot be copied, by a path of bounded length", function()
    for path, value in pairs {
      ["app.state.users[1].callback: cannot copy a function"] =
        { users = { { callback = print } } },
      ['app.state["a b"][true]: cannot copy a thread'] =
        { ["a b"] = { [true] = coroutine.create(print) } },
      ["app.state.x: cannot copy a table with a metatable"] = { x = setmetatable({}, {}) },
    } do
      local ok, err = pcall(state.pack, value, "app.state")
      assert.is_false(ok)
      assert.equal(path, err)
    end
    local list = print
    for _ = 1, 1000 do list = { next = list } end
    local _, err = pcall(state.pack, list, "app.state")
    assert.matches("^app.state.next.* %.%.%. .*next: cannot copy a function$", err)
    assert.is_true(#err < 200)
  end)

  it("of a long list does not overflow the stack", function()
    local list
    for i = 1, os.getenv "LN_GC_STRESS" and 1000 or 50000 do
      list = { value = i, next = list }
    end
    local n, back = 0, copy(list)
    while back do n, back = n + 1, back.next end
    assert.equal(list.value, n)
  end)
end)

describe("refilling", function()
  it("keeps the tables that the new version has names for", function()
    local users, first
    local live = reload({ users = { { name = "ada" } } }, function(s)
      users, first = s.users, s.users[1]
    end, { users = { { name = "Ada", age = 36 }, { name = "bob" } } })
    assert.equal(users, live.users)
    assert.equal(first, live.users[1])
    assert.same({ { name = "Ada", age = 36 }, { name = "bob" } }, users)
  end)

  it("keeps a table that the new version has put there itself, with the old content", function()
    local cache
    local live = reload({}, function(s)
      s.cache = { mine = 1 }
      cache = s.cache
    end, { cache = { old = 2 } })
    assert.equal(cache, live.cache)
    assert.same({ old = 2 }, cache)
  end)

  it("keeps what the new version has added, and removes what the old one has", function()
    local live = reload({ stats = { hits = 1, gone = 1 } }, function(s)
      s.stats.errors = s.stats.errors or 0
      s.version = 2
      s.stats.hits = 0
    end, { stats = { hits = 7 } })
    assert.same({ stats = { hits = 7, errors = 0 }, version = 2 }, live)
  end)

  it("has tables shared and in circles as the old version has them", function()
    local a, b
    local live = reload({ a = {}, b = {} }, function(s) a, b = s.a, s.b end, (function()
      local s = { a = { n = 1 } }
      s.b, s.a.whole, s.a.self = s.a, s, s.a
      return s
    end)())
    assert.equal(live.a, live.b)
    assert.is_true(live.a == a or live.a == b)
    assert.equal(live, live.a.whole)
    assert.equal(live.a, live.a.self)
  end)

  it("takes apart what was shared before", function()
    local one = { n = 0 }
    local live = reload({ a = one, b = one }, function() end, { a = { n = 1 }, b = { n = 2 } })
    assert.same({ a = { n = 1 }, b = { n = 2 } }, live)
  end)

  it("finds tables that are keys, too", function()
    local key = { name = "key" }
    local live = reload({}, function(s) s.value = {} end, { value = key, [key] = "found" })
    assert.equal("found", live[live.value])
    assert.same({ name = "key" }, live.value)
  end)

  it("replaces a table that the new version has given a metatable", function()
    local live = reload({ o = { x = 1 } }, function(s)
      setmetatable(s.o, { __newindex = error, __metatable = false })
    end, { o = { y = 2 } })
    assert.same({ y = 2 }, live.o)
    assert.is_nil(getmetatable(live.o))
  end)
end)
