---@meta lunats.msgpack
---MessagePack, by the rules of app.json: `local msgpack = require "lunats.msgpack"`.

---@class msgpack
local msgpack = {}

---Raises for what MessagePack cannot hold. A string that is UTF-8 is written as one, others as
---bytes; a list as app.json would; any other table as a map, with whatever keys it has.
---@param value any
---@return string bytes
function msgpack.encode(value) end

---Lists are marked as those of app.json, nil is app.json.null. An unsigned integer of more than 63
---bits is a float. Extensions are refused.
---@param bytes string
---@return any value
---@return err|nil err `bad_msgpack`
function msgpack.decode(bytes) end

return msgpack
