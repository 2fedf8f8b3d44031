-- What docs/postgresql.md shows works.
local code = require "spec.support.blocks"
local postgres = require "spec.support.postgres"
local process = require "spec.support.process"

local PAGE = "docs/postgresql.md"

describe(PAGE, function()
  local server
  if not postgres.each(function(...) server = ... end) then return end

  ---With the database of this spec in the place of the one in the page.
  local function text_of(block)
    local text, count = block.text:gsub("postgresql://app@db%.example/shop", server.dsn)
    assert.equal(1, count)
    return text
  end

  for _, block in ipairs(code.of(PAGE, "lua")) do
    local name = code.file_name(block)
    if name then
      it("runs " .. name, function()
        local child = process.run(text_of(block), { "--name", "docs" })
        child:expect "started, connected"
        assert.equal(0, child:stop())
        assert.equal(0, child:count " ERROR ", child:output())
      end)
    else
      it("runs the code at line " .. block.line, function()
        assert(load(text_of(block), ("=%s:%d"):format(PAGE, block.line), "t"))()
      end)
    end
  end
end)
