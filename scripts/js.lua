---`app.js`: streams, consumers, publishing and subscribing. Times are seconds.
local core = require "lunats.core"
local around = require "lunats.around"
local consumers = require "lunats.js.consumers"
local publish = require "lunats.js.publish"
local publish_async = require "lunats.js.publish_async"
local pull = require "lunats.js.pull"
local push = require "lunats.js.push"
local streams = require "lunats.js.streams"

---@class js
local M = {}

local STREAMS = { "add_stream", "update_stream", "ensure_stream", "stream_info",
  "delete_stream", "purge_stream", "streams", "stream_names", "find_stream", "account_info",
  "get_msg", "delete_msg" }
for _, name in ipairs(STREAMS) do M[name] = streams[name] end

M.add_consumer = consumers.add
M.update_consumer = consumers.update
M.ensure_consumer = consumers.ensure
M.consumer_info = consumers.info
M.delete_consumer = consumers.delete
M.consumers = consumers.list
M.consumer_names = consumers.names
M.pause_consumer = consumers.pause
M.resume_consumer = consumers.resume
M.unpin_consumer = consumers.unpin
M.reset_consumer = consumers.reset

M.publish = publish.publish
M.publish_async = publish_async.publish_async
M.flush = publish_async.flush
---Messages of publish_async that may be under way at the same time.
M.publish_window = 256
publish_async.js = M

M.pull_subscribe = pull.subscribe
M.subscribe = push.subscribe

---Loaded when first used: not every service needs them.
local LAZY = {
  context = "lunats.js.context", schedule = "lunats.js.schedule",
  counter = "lunats.js.counter", batch = "lunats.js.batch",
  dead_letters = "lunats.js.dead_letters", consumer_group = "lunats.js.consumer_group",
  create_elastic_group = "lunats.js.elastic_groups",
  elastic_group = "lunats.js.elastic_groups",
  delete_elastic_group = "lunats.js.elastic_groups",
  elastic_group_names = "lunats.js.elastic_groups",
  create_key_value = "lunats.js.kv", key_value = "lunats.js.kv",
  delete_key_value = "lunats.js.kv", key_value_names = "lunats.js.kv",
  create_object_store = "lunats.js.object", object_store = "lunats.js.object",
  delete_object_store = "lunats.js.object", object_store_names = "lunats.js.object",
}

return around.sender(setmetatable(M, {
  __index = function(_, name)
    local module = LAZY[name]
    if module then
      M[name] = require(module)[name]
      return M[name]
    end
    if type(name) == "string" then core.missed(name, "app.js", M, LAZY) end
  end,
}), "app.js")
