-- The second service of the processes of bench/fleet.lua: what is reserved stands in a bucket.
app.config { name = "stock" }

local stock

app.on_start(function()
  stock = assert(app.js.key_value "STOCK")
end)

-- Whoever gets the answer can rely on it. A reservation that is there already is the same one,
-- asked for again.
app.listen("fleet.reserve", { concurrency = 32 }, function(msg)
  local n = msg.data.n
  local ok, err = stock:create("r" .. n, { n = n })
  if not ok and err.code ~= "wrong_last_sequence" then
    return nil, { code = 503, message = err.message }
  end
  return { n = n }
end)
