---@meta lunats.js.batch

---@class js
local js = {}

---Several messages, on one subject or many of one stream, that are stored together or not at all.
---The stream needs `allow_atomic`, the server is 2.12 or newer, else `unsupported`.
---@param opts { timeout: number|nil }|nil of each message, default 5
---@return js.batch
function js.batch(opts) end

---@class js.batch
---@field id string
---@field count integer messages that were added
---@field closed boolean committed, discarded or failed
local batch = {}

---Adds a message: it is sent now and stored with the others by commit(). Raises while another
---fiber adds one.
---@param subject string
---@param message any
---@param opts js.publish_opts|nil expected_last_seq for the first one only
---@return true|nil ok
---@return js.err|nil err nothing of the batch is stored
function batch:add(subject, message, opts) end

---Adds the last message and stores all of them; without arguments those that were added (servers
---from 2.14 on). After a `timeout` all may be stored, or none.
---@param subject string|nil
---@param message any
---@param opts js.publish_opts|nil
---@return { stream: string, seq: integer, batch: string, count: integer }|nil ack of the last message
---@return js.err|nil err nothing is stored
function batch:commit(subject, message, opts) end

---Gives it up: nothing is stored.
function batch:discard() end
