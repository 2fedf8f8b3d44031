---`lunats new NAME --template http`: routes in front of a service of NATS.
return {
  { path = "NAME.lua", text = [[
-- @NAME@: notes by HTTP, and over NATS. Run it with `lunats dev @NAME@.lua`.
app.config { name = "@NAME@", version = "0.1.0" }

local notes

app.on_start(function()
  notes = assert(app.js.create_key_value { bucket = "@NAME@" })
end)

local NOTE = {
  type = "object",
  required = { "text" },
  additionalProperties = false,
  properties = { text = { type = "string", minLength = 1, maxLength = 1000 } },
}

-- What does not fit the schema is answered with 400, the place and the rule.
app.http.put("/notes/:name", { max_body = "16K", schema = { request = NOTE } }, function(req)
  local name = req.params.name
  local revision, err = notes:put(name, req.data)
  if not revision then return nil, err end
  app.publish("@NAME@.changed", { name = name })
  return { name = name, revision = revision }
end)

local function find(name)
  local entry, err = notes:get(name)
  if entry then return entry.data end
  if err.code == "not_found" then return nil, { code = 404, message = "no such note" } end
  return nil, err
end

app.http.get("/notes/:name", function(req) return find(req.params.name) end)

-- Other services ask for the same over NATS.
app.listen("@NAME@.get", { schema = { request = { type = "string" } } }, function(msg)
  return find(msg.data)
end)
]] },
  { path = "spec/NAME_spec.lua", text = [[
local testing = require "lunats.testing"

describe("@NAME@", function()
  local svc

  before_each(function() svc = testing.start "@NAME@.lua" end)
  after_each(function() svc:stop() end)

  it("keeps notes, and tells others of them", function()
    local res = assert(svc:http("PUT", "/notes/milk", { json = { text = "two litres" } }))
    assert.equal(200, res.status)
    assert.equal("milk", svc:expect("@NAME@.changed").data.name)
    assert.equal("two litres", svc:http("GET", "/notes/milk").data.text)
    assert.equal("two litres", assert(svc:request("@NAME@.get", '"milk"')).data.text)
  end)

  it("says what is wrong with a note", function()
    local res = assert(svc:http("PUT", "/notes/milk", { json = { text = "" } }))
    assert.equal(400, res.status)
    assert.matches("text", res.body)
  end)

  it("knows nothing of others", function()
    assert.equal(404, svc:http("GET", "/notes/honey").status)
    local _, err = svc:request("@NAME@.get", '"honey"')
    assert.equal(404, err.status)
  end)
end)
]] },
  about = [[
Routes of HTTP and a listener of [NATS](https://nats.io), written in Lua for lunats.
`lunats dev` serves the routes by itself, `lunats run` with `--http HOST:PORT`.]],
  table = [[
| Route or subject | | |
| --- | --- | --- |
| `PUT /notes/:name` | `{ "text": "two litres" }` | keeps a note |
| `GET /notes/:name` | | answers it, or 404 |
| `@NAME@.get` | `"milk"` | the same over NATS |
| `@NAME@.changed` | `{ "name": "milk" }` | sent for each note that is kept |
]],
}
