---app.json against lua-cjson, inside this process: rows like those of the other workloads.
---The documents are made here, after the two that JSON benchmarks usually have: posts of a
---social network (nested objects, long text, many nulls) and a catalogue of events (numbers,
---objects with ids as keys).

local function order(i)
  return {
    id = 1700000000123 + i, customer = "C-" .. i, total = i * 1.25 + 0.1, paid = i % 2 == 0,
    note = 'ring "twice"', tags = { "new", "grün", "express" },
    items = { { sku = "A-" .. i, count = 2, price = 9.99 },
      { sku = "B-" .. i, count = 1, price = 19.95 } },
  }
end

local function user(i, null)
  return {
    id = 903487807 + i, id_str = tostring(903487807 + i), name = "まゆ " .. i,
    screen_name = "user_" .. i % 97, location = "", url = null, protected = false,
    description = "24時間はこちら→ http://example.com/" .. i .. ' "quoted" and\nbroken',
    followers_count = i * 7 % 1000, friends_count = i * 13 % 500, verified = i % 50 == 0,
    created_at = "Sun Aug 31 00:29:15 +0000 2014", utc_offset = null, lang = "ja",
    profile_image_url = "http://pbs.example.com/profile_images/" .. i .. "/photo_normal.jpeg",
  }
end

local function posts(n, null)
  local list = {}
  for i = 1, n do
    list[i] = {
      metadata = { result_type = "recent", iso_language_code = "ja" },
      id = 505874924095815681 + i, id_str = tostring(505874924095815681 + i),
      text = "@friend 名前:前田あゆみ\n第一印象:なんか怖っ!\n今の印象:とりあえずキモい。 " .. i,
      source = '<a href="http://example.com/download/iphone" rel="nofollow">iPhone</a>',
      truncated = false, in_reply_to_status_id = null, user = user(i, null), geo = null,
      coordinates = null, retweet_count = i % 10, favorited = false,
      entities = { hashtags = { "one", "two" }, user_mentions = {
        { screen_name = "friend", name = "前田", id = 866260188, indices = { 0, 7 } },
      } },
    }
  end
  return { statuses = list, search_metadata = { completed_in = 0.087, count = n } }
end

local function event(i)
  local id = 138586341 + i
  local performance = {
    id = id, eventId = id, start = 1372701600000 + i * 3600000,
    prices = {
      { amount = 90250, audienceSubCategoryId = 337100890, seatCategoryId = 338937235 },
      { amount = 66500, audienceSubCategoryId = 337100890, seatCategoryId = 338937236 },
    },
    seatCategories = { { seatCategoryId = 338937235,
      areas = { { areaId = 205705999 + i, blockIds = { 1, 2 } } } } },
  }
  local about = { id = id, name = "30th Anniversary Tour " .. i,
    topicIds = { 324846099, 107888604 }, subTopicIds = { 337184269, 337184283 } }
  return tostring(id), about, performance
end

local function catalogue(n)
  local events, performances, names = {}, {}, {}
  for i = 1, n do
    local id, about, performance = event(i)
    events[id], performances[i] = about, performance
    names[id] = "Arrière-scène côté jardin " .. i
  end
  return { events = events, performances = performances, seatCategoryNames = names }
end

local function orders(n)
  local list = {}
  for i = 1, n do list[i] = order(i) end
  return { orders = list }
end

local function documents(null)
  return {
    { "small", { id = 1700000000123, type = "order.created", customer = "C-1042",
      total = 99.95, paid = true, count = 3 } },
    { "orders", orders(20) },
    { "posts", posts(900, null) },
    { "catalogue", catalogue(2000) },
  }
end

---Nanoseconds per call, once the memory for the results is there.
local function time(run, argument, calls)
  collectgarbage()
  for _ = 1, calls // 4 + 1 do run(argument) end
  local began = os.clock()
  for _ = 1, calls do run(argument) end
  return (os.clock() - began) / calls * 1e9
end

local function measure(rows, workload, round, codecs, argument, calls)
  for i = 1, #codecs do
    local codec = codecs[(i + round) % #codecs + 1]
    rows[#rows + 1] = { workload = workload, peer = codec.peer, round = round,
      value = time(codec.run, argument, calls) }
  end
end

---@param rounds integer
---@return table[] workloads  empty without lua-cjson
return function(rows, rounds)
  local found, cjson = pcall(require, "cjson")
  if not found then
    io.stderr:write "bench: without lua-cjson there is nothing to compare JSON with\n"
    return {}
  end
  local workloads = {}
  for _, document in ipairs(documents(cjson.null)) do
    local text = app.json.encode(document[2])
    for _, what in ipairs { "decode", "encode" } do
      local name = what .. " " .. document[1]
      workloads[#workloads + 1] = { name = name, value = "ns", group = "json",
        title = ("JSON %s, %s, %d bytes"):format(what, document[1], #text),
        goal = { peer = "lua-cjson", factor = 0.5 } }
      local codecs = { { peer = "lunats", run = app.json[what] },
        { peer = "lua-cjson", run = cjson[what] } }
      local calls = math.max(10, 6000000 // (#text + 200))
      for round = 1, rounds do
        measure(rows, name, round, codecs, what == "decode" and text or document[2], calls)
      end
    end
  end
  return workloads
end
