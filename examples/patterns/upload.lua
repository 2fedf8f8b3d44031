-- Files over HTTP: uploads are kept in an object store, and read from it piece by piece,
-- however slow the client is. Any instance answers for any file.
--
--     lunats dev examples/patterns/upload.lua
--     curl -T notes.txt http://127.0.0.1:8080/files/notes.txt    # {"name": "notes.txt", ...}
--     curl http://127.0.0.1:8080/files/notes.txt
--     curl http://127.0.0.1:8080/files                           # [{"name": "notes.txt", ...}]
--     curl -X DELETE http://127.0.0.1:8080/files/notes.txt
--
-- What goes wrong: a file is larger than 16 MB (413 before it is kept: a body is in memory
-- until it is stored, so split what is larger); the client breaks off (nothing is stored); an
-- upload fails half way (the file of before stays, as a new one takes its place when it is
-- whole); a download meets a damaged or replaced file (the connection is broken off, so that
-- nobody takes a part for the whole); somebody uploads a page with a script (browsers save it,
-- and do not show it).
app.config { name = "upload", version = "1.0.0" }

local files

app.on_start(function()
  files = assert(app.js.create_object_store { bucket = "uploads", ttl = 30 * 86400 })
end)

local function name_of(req)
  local name = req.params.name
  if name:find "^[%w_-][%w._-]*$" and #name <= 100 then return name end
  return nil, { code = 400, message = "a name has letters, digits, '.', '_' and '-'" }
end

local function about(file)
  return { name = file.name, size = file.size, digest = file.digest }
end

app.http.put("/files/:name", { max_body = "16M", data_type = "string" }, function(req)
  local name, err = name_of(req)
  if not name then return nil, err end
  local file
  file, err = files:put(name, req.body)
  if not file then return nil, err end
  return app.http.response { status = 201, body = about(file) }
end)

app.http.get("/files/:name", function(req)
  local name, err = name_of(req)
  if not name then return nil, err end
  local file
  file, err = files:info(name)
  if not file then return nil, err end
  return app.http.response {
    headers = { ["Content-Type"] = "application/octet-stream",
      ["Content-Disposition"] = "attachment", ["X-Content-Type-Options"] = "nosniff" },
    stream = function(write)
      local gone = false
      local ok, problem = pcall(function()
        assert(files:get(name, { write = function(piece)
          gone = not write(piece)
          assert(not gone, "nobody reads on")
        end })) -- the digest is checked at the end
      end)
      if not ok and not gone then error(problem, 0) end -- breaks the connection off
    end,
  }
end)

app.http.delete("/files/:name", function(req)
  local name, err = name_of(req)
  if not name then return nil, err end
  local ok
  ok, err = files:delete(name)
  if not ok then return nil, err end -- not_found is 404
end)

app.http.get("/files", function()
  local list, err = files:list()
  if not list then return nil, err end
  local all = app.json.array()
  for i, file in ipairs(list) do all[i] = about(file) end
  return all
end)
