---bench/shop.lua in a short form, with another seed each time: whatever dies of the shop of the
---examples, its books balance. LN_SHOP_SEED takes the seed of a run that has failed.
local postgres = require "spec.support.postgres"
local process = require "spec.support.process"

local ORDERS = tonumber(os.getenv "LN_SHOP") or 300
local SEED = tonumber(os.getenv "LN_SHOP_SEED") or os.time() % 1000000

---What it takes until all is well again, on a machine that does much else.
local PATIENCE = 240

describe("the books of examples/shop", function()
  after_each(process.close_all)

  it(("balance when each of its processes is killed (seed %d)"):format(SEED), function()
    if postgres.missing then return pending(postgres.missing) end
    local child = process.spawn { process.lunats(), "lua", "bench/shop.lua", "--orders",
      tostring(ORDERS), "--kills", "8", "--clients", "16", "--seed", tostring(SEED) }
    local status = child:wait(PATIENCE)
    assert.equal(0, status, child:output())
    assert.matches("\nthe books balance\n", child:output())
  end)

  it("are not looked at with words that are no options", function()
    local status, output = process.lunats_to_end { "lua", "bench/shop.lua", "--orders", "0" }
    assert.same({ 2, "usage: bench/shop.lua [--orders N] [--kills N] [--clients N] [--seed N] "
      .. "[--logs FOLDER]\n" }, { status, output })
  end)
end)
