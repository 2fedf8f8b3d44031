local assert = require "luassert"

---Asserts that something failed with a code: failed("not_found", store:info "b").
---@param code string
---@return table err
return function(code, result, err)
  assert.is_nil(result)
  assert.equal(code, err.code)
  return err
end
