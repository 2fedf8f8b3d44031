-- How the partitions of a consumer group are shared: numbers only.
local balance = require "lunats.js.balance"

---Readers that act one after the other, each by what it sees, until nothing changes.
---@param has integer[]  how many each reads
---@param free integer
---@return integer moved
local function settle(has, free)
  local moved = 0
  for _ = 1, 100 do
    local changed = false
    for i = 1, #has do
      local others = {}
      for j, count in ipairs(has) do
        if j ~= i then others[#others + 1] = count end
      end
      local give, take = balance.decide(has[i], free, 0, others)
      assert.is_true(give <= has[i] and take <= free and math.min(give, take) == 0)
      has[i], free = has[i] - give + take, free + give - take
      moved, changed = moved + give, changed or give + take > 0
    end
    if not changed then
      assert.equal(0, free)
      return moved
    end
  end
  error "it never ends"
end

local function assert_even(has)
  assert.is_true(math.max(table.unpack(has)) - math.min(table.unpack(has)) <= 1)
end

describe("the balance of a consumer group", function()
  it("gives all to one reader, and half of it to a second", function()
    local has = { 0 }
    assert.equal(0, settle(has, 8))
    assert.same({ 8 }, has)
    has[2] = 0
    assert.equal(4, settle(has, 0))
    assert.same({ 4, 4 }, has)
  end)

  it("leaves readers without any where there are more of them than partitions", function()
    local has = { 0, 0, 0, 0, 0 }
    settle(has, 3)
    assert.equal(3, has[1] + has[2] + has[3] + has[4] + has[5])
    assert_even(has)
  end)

  it("moves nothing when it is even", function()
    assert.equal(0, settle({ 3, 2, 2 }, 0))
    assert.equal(0, settle({ 2, 3, 2 }, 0))
  end)

  it("counts what is on its way", function()
    assert.same({ 4, 0 }, { balance.decide(8, 0, 0, { 0 }) })
    assert.same({ 0, 0 }, { balance.decide(4, 0, 4, { 0 }) })
    assert.same({ 0, 0 }, { balance.decide(4, 4, 0, { 0 }) })
    assert.same({ 0, 4 }, { balance.decide(0, 4, 0, { 4 }) })
  end)

  it("is even after any number of readers have come and gone, and moves few", function()
    for _ = 1, 200 do
      local count = math.random(64)
      local has, free = { 0 }, count
      for _ = 1, 10 do
        settle(has, free)
        assert_even(has)
        free = 0
        if #has > 1 and math.random(2) == 1 then
          free = table.remove(has, math.random(#has))
          assert.is_true(settle(has, free) <= 1 + #has)
          free = 0
        else
          has[#has + 1] = 0
          assert.is_true(settle(has, 0) <= count // #has + #has)
        end
      end
    end
  end)

  it("shares by names in blocks", function()
    local function owners(members, count)
      local list, of = {}, balance.blocks(members, count)
      for number = 0, count - 1 do list[number + 1] = of[number] end
      return table.concat(list, " ")
    end
    assert.equal("a a a a b b b b", owners({ "b", "a", "b" }, 8))
    assert.equal("a a b b c c a b", owners({ "c", "b", "a" }, 8))
    assert.equal("a b", owners({ "a", "b", "c" }, 2))
    assert.equal("", owners({}, 2))
  end)
end)
