-- A member of the elastic group of bench/order.lua.
app.config { name = "order" }

app.js.consumer_group("WORK", "order", { elastic = true, member = os.getenv "MEMBER", ttl = 2,
  key = "subject:2", max_messages = 200, data_type = "string" }, function(msg)
    local key, i = msg.subject:match "[^.]+$", msg.data
    local ack, err = app.js.publish("done." .. key, i, { msg_id = key .. ":" .. i })
    if ack and ack.duplicate then app.publish("again", "") end
    return ack and true, err
  end)
