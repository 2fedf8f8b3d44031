-- Each promise of docs/reliability.md names a test: it is there, with these words.
local read = require "spec.support.read"

describe("docs/reliability.md", function()
  it("names tests that exist", function()
    local count = 0
    for line in read("docs/reliability.md"):gmatch "[^\n]+" do
      for file, words in line:gmatch "`(spec/[%w_/]+%.%l+)`:? ?([^|;`]*)" do
        words = words:gsub(" $", "")
        count = count + 1
        local text = read(file)
        assert.is_truthy(text:find(words, 1, true), ("%s has no test %q"):format(file, words))
      end
    end
    assert.is_true(count > 30)
  end)
end)
