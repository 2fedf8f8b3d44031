-- ./dev package: what it refuses before it builds anything. What it builds is tried by
-- packaging/try-debs and packaging/try-arm64.
local process = require "spec.support.process"

describe("./dev package", function()
  after_each(process.close_all)

  for _, arguments in ipairs { { "--arch", "sparc64" }, { "--arch" }, { "arm64" },
    { "--twice", "--thrice" } } do
    it("refuses " .. table.concat(arguments, " "), function()
      local child = process.spawn { "./dev", "package", table.unpack(arguments) }
      assert.equal(1, child:wait())
      assert.equal("dev: package takes no arguments but --twice and --arch arm64\n",
        child:output())
    end)
  end
end)
