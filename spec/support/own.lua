---What a test has of its own, gone when it is over: after_each(own.close).
local eventually = require "spec.support.eventually"
local testing = require "lunats.testing"
local unique = require "spec.support.unique"

local M = {}

local handles, streams, buckets, stores = {}, {}, {}, {}

---Stops a handle, service, server or cluster at the end; the last one first.
---@return any ...  what it was given
function M.keep(handle, ...)
  handles[#handles + 1] = handle
  return handle, ...
end

---A stream with all subjects below its name; returns the name.
---@param prefix string
---@param config table|nil further fields
function M.stream(prefix, config)
  local all = { name = unique(prefix) }
  all.subjects = { all.name .. ".>" }
  for field, value in pairs(config or {}) do all[field] = value end
  streams[#streams + 1] = all.name
  assert(app.js.add_stream(all))
  return all.name
end

local function in_memory(list, prefix, opts)
  local all = { bucket = unique(prefix), storage = "memory" }
  for field, value in pairs(opts or {}) do all[field] = value end
  list[#list + 1] = all.bucket
  return all
end

---A bucket of the key-value store, in memory unless the options say otherwise.
function M.bucket(opts)
  return assert(app.js.create_key_value(in_memory(buckets, "kv", opts)))
end

---The name of a bucket that the test creates itself.
function M.bucket_name() return in_memory(buckets, "kv").bucket end

---An object store, as a bucket.
function M.store(opts)
  return assert(app.js.create_object_store(in_memory(stores, "obj", opts)))
end

---testing.start(), whose service ends with the test.
function M.start(source, opts) return M.keep(testing.start(source, opts)) end

---A service on a server of its own.
---@param source string
---@return table service, table broker
function M.service(source)
  local broker = M.keep(testing.broker())
  return M.start(source, { server = broker.url }), broker
end

---Waits until a server has written a text to its files: that is some milliseconds after it has
---acknowledged the message, and without it a message does not survive a kill.
function M.stored(broker, text)
  eventually(("%q in a file"):format(text), function()
    return os.execute(("grep -rqsF '%s' '%s'"):format(text, broker.dir))
  end)
end

---Kills the server of a service; it comes back when the service has noticed.
function M.outage(svc, broker)
  local losses = #svc:logs "connection lost"
  broker:kill()
  eventually("the loss", function() return #svc:logs "connection lost" > losses end)
  broker:restart()
end

function M.close()
  for i = #handles, 1, -1 do handles[i]:stop() end
  for _, name in ipairs(streams) do app.js.delete_stream(name) end
  for _, name in ipairs(buckets) do app.js.delete_key_value(name) end
  for _, name in ipairs(stores) do app.js.delete_object_store(name) end
  handles, streams, buckets, stores = {}, {}, {}, {}
end

return M
