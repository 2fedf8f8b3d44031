-- Commands and queries apart (CQRS): a command adds an event to the stream, which is the truth;
-- a projector makes of the events what queries read, a bucket with the balance of each account.
--
--     lunats dev examples/patterns/cqrs.lua
--     export NATS_URL=nats://lunats:...       # in a second terminal: the URL that dev prints
--     lunats request accounts.book '{"id": "ada", "cents": 500}'    # {"cents": 500, "seq": 1}
--     lunats request accounts.book '{"id": "ada", "cents": -700}'   # 409: only 500 are there
--     lunats request accounts.balance '{"id": "ada"}'               # {"cents": 500, "seq": 1}
--
-- What goes wrong: two commands for an account at once (an event is stored only if it follows
-- the last one that was looked at; who comes second looks again, and none is refused by an old
-- view); the projector is behind (a command waits for it, a query shows a moment ago); it sees
-- an event twice (`seq` tells); the bucket is lost, or should hold something else (delete it
-- and the consumer: it is made of the events again).
app.config { name = "cqrs", version = "1.0.0" }

local view

app.on_start(function()
  assert(app.js.ensure_stream { name = "ACCOUNTS", subjects = { "accounts.booked.*" } })
  view = assert(app.js.create_key_value { bucket = "balances" })
end)

-- ---- the projector: the events of the stream, in order, one at a time in the fleet ----

app.js.pull_subscribe("accounts.booked.*", { durable = "balances", stream = "ACCOUNTS",
  config = { max_ack_pending = 1, ack_wait = 5 } }):consume(function(msg)
  local id, seq = msg.subject:match "[^.]+$", msg.metadata.stream_sequence
  local entry, err = view:get(id)
  if not entry and err.code ~= "not_found" then return nil, err end
  local balance = entry and entry.data or { cents = 0, seq = 0 }
  if balance.seq >= seq then return end
  balance = { cents = balance.cents + msg.data.cents, seq = seq }
  if entry then return view:update(id, balance, entry.revision) end
  return view:create(id, balance)
end)

-- ---- commands and queries --------------------------------------------------------

local function id_in(msg)
  local id = type(msg.data) == "table" and msg.data.id
  if type(id) == "string" and id:find "^[%w_-]+$" and #id <= 64 then return id end
  return nil, { code = 400, message = "id must be a word of letters and digits" }
end

local function balance_of(id)
  local entry, err = view:get(id)
  if entry then return entry.data end
  if err.code == "not_found" then return { cents = 0, seq = 0 } end
  return nil, err
end

-- No event has come after those that the balance is made of.
local function is_newest(id, balance)
  local last, err = app.js.get_msg("ACCOUNTS", { last_by_subject = "accounts.booked." .. id },
    { direct = false })
  if last then return last.sequence == balance.seq end
  if err.code == "not_found" then return balance.seq == 0 end
  return nil, err
end

app.listen("accounts.book", function(msg)
  local id, wrong = id_in(msg)
  if not id then return nil, wrong end
  local cents = math.tointeger(msg.data.cents)
  if not cents or cents == 0 then
    return nil, { code = 400, message = "cents must be a whole number, not 0" }
  end
  for try = 1, 20 do
    local balance, err = balance_of(id)
    if not balance then return nil, err end
    local after = balance.cents + cents
    if after >= 0 then
      local ack, failed = app.js.publish("accounts.booked." .. id, { cents = cents },
        { expected_last_subject_seq = balance.seq })
      if ack then return { cents = after, seq = ack.seq } end
      if failed.code ~= "wrong_last_sequence" then return nil, failed end
    else
      local newest, failed = is_newest(id, balance)
      if newest then
        return nil, { code = 409, message = ("only %d are there"):format(balance.cents) }
      end
      if failed then return nil, failed end
    end
    app.sleep(0.01 * try) -- the view is behind, or somebody was faster
  end
  return nil, { code = 503, message = "too many bookings of this account, try again" }
end)

app.listen("accounts.balance", function(msg)
  local id, wrong = id_in(msg)
  if not id then return nil, wrong end
  return balance_of(id)
end)
