-- A worker of bench/order.lua: reads its partitions, and does what is to be done.
app.config { name = "order" }

for number in os.getenv "PARTITIONS":gmatch "%d+" do
  app.js.pull_subscribe(number .. ".work.*", { stream = "WORK", durable = "p" .. number,
    config = { ack_wait = 1 } }):consume({ key = "subject:3", max_messages = 200,
    data_type = "string" }, function(msg)
      local key, i = msg.subject:match "[^.]+$", msg.data
      local ack, err = app.js.publish("done." .. key, i, { msg_id = key .. ":" .. i })
      return ack and true, err
    end)
end
