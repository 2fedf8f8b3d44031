-- Scripts that want more and more of something, one by one, beside another service.
local attacks = require "spec.support.attacks"
local rows = require "spec.support.attacks.memory"
local tsan = require "spec.support.tsan"

if tsan then return pending "ThreadSanitizer keeps back the signal that ends what runs on" end

describe("a service and its process survive", function()
  lazy_teardown(attacks.close)

  for _, row in ipairs(rows) do
    it(row.name, function() attacks.survive(row, rows) end)
  end
end)
