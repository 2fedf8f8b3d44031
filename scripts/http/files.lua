---app.http.files: the files of a folder.
local core = require "lunats.core"
local check = require "lunats.check"
local routes = require "lunats.http.routes"

local OPTIONS = { index = "string", max_age = "number", cors = "boolean|string|table" }

local TYPES = {
  html = "text/html; charset=utf-8", htm = "text/html; charset=utf-8",
  css = "text/css; charset=utf-8", js = "text/javascript; charset=utf-8",
  mjs = "text/javascript; charset=utf-8", json = "application/json",
  map = "application/json", txt = "text/plain; charset=utf-8",
  md = "text/markdown; charset=utf-8", csv = "text/csv; charset=utf-8",
  xml = "application/xml", svg = "image/svg+xml", png = "image/png", jpg = "image/jpeg",
  jpeg = "image/jpeg", gif = "image/gif", webp = "image/webp", avif = "image/avif",
  ico = "image/x-icon", woff = "font/woff", woff2 = "font/woff2", ttf = "font/ttf",
  wasm = "application/wasm", pdf = "application/pdf", mp4 = "video/mp4", webm = "video/webm",
  mp3 = "audio/mpeg", ogg = "audio/ogg", zip = "application/zip", gz = "application/gzip",
}

local NOT_FOUND = { code = 404, message = "there is no such file" }

---Folder of the script, for relative paths: where the process was started says nothing.
local base = tostring(arg and arg[0] or ""):match "^(.*)/[^/]*$" or "."

local function etag_of(about)
  return ('"%x-%x-%x"'):format(about.inode, about.size, about.mtime * 1000000000
    + about.nanoseconds)
end

local function is_hidden(path)
  for part in path:gmatch "[^/]+" do
    if part:find "^%." and part ~= ".well-known" then return true end
  end
end

---"bytes=0-99" as offset and length; nil: all of it; false: there is nothing of that.
local function range_of(req, about, etag)
  local range, condition = req.headers.range, req.headers["if-range"]
  if not range or condition and condition ~= etag then return nil end
  local from, to = range:match "^bytes=(%d*)-(%d*)$"
  if not from or from == "" and to == "" then return nil end -- several: as if there were none
  if #from > 15 or #to > 15 then return false end
  from, to = math.tointeger(tonumber(from)), math.tointeger(tonumber(to))
  if not from then
    from, to = math.max(0, about.size - to), about.size - 1
  end
  to = math.min(to or about.size - 1, about.size - 1)
  if from > to then return false end
  return from, to - from + 1
end

local function is_unchanged(req, etag, modified)
  local known = req.headers["if-none-match"]
  if known then return known == "*" or known:find(etag, 1, true) ~= nil end
  return req.headers["if-modified-since"] == modified
end

local function answer(req, path, file, about, age)
  local etag = etag_of(about)
  local modified = os.date("!%a, %d %b %Y %H:%M:%S GMT", about.mtime)
  local headers = { ETag = etag, ["Last-Modified"] = modified, ["Accept-Ranges"] = "bytes",
    ["X-Content-Type-Options"] = "nosniff",
    ["Cache-Control"] = age and "max-age=" .. age or "no-cache" }
  if is_unchanged(req, etag, modified) then
    return routes.raw_response { status = 304, headers = headers }
  end
  local offset, length = range_of(req, about, etag)
  if offset == false then
    headers["Content-Range"] = ("bytes */%d"):format(about.size)
    return routes.raw_response { status = 416, headers = headers }
  end
  local kind = TYPES[(path:match "%.(%w+)$" or ""):lower()] or "application/octet-stream"
  headers["Content-Type"] = kind
  if offset then
    headers["Content-Range"] = ("bytes %d-%d/%d"):format(offset, offset + length - 1,
      about.size)
  end
  return routes.raw_response { status = offset and 206 or 200, headers = headers, file = file,
    offset = offset or 0, length = length or about.size }
end

local function slash_behind(req)
  return routes.raw_response { status = 301,
    headers = { Location = req.path:gsub("^/+", "/") .. "/" } }
end

local function serve(folder, index, age)
  return function(req)
    local path = req.params["*"]
    if path:find "%z" or is_hidden(path) then return nil, NOT_FOUND end
    local file, about = routes.open_file(folder, path)
    if not file and about == "folder" then
      if path ~= "" and path:sub(-1) ~= "/" then
        return slash_behind(req)
      end
      path = path .. index
      file, about = routes.open_file(folder, path)
    end
    if not file then return nil, NOT_FOUND end
    return answer(req, path, file, about, age)
  end
end

return function(path, folder, opts)
  local what = "app.http.files"
  check.string(what, "the path", path)
  check.string(what, "the folder", folder)
  opts = core.check(what, opts, OPTIONS)
  local age = check.age(what, "max_age", opts.max_age)
  if folder:sub(1, 1) ~= "/" then folder = base .. "/" .. folder end
  local refused = core.unreadable and core.unreadable(folder)
  if refused then core.blame(("%s: %s"):format(what, refused)) end
  local real = routes.real_folder(folder)
  if not real then core.blame(("%s: %s is no folder"):format(what, folder)) end
  path = path:gsub("/$", "")
  local all = { routes.declare(what, "GET", path .. "/*", { cors = opts.cors },
    serve(real, opts.index or "index.html", age)) }
  if path ~= "" then -- links of the index are relative to the folder
    all[2] = routes.declare(what, "GET", path, nil, function(req) return slash_behind(req) end)
  end
  return { stop = function() for _, route in ipairs(all) do route:stop() end end }
end
