---@meta lunats.js.counter

---@class js
local js = {}

---A number that a stream with `allow_msg_counter` adds up, one for each subject. Servers from 2.12
---on, else `unsupported`.
---@param subject string
---@param opts { stream: string|nil }|nil
---@return js.counter
function js.counter(subject, opts) end

---@class js.counter
---@field subject string
---@field stream string|nil known after the first use
local counter = {}

---Adds. After a `timeout` it may have been added: repeating is safe with a `msg_id` only.
---@param n integer|string|nil default 1; a string of digits is as large as it likes
---@param opts { msg_id: string|nil, timeout: number|nil }|nil
---@return integer|string|nil value a string when it is larger than an integer of Lua
---@return js.err|nil err
function counter:add(n, opts) end

---@return integer|string|nil value
---@return js.err|nil err `not_found`: nobody has added anything
function counter:get() end
