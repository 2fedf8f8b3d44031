---@meta msg
---Messages: what handlers get and what app.request returns. A message owns its bytes, so a
---script may keep it as long as it likes. Those of a stream can do more: see js.d.lua.

---@class msg
---@field subject string
---@field data any decoded when first read: from JSON unless `data_type` says something else; nil for an empty payload. Raises for a body that is not JSON, or what the codec cannot decode, which answers a request with code 400. May be set.
---@field raw string the payload as it came
---@field headers table<string, string|string[]> a list where a name came several times
---@field reply_to string|nil where a reply is expected
---@field deadline number|nil seconds for which the sender of a request still waits, 0: it has given up; nil: it has not said
local msg = {}

---The first value of a header; upper and lower case are the same.
---@param name string
---@return string|nil value
function msg:header(name) end

---Sends the reply now, by the codec of the message if it has one, so that the handler may go
---on; what it returns is not sent then. Another msg is passed on with its headers, unless the options have some.
---@param message message|msg
---@param opts { headers: headers|nil }|nil
---@return true|nil ok
---@return err|nil err code `no_reply` if the sender wants none, `refused` if the reply subject belongs to the server
function msg:respond(message, opts) end

return msg
