---A name that nobody else uses: specs of one server do not meet.
local core = require "lunats.core"

---@param name string what it begins with
---@return string
return function(name) return name .. "_" .. core.new_inbox():match "[^.]+$" end
