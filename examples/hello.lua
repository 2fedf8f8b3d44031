-- Request and reply, an event, and a periodic request.
--
--   lunats dev examples/hello.lua          with a private nats-server
--   lunats run examples/hello.lua          with the one at nats://127.0.0.1:4222
--
--   export NATS_URL=nats://lunats:...      in a second terminal: the URL that dev prints
--   lunats request hello.greet '{"name": "Ada"}'

-- Answers {"name": "Ada"} on hello.greet with {"text": "Hello, Ada!"}.
app.listen("hello.greet", function(msg)
  local name = type(msg.data) == "table" and msg.data.name
  if type(name) ~= "string" then
    return nil, { code = 400, message = "name is missing" }
  end
  app.publish("hello.greeted", { name = name }) -- tells whoever is interested
  return { text = ("Hello, %s!"):format(name) }
end)

-- Gives back the bytes it gets.
app.listen("hello.echo", { data_type = "string" }, function(msg)
  return msg.data
end)

-- Events want no reply; queue = false: every instance of this service sees each of them.
app.listen("hello.greeted", { queue = false }, function(msg)
  app.log.info("greeted " .. tostring(type(msg.data) == "table" and msg.data.name))
end)

-- Asks itself every five seconds; a timer tick may wait as long as it likes.
app.timer(5, function()
  local reply, err = app.request("hello.greet", { name = "world" }, { timeout = 1 })
  if reply then
    app.log.info("got an answer", { text = reply.data.text })
  else
    app.log.warn("got no answer: " .. err)
  end
end)
