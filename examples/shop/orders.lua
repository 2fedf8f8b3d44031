-- Takes orders, and knows what became of them. An order and the event that tells of it are
-- written in one transaction; the event waits in a table, the outbox, until the stream has
-- stored it. So no order is lost between the two, and none is told that there is not. One that
-- has no end for long is told again, since every step of an order bears that.
local events = require "events"
local pg = require "lunats.pg"

app.config { name = "shop_orders", version = "1.0.0", description = "Takes orders" }

local db = pg.pool { dsn = os.getenv "SHOP_DSN" or "dbname=shop", max = 8 }

app.on_start(function()
  assert(db:execute [[
    create table if not exists orders (
      id text primary key, sku text not null, count bigint not null check (count > 0),
      state text not null default 'new', tells int not null default 0,
      placed_at timestamptz not null default now());
    create index if not exists orders_new on orders (placed_at) where state = 'new';
    create table if not exists outbox (
      seq bigserial primary key, id text not null unique references orders,
      tells int not null)]])
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

-- What the database has under this id: this order, or one that was there already.
local function place(tx, id, order)
  local rows, info = tx:query(
    "insert into orders (id, sku, count) values ($1, $2, $3) on conflict do nothing "
      .. "returning sku, count, state", id, order.sku, order.count)
  if not rows then return nil, info end
  if info.affected == 0 then
    rows, info = tx:query("select sku, count, state from orders where id = $1", id)
    return rows and rows[1], info
  end
  local sent, err = tx:pipeline(function(all)
    all:query("insert into outbox (id, tells) values ($1, 0)", id)
    all:query "notify shop_outbox"
  end)
  if not sent then return nil, err end
  return rows[1]
end

group:listen("create", {
  schema = { request = Order }, description = "takes an order",
}, function(msg)
  local wanted = msg.data
  local id = wanted.id or app.crypto.uuid()
  if id:find "[^%w-]" then
    return nil, { code = 400, message = "id: letters, digits and -" }
  end
  local order, err = db:transaction(function(tx) return place(tx, id, wanted) end)
  if not order then
    app.log.warn("an order was not taken: " .. err, { id = id })
    return nil, { code = 503, message = "try again later, with the same id" }
  end
  if order.sku ~= wanted.sku or order.count ~= wanted.count then
    return nil, { code = 409, message = "there is another order with this id" }
  end
  return { id = id, state = order.state }
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

local AT_ONCE = 200

-- Other instances skip rows that are locked here. An error rolls back: what the stream has
-- stored by then is sent again.
local function send_some()
  return db:transaction(function(tx)
    local rows, err = tx:query([[
      delete from outbox using orders
      where orders.id = outbox.id and seq in
        (select seq from outbox order by seq limit $1 for update skip locked)
      returning orders.id, sku, count, outbox.tells]], AT_ONCE)
    if not rows then return nil, err end
    local sent = {}
    for i, row in ipairs(rows) do
      sent[i] = app.spawn(events.tell, "shop.placed", row)
    end
    for _, one in ipairs(sent) do
      local ack
      ack, err = one:await()
      if not ack then return nil, err end
    end
    return #rows
  end)
end

local wanted, at_work = false, false

local function work()
  local _ <close> = setmetatable({}, { __close = function() at_work = false end })
  at_work = true
  while wanted do
    wanted = false
    local sent, err
    repeat sent, err = send_some() until not sent or sent < AT_ONCE
    if not sent then app.log.warn("the outbox waits: " .. err) end
  end
end

-- However often it is called meanwhile, one more look is enough.
local function look()
  wanted = true
  if not at_work then app.spawn(work) end
end

db:listen("shop_outbox", { on_listen = look }, look)
app.timer(2, { name = "outbox" }, look) -- what was not notified, or could not be sent

-- ---- what became of them --------------------------------------------------------

events.reader("shop.done.*", "SHOP_DONE", "orders"):consume({
  concurrency = 8, backoff = { 0.2, 1, 5 },
}, function(msg)
  local id, state = msg.data.id, msg.data.state
  local rows, info = db:query(
    "update orders set state = $2 where id = $1 and state in ('new', $2)", id, state)
  if not rows then return nil, info end
  if info.affected == 0 then
    app.log.error("an order has an end that its row does not take", { id = id, state = state })
  end
end)

-- Whatever was lost on the way, in a stream that has lost its disk, say: the order goes it
-- again, later and later.
local RETELL = tonumber(os.getenv "SHOP_RETELL") or 900

app.timer(RETELL / 10, { name = "retell" }, function()
  local rows, info = db:query([[
    with late as (
      update orders set tells = tells + 1 where id in (
        select id from orders one where state = 'new'
          and placed_at < now() - make_interval(secs => $1::float8 * power(2, tells))
          and not exists (select from outbox where outbox.id = one.id)
        order by placed_at limit $2 for update skip locked)
      returning id, tells)
    insert into outbox (id, tells) select id, tells from late on conflict do nothing]],
    RETELL, AT_ONCE)
  if not rows then
    app.log.warn("late orders are not looked for: " .. info)
  elseif info.affected > 0 then
    app.log.warn("orders have no end yet, and are told again", { orders = info.affected })
    look()
  end
end)
