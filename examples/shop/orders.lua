-- Takes orders, and knows what became of them. An order and the event that tells of it are
-- written in one transaction; the event waits in a table, the outbox, until the stream has
-- stored it. So no order is lost between the two, and none is told that there is not.
local events = require "events"
local pg = require "lunats.pg"

app.config { name = "shop_orders", version = "1.0.0", description = "Takes orders" }

local db = pg.pool { dsn = os.getenv "SHOP_DSN" or "dbname=shop", max = 8 }

app.on_start(function()
  assert(db:execute [[
    create table if not exists orders (
      id text primary key, sku text not null, count bigint not null check (count > 0),
      state text not null default 'new', placed_at timestamptz not null default now());
    create table if not exists outbox (
      seq bigserial primary key, id text not null, sku text not null, count bigint not null)]])
  events.ensure_streams()
end)

-- ---- orders -----------------------------------------------------------------

local group = app.group "shop.orders"

local Order = {
  type = "object",
  required = { "sku", "count" },
  additionalProperties = false,
  properties = {
    id = { type = "string", minLength = 1, maxLength = 64,
      description = "chosen by who orders: the same order sent twice is one" },
    sku = { enum = app.json.array { "apple", "bread", "cheese" } },
    count = { type = "integer", minimum = 1, maximum = 1000 },
  },
}

local function insert(tx, id, order)
  local _, info = assert(tx:query(
    "insert into orders (id, sku, count) values ($1, $2, $3) on conflict do nothing",
    id, order.sku, order.count))
  if info.affected == 0 then return end -- it is there already
  assert(tx:query("insert into outbox (id, sku, count) values ($1, $2, $3)", id, order.sku,
    order.count))
  assert(tx:query "notify shop_outbox")
end

group:listen("create", {
  schema = { request = Order }, description = "takes an order",
}, function(msg)
  local id = msg.data.id or app.crypto.uuid()
  if id:find "[^%w-]" then
    return nil, { code = 400, message = "id: letters, digits and -" }
  end
  local ok, err = db:transaction(function(tx)
    insert(tx, id, msg.data)
    return true
  end)
  if not ok then
    app.log.warn("an order was not taken: " .. err, { id = id })
    return nil, { code = 503, message = "try again later, with the same id" }
  end
  return { id = id, state = "new" }
end)

group:listen("get", { description = "what became of an order" }, function(msg)
  local rows, err = db:query("select id, sku, count, state from orders where id = $1",
    tostring(type(msg.data) == "table" and msg.data.id))
  if not rows then return nil, err end
  if not rows[1] then return nil, { code = 404, message = "no such order" } end
  return rows[1]
end)

group:listen("counts", { description = "how many orders are in which state" }, function()
  local rows, err = db:query "select state, count(*) as orders from orders group by state"
  if not rows then return nil, err end
  local counts = app.json.object {}
  for _, row in ipairs(rows) do counts[row.state] = row.orders end
  return counts
end)

-- ---- the outbox ---------------------------------------------------------------

-- Other instances skip rows that are locked here. An error rolls back: what the stream has
-- stored by then is sent again, and dropped there as a duplicate.
local function send_some()
  return db:transaction(function(tx)
    local rows = assert(tx:query [[
      delete from outbox where seq in
        (select seq from outbox order by seq limit 200 for update skip locked)
      returning id, sku, count]])
    local sent = {}
    for i, row in ipairs(rows) do
      sent[i] = app.js.publish_async("shop.placed", row, { msg_id = "placed." .. row.id })
    end
    for _, one in ipairs(sent) do
      local ack, err = one:await()
      if not ack then return nil, err end
    end
    return #rows
  end)
end

local function send_all()
  repeat
    local sent, err = send_some()
    if not sent then return app.log.warn("the outbox waits: " .. err) end
  until sent == 0
end

db:listen("shop_outbox", { on_listen = send_all }, send_all)
app.timer(2, { name = "outbox" }, send_all) -- what was not notified, or could not be sent

-- ---- what became of them --------------------------------------------------------

app.js.pull_subscribe("shop.done.*", { durable = "orders", stream = "SHOP" }):consume({
  concurrency = 8, backoff = { 0.2, 1, 5 },
}, function(msg)
  local state = msg.subject:match "[^.]+$"
  local rows, err = db:query("update orders set state = $2 where id = $1", msg.data.id, state)
  if not rows then return nil, err end
end)
