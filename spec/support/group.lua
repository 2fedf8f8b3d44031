---What the specs of consumer groups share, whether their members come and go (elastic) or not:
---a service that reads, and looks at what it has read.
local eventually = require "spec.support.eventually"

local M = {}

---STREAM, OPTIONS and HANDLER are replaced.
local SERVICE = [[
  app.config { name = "orders" }
  local group = app.js.consumer_group("STREAM", "billing", OPTIONS, function(msg, partition)
    HANDLER
    app.publish("done", { subject = msg.subject, i = msg.data, number = partition.number,
      token = partition.token, instance = app.instance_id })
  end)
  app.listen("parts." .. app.instance_id, { queue = false }, function()
    return { list = app.json.array(group:partitions()), members = group:members() }
  end)
  app.listen("go." .. app.instance_id, { queue = false }, function()
    go_on = true
    return true
  end)
  app.listen("stop." .. app.instance_id, { queue = false }, function()
    group:stop()
    return true
  end)
]]

---A script that reads the stream as `billing`, and tells `done` of each message.
---@param options string  of app.js.consumer_group, in Lua
---@param handler string|nil  runs before that
function M.service(stream, options, handler)
  return (SERVICE:gsub("%u%u%u%u+", { STREAM = stream, HANDLER = handler or "",
    OPTIONS = options }))
end

---@return { list: integer[], members: integer }  what the service has of the group
function M.parts(svc)
  return assert(svc:request("parts." .. svc.instance_id)).data
end

---Waits until these services have handled so many messages, and returns how often one was
---handled again.
function M.handled(count, ...)
  local services, again = { ... }, 0
  eventually(count .. " messages", function()
    local seen, total = {}, 0
    again = 0
    for _, svc in ipairs(services) do
      for _, call in ipairs(svc:calls "done") do
        local id = call.data.subject .. "=" .. call.data.i
        if seen[id] then again = again + 1 else total = total + 1 end
        seen[id] = true
      end
    end
    return total == count
  end)
  return again
end

---The numbers that a service has handled, by subject.
function M.by_key(svc)
  local lists = {}
  for _, call in ipairs(svc:calls "done") do
    local list = lists[call.data.subject] or {}
    lists[call.data.subject], list[#list + 1] = list, call.data.i
  end
  return lists
end

---OPTIONS are replaced.
local PROCESS = [[
  app.config { name = "ledger" }
  local group = app.js.consumer_group("WORK", "ledger", OPTIONS, function(msg)
    app.sleep(0.005)
    local ack, err = app.js.publish("done." .. msg.subject:match "[^.]+$", msg.data,
      { msg_id = msg.subject .. "=" .. msg.data })
    if ack and ack.duplicate then app.publish("again", msg.subject .. "=" .. msg.data) end
    return ack and true, err
  end)
  app.on_start(function() print("instance " .. app.instance_id .. ".") end)
  app.timer(0.05, function()
    app.publish("parts." .. app.instance_id, group:partitions())
  end)
]]

---A script that reads WORK as `ledger`: what it has handled is in DONE, whose order is that of
---all, and each message handled again is told to `again`.
---@param options string  of app.js.consumer_group, in Lua
function M.process(options)
  return (PROCESS:gsub("OPTIONS", function() return options end))
end

---Waits until DONE has so many messages, and checks that they are 1, 2, 3, ... of each key.
function M.expect_order(nats, count)
  local last, seen = {}, 0
  local sub = assert(nats.js.subscribe("done.*", { stream = "DONE", ordered = true },
    function(msg)
      local before = last[msg.subject] or 0
      assert(msg.data == before + 1, ("%s: %d behind %d"):format(msg.subject, msg.data, before))
      last[msg.subject], seen = msg.data, seen + 1
    end))
  eventually("each message, in order", function() return seen == count end)
  sub:stop()
end

return M
