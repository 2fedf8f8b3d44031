-- Elastic consumer groups, as far as no server is needed: what follows from an entry of the
-- bucket, and which arguments there are.
local elastic = require "lunats.js.elastic"

describe("elastic consumer groups", function()
  it("make transforms, and shares, as the tests of orbit have them", function()
    local function shape(text) return assert(elastic.parse(text)) end
    local filters = '"partitioning_filters":[{"filter":"foo.*.*.>",'
      .. '"partitioning_wildcards":[1,2]}]'
    assert.same({ { src = "foo.*.*.>",
      dest = "{{Partition(4,1,2)}}.foo.{{Wildcard(1)}}.{{Wildcard(2)}}.>" } },
      elastic.transforms(shape('{"max_members":4,' .. filters .. "}")))
    for count, shares in pairs {
      [6] = { m1 = { 0, 1 }, m2 = { 2, 3 }, m3 = { 4, 5 } },
      [7] = { m1 = { 0, 1, 6 }, m2 = { 2, 3 }, m3 = { 4, 5 } },
      [8] = { m1 = { 0, 1, 6 }, m2 = { 2, 3, 7 }, m3 = { 4, 5 } },
    } do
      assert.same(shares, elastic.shares(shape(('{"max_members":%d,%s,'
        .. '"members":["m1","m2","m3"]}'):format(count, filters))))
    end
    -- More of them than partitions: those behind have nothing.
    assert.same({ a = { 0 }, b = { 1 } },
      elastic.shares(shape '{"max_members":2,"members":["c","b","a"]}'))
  end)

  it("tell what is wrong with arguments", function()
    local function refuses(text, fn, ...)
      local ok, err = pcall(fn, ...)
      assert.is_false(ok)
      assert.truthy(tostring(err):find(text, 1, true), tostring(err))
    end
    local read, make = app.js.consumer_group, app.js.create_elastic_group
    refuses("elastic: which `member` reads here?", read, "S", "g", { elastic = true }, print)
    refuses("elastic: no `partitions` with it", read, "S", "g", { elastic = true,
      member = "m", partitions = 2 }, print)
    refuses("invalid name 'a.b'", read, "S", "g", { elastic = true, member = "a.b" }, print)
    refuses("'deliver_policy' is not for you to say", read, "S", "g", { elastic = true,
      member = "m", config = { deliver_policy = "new" } }, print)
    refuses("partitions: how many are there to be?", make, "S", "g", {})
    refuses("partitions must be a whole number from 1 to 1024", make, "S", "g",
      { partitions = 2000 })
    refuses("the name 'a.b' of a group", make, "S", "a.b", { partitions = 1 })
    refuses("must have a token * or end in >", make, "S", "g", { partitions = 1,
      filters = { "a.b" } })
    refuses("has no * number 3", make, "S", "g", { partitions = 1,
      filters = { { filter = "a.*", wildcards = { 3 } } } })
    refuses("either members or mappings", make, "S", "g", { partitions = 1, members = { "a" },
      mappings = { a = { 0 } } })
    refuses("mappings: the partition 0 of 'b' is mapped twice", make, "S", "g",
      { partitions = 1, mappings = { a = { 0 }, b = { 0 } } })
    refuses("unknown option 'partition'", make, "S", "g", { partition = 1 })
    refuses("max_msgs must be a whole number", make, "S", "g", { partitions = 1,
      max_msgs = 0 })
  end)
end)
