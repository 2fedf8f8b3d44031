-- A saga: a trip is a flight, a room and a payment, in three services. All of it is booked, or
-- what was booked is cancelled again, in the opposite order.
--
--     lunats dev examples/patterns/saga.lua
--     export NATS_URL=nats://lunats:...       # in a second terminal: the URL that dev prints
--     lunats request trips.book '{"id": "t1", "cents": 900}'     # {"state": "booking", ...}
--     lunats request trips.get '{"id": "t1"}'                    # {"state": "booked", ...}
--     lunats request trips.book '{"id": "t2", "cents": 200000}'  # too much for the card
--     lunats request trips.get '{"id": "t2"}'                    # {"state": "cancelled", ...}
--
-- What goes wrong: a service refuses (400 to 499: the way back begins); it does not answer, or
-- answers with 500 and more (nobody knows what it has done, so it is asked again until it says
-- so; bookings and cancellations have the id of the trip, and are done once); the process that
-- runs the saga dies (the bucket has each step that was done: another one goes on from there);
-- the client does not hear the answer (it asks again with the same id).
app.config { name = "saga", version = "1.0.0" }

local STEPS = { "flight", "room", "payment" } -- <step>.book, <step>.cancel
local trips

app.on_start(function()
  trips = assert(app.js.create_key_value { bucket = "trips" })
  assert(app.js.ensure_stream { name = "TRIPS", subjects = { "trips.wanted" },
    retention = "workqueue" })
end)

-- One step forth, or back. nil, err: nobody knows what became of it.
local function step(id, trip)
  local back = trip.state == "cancelling"
  if back and trip.done == 0 then
    trip.state = "cancelled"
    return true
  end
  local subject = STEPS[back and trip.done or trip.done + 1] .. (back and ".cancel" or ".book")
  local reply, err = app.request(subject, { id = id, cents = trip.cents }, { timeout = 2 })
  if reply then
    trip.done = trip.done + (back and -1 or 1)
    if trip.done == #STEPS then trip.state = "booked" end
  elseif not back and err.code == "service_error" and err.status < 500 then
    trip.state, trip.why = "cancelling", err.message
  else
    return nil, err
  end
  return true
end

app.js.pull_subscribe("trips.wanted", { durable = "trips", stream = "TRIPS" }):consume({
  concurrency = 16, backoff = { 0.5, 2, 10, 60 }, -- for ever: a saga has an end
}, function(msg)
  local id = msg.data.id
  local entry, err = trips:get(id)
  if not entry then return nil, err end
  local trip, revision = entry.data, entry.revision
  while trip.state == "booking" or trip.state == "cancelling" do
    local ok, unknown = step(id, trip)
    if not ok then return nil, unknown end
    revision, err = trips:update(id, trip, revision) -- fails if somebody else is at it, too
    if not revision then return nil, err end
  end
end)

local function id_of(order)
  local id = type(order) == "table" and order.id
  if type(id) == "string" and id:find "^[%w_-]+$" and #id <= 64 then return id end
  return nil, { code = 400, message = "id must be a word of letters and digits" }
end

app.listen("trips.book", function(msg)
  local id, err = id_of(msg.data)
  if not id then return nil, err end
  local cents = msg.data.cents
  if math.type(cents) ~= "integer" or cents < 1 then
    return nil, { code = 400, message = "cents must be a whole number, 1 or more" }
  end
  local _, failed = trips:create(id, { state = "booking", done = 0, cents = cents })
  if failed and failed.code ~= "wrong_last_sequence" then return nil, failed end
  local entry, ack
  entry, err = trips:get(id)
  if not entry then return nil, err end
  if entry.data.cents ~= cents then
    return nil, { code = 409, message = "there is another trip with this id" }
  end
  -- Also if it was there: whoever has made it may have died before this line.
  ack, err = app.js.publish("trips.wanted", { id = id }, { msg_id = id })
  if not ack then return nil, err end
  return entry.data
end)

app.listen("trips.get", function(msg)
  local id, err = id_of(msg.data)
  if not id then return nil, err end
  local entry
  entry, err = trips:get(id)
  if entry then return entry.data end
  if err.code ~= "not_found" then return nil, err end
  return nil, { code = 404, message = "no such trip" }
end)

-- The three services, so that all of it can be tried alone. In earnest each is one of its own,
-- with a database for what is a table here.
for _, name in ipairs(STEPS) do
  local booked = {}
  app.listen(name .. ".book", function(msg)
    local id, err = id_of(msg.data)
    if not id then return nil, err end
    if name == "payment" and (math.tointeger(msg.data.cents) or math.huge) > 100000 then
      return nil, { code = 402, message = "the card is good for 1000.00" }
    end
    booked[id] = true -- twice is once
    return { booked = id }
  end)
  app.listen(name .. ".cancel", function(msg)
    local id, err = id_of(msg.data)
    if not id then return nil, err end
    local was = booked[id] or false
    booked[id] = nil
    return { cancelled = was } -- nothing to cancel is no error
  end)
end
