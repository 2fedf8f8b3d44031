-- REST in front of two services, for browsers and curl, with a page that shows orders live.
--
--   lunats dev examples/gateway.lua examples/orders.lua examples/hello.lua
--
-- GET  /                  the page: http://127.0.0.1:8080/
-- POST /orders            {"sku": "A1", "amount": 2}  ->  201 {"status": "created", ...}
-- GET  /orders/count      {"orders": 17}
-- GET  /greetings/:name   {"text": "Hello, Ada!"}
-- GET  /events?after=17   each order that was stored (behind that one), as a server-sent event
--
-- What does not fit the schema gets 400 with the place and the rule, and is seen by no service;
-- errors of the services are passed on with their codes: 422 for an order that cannot be.
app.config { name = "gateway", version = "1.0.0" }

local ORDER = {
  type = "object",
  required = { "sku", "amount" },
  additionalProperties = false,
  properties = {
    sku = { type = "string", minLength = 1, maxLength = 20 },
    amount = { type = "integer", minimum = 1 },
  },
}

app.http.post("/orders", { max_body = "4K", schema = { request = ORDER } }, function(req)
  local reply, err = app.request("orders.create", req.data)
  if not reply then return nil, err end
  return app.http.response { status = 201, body = reply.data }
end)

app.http.get("/orders/count", function() return app.request("orders.count") end)

app.http.get("/greetings/:name", function(req)
  return app.request("hello.greet", { name = req.params.name })
end)

-- Each page reads the stream for itself. The id of an event is its sequence there: a browser
-- that comes again after an outage says which one it has seen last, and misses none. One that
-- has seen none knows from `begin` where it stands.
app.http.events("/events", function(send, req)
  local last = req.headers["Last-Event-ID"] or req.query.after or ""
  local seen = math.tointeger(tonumber(last:match "^%d+$"))
    or assert(app.js.stream_info "ORDERS").state.last_seq
  send("", { event = "begin", id = seen })
  local from = { deliver_policy = "by_start_sequence", opt_start_seq = seen + 1 }
  local orders = assert(app.js.subscribe("orders.stored.*", { ordered = true, config = from },
    function(msg)
      send(msg.data, { event = "order", id = msg.metadata.stream_sequence })
    end))
  local _ <close> = setmetatable({}, { __close = function() orders:stop() end })
  app.sleep(math.huge) -- until the page is closed
end)

local PAGE = [[
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Orders</title>
<h1>Orders</h1>
<form><input name="sku" value="A1"> <input name="amount" type="number" value="1">
<button>Order</button> <output></output></form>
<ul></ul>
<script>
const form = document.querySelector("form"), list = document.querySelector("ul")
form.addEventListener("submit", async event => {
  event.preventDefault()
  const order = { sku: form.sku.value, amount: Number(form.amount.value) }
  const res = await fetch("orders", { method: "POST", body: JSON.stringify(order) })
  const answer = await res.json()
  document.querySelector("output").textContent = answer.message || answer.status
})

// A browser comes again by itself after an outage, but not after an error, as 503 of a gateway
// that starts: a new EventSource has to be told what the one before has seen last.
let events, last = ""
function listen() {
  events = new EventSource("events?after=" + last)
  events.addEventListener("begin", event => { last = event.lastEventId })
  events.addEventListener("order", event => {
    last = event.lastEventId
    const order = JSON.parse(event.data), item = document.createElement("li")
    item.textContent = `${order.amount} of ${order.sku} (${order.id})`
    list.prepend(item)
  })
  events.onerror = () => {
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 1000)
  }
}
listen()
</script>
</html>
]]

app.http.get("/", function()
  return app.http.response { headers = { ["Content-Type"] = "text/html; charset=utf-8" },
    body = PAGE }
end)
