-- A leader: one instance of all gives out the numbers of a count, one each second; the others
-- stand by, and one of them goes on when it stops or dies.
--
--     nats-server --jetstream &
--     lunats run examples/patterns/leader.lua    # in two terminals; then end one of them
--     lunats request count.status                # {"leads": true, "number": 17, ...}
--
-- What goes wrong: the leader dies (another one leads after `ttl`, 3 s; at once if it stops in
-- order); its process freezes, and wakes up when another one leads (lunats cancels it; and if a
-- write was on its way by then, the bucket refuses it: the write names the revision that it
-- follows, and a value with a greater token than ours is never written over); the bucket cannot
-- be reached (an error gives the lease back: whoever can reach it goes on).
app.config { name = "leader", version = "1.0.0" }

local count

app.on_start(function() count = assert(app.js.create_key_value { bucket = "count" }) end)

-- The next number, unless somebody else leads by now.
local function next_number(token)
  local last, err = count:get "number"
  if not last then
    if err.code ~= "not_found" then return nil, err end
    return count:create("number", { token = token, number = 1 })
  end
  local value = last.data
  if value.token > token then return nil, "the token of " .. token .. " is of the past" end
  return count:update("number", { token = token, number = value.number + 1 }, last.revision)
end

local lead = app.leader("count", { ttl = 3 }, function(token)
  app.log.info("this instance counts", { token = token })
  while true do
    assert(next_number(token)) -- an error is logged, and gives the lease back
    app.sleep(1)
  end
end)

app.listen("count.status", function()
  local last, err = count:get "number"
  if not last and err.code ~= "not_found" then return nil, err end
  return { leads = lead:leads() ~= nil, instance = app.instance_id,
    token = last and last.data.token, number = last and last.data.number or 0 }
end)
