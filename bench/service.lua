-- SPDX-License-Identifier: Apache-2.0
-- The benchmark service: what bench/peer_cb.c, peer.go and peers/ do in their languages.
app.config { name = "bench" }

app.listen("bench.echo", { data_type = "string" }, function(msg) return msg.data end)

app.listen("bench.json", function(msg)
  local order, sum = msg.data, 0
  for _, value in ipairs(order.values) do sum = sum + value end
  order.sum = sum
  return order
end)

local count = 0
app.listen("bench.count", { data_type = "string" }, function()
  count = count + 1
  if count % 4096 == 0 then app.publish("bench.count.report", "4096") end
end)

-- No more than these are on their way at a time, which one turn of a slow loop can handle.
app.listen("bench.paced", { data_type = "string" }, function()
  count = count + 1
  if count % 128 == 0 then app.publish("bench.paced.report", "128") end
end)

local function fetch(psub, job)
  local done = 0
  while done < job.count do
    local messages = assert(psub:fetch(job.batch, { data_type = "string" }))
    for _, msg in ipairs(messages) do msg:ack() end
    done = done + #messages
  end
end

local function consume(psub, job)
  local handle = assert(psub:consume({ max_messages = 2 * job.batch, data_type = "string" },
    function() end))
  while handle:stats().acked < job.count do app.sleep(0.002) end
  handle:stop()
end

app.listen("bench.pull", function(msg)
  local job = msg.data
  local psub = app.js.pull_subscribe(nil, { stream = job.stream, durable = job.durable })
  local work = job.consume and consume or fetch
  work(psub, job)
  assert(app.flush())
  return { n = job.count }
end)

app.listen("bench.publish", function(msg)
  local job = msg.data
  local body = ("x"):rep(job.size)
  local js = app.js
  js.publish_window = job.window -- luacheck: ignore 122
  for _ = 1, job.count do
    if job.window == 1 then
      assert(js.publish(job.subject, body))
    else
      js.publish_async(job.subject, body)
    end
  end
  assert(js.flush(60))
  return { n = job.count }
end)
