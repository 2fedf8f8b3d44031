---Writes what the site is made of: the manual as Markdown, and the settings of MkDocs.
---
---  lunats lua packaging/site/pages.lua FOLDER
---
---The pages are those of docs/ and a few others, the examples, and the reference, which is made
---of the declarations. A file in docs/ that has no place below is an error.
package.path = "packaging/site/?.lua;" .. package.path
local json = require "lunats.json"
local links = require "links"
local reference = require "reference"

local folder = assert(arg[1], "usage: lunats lua packaging/site/pages.lua FOLDER")

---Title of a part, then its pages: a file of the repository, and its title if that is not the
---first heading.
local MANUAL = {
  { "Begin", { "README.md", "What it is" }, "docs/tutorial.md", "docs/testing.md",
    "docs/reload.md" },
  { "Guides", "docs/services.md", "docs/sending.md", "docs/data.md", "docs/connecting.md",
    "docs/jetstream.md", "docs/key_value.md",
    "docs/object_store.md", "docs/http.md", "docs/http_client.md", "docs/middleware.md",
    "docs/ordering.md", "docs/state.md", "docs/postgresql.md", "docs/redis.md",
    "docs/sockets.md", "docs/threads.md", "docs/scheduling.md", "docs/resilience.md" },
  { "Operation", "docs/deploying.md", "docs/operations.md", "docs/command_line.md",
    "docs/scaling.md", "docs/reliability.md", "docs/support.md", "docs/dead_letters.md",
    "docs/limits.md", "docs/modules.md", "docs/performance.md", "SECURITY.md" },
  { "Coming from", "docs/from_panini.md", "docs/from_openresty.md",
    "docs/from_nats_go_micro.md" },
  { "Inside", "ARCHITECTURE.md", "docs/decisions.md", "CONTRIBUTING.md", "CHANGELOG.md" },
}

---Declarations, and the titles of their pages.
local REFERENCE = {
  { "scripts/app.d.lua", "app" }, { "scripts/msg.d.lua", "msg" },
  { "scripts/errors.d.lua", "errors" },
  { "bindings/json/json.d.lua", "app.json" }, { "scripts/js.d.lua", "app.js" },
  { "scripts/js/kv.d.lua", "key-value buckets" },
  { "scripts/js/object.d.lua", "object stores" },
  { "scripts/js/batch.d.lua", "batches" }, { "scripts/js/counter.d.lua", "counters" },
  { "scripts/js/schedule.d.lua", "schedules" }, { "scripts/js/context.d.lua", "contexts" },
  { "scripts/js/dead_letters.d.lua", "dead letters" },
  { "scripts/js/consumer_group.d.lua", "consumer groups" },
  { "scripts/js/elastic_groups.d.lua", "elastic consumer groups" },
  { "scripts/resilience.d.lua", "retries, breakers, limits" },
  { "scripts/http.d.lua", "app.http" }, { "scripts/tcp.d.lua", "app.tcp" },
  { "scripts/scheduling.d.lua", "app.leader and app.cron" },
  { "scripts/cache.d.lua", "app.cache" }, { "scripts/metrics.d.lua", "app.metrics" },
  { "scripts/pg.d.lua", "lunats.pg" }, { "scripts/redis.d.lua", "lunats.redis" },
  { "scripts/msgpack.d.lua", "lunats.msgpack" }, { "scripts/testing.d.lua", "lunats.testing" },
}

local EXAMPLES = "examples"

-- ---- files ------------------------------------------------------------------------

local function list(...)
  local core = require "lunats.core"
  local status, output = assert(core.process({ "find", ... }, true)):wait()
  assert(status == 0, output)
  local paths = {}
  for path in output:gmatch "[^\n]+" do paths[#paths + 1] = path end
  table.sort(paths)
  return paths
end

local function read(path)
  local file = assert(io.open(path))
  local text = file:read "a"
  file:close()
  return text
end

local function write(path, text)
  local full = folder .. "/" .. path
  assert(os.execute(("mkdir -p %q"):format(full:match "^(.*)/")))
  local file = assert(io.open(full, "w"))
  file:write(text)
  assert(file:close())
end

-- ---- which page is what -------------------------------------------------------------

local function page_of(file)
  if file == "README.md" then return "index.md" end
  return (file:gsub("^docs/", ""):gsub("^%u+%.md$", string.lower))
end

local pages = { docs = "index.md", [EXAMPLES] = "examples/index.md",
  ["docs/api.md"] = "api.md" }
local titles, problems = {}, {}

local function title_of(text) return ("\n" .. text):match "\n#%s+([^\n]+)":gsub("`", "") end

for _, part in ipairs(MANUAL) do
  for i = 2, #part do
    local file, title = part[i], nil
    if type(file) == "table" then file, title = file[1], file[2] end
    pages[file], titles[file] = page_of(file), title or title_of(read(file))
  end
end
titles["docs/api.md"] = title_of(read "docs/api.md")

for _, one in ipairs(REFERENCE) do
  pages[one[1]] = "reference/" .. one[2]:gsub("[^%w]+", "_") .. ".md"
  titles[one[1]] = one[2]
end

for _, file in ipairs(list("docs", "-name", "*.md")) do
  if not pages[file] then
    problems[#problems + 1] = file .. " has no place in packaging/site/pages.lua"
  end
end

for _, file in ipairs(list(".", "-name", "*.d.lua", "-not", "-path", "./build/*")) do
  if not pages[file:sub(3)] then
    problems[#problems + 1] = file .. " has no place in packaging/site/pages.lua"
  end
end

local function is_service(path) return path:find "%.lua$" ~= nil end

for _, file in ipairs(list(EXAMPLES, "-type", "f")) do
  if is_service(file) then pages[file] = file:gsub("%.lua$", ".md") end
  if file:find "README%.md$" then pages[file] = file:gsub("README%.md$", "index.md") end
  local inside = file:match "^(.*)/"
  pages[inside] = pages[inside] or "examples/index.md#" .. inside:match "[^/]+$"
end
if pages["examples/shop/README.md"] then pages["examples/shop"] = "examples/shop/index.md" end

-- ---- writing ----------------------------------------------------------------------

local function put(file, text)
  local page = pages[file]
  local rewritten, broken = links.rewrite(text, file, page, pages, titles)
  for _, one in ipairs(broken) do problems[#problems + 1] = one .. " does not exist" end
  write("pages/" .. page, rewritten)
end

local nav = {}

for _, part in ipairs(MANUAL) do
  local entries = {}
  for i = 2, #part do
    local file = type(part[i]) == "table" and part[i][1] or part[i]
    put(file, read(file))
    entries[#entries + 1] = { [titles[file]] = pages[file] }
  end
  nav[#nav + 1] = { [part[1]] = entries }
end

local function put_reference()
  put("docs/api.md", read "docs/api.md")
  local entries, hrefs = { { ["rules and map"] = "api.md" } }, {}
  for _, one in ipairs(REFERENCE) do
    local page = pages[one[1]]:match "[^/]+$":gsub("%.md$", ".html")
    for name, anchor in pairs(reference.types(read(one[1]))) do
      hrefs[name] = hrefs[name] or page .. "#" .. anchor
    end
  end
  for _, one in ipairs(REFERENCE) do
    local _, text = reference.page(read(one[1]), hrefs)
    write("pages/" .. pages[one[1]], ("# %s\n\n%s"):format(one[2], text))
    entries[#entries + 1] = { [one[2]] = pages[one[1]] }
  end
  table.insert(nav, 4, { Reference = entries })
end

---The comment in front of a script, as text.
local function about(source)
  local lines = {}
  for line in source:gmatch "[^\n]*" do
    local words = line:match "^%-%- ?(.*)$"
    if not words then break end
    lines[#lines + 1] = words:find "^%s%s+" and "    " .. words or words
  end
  return table.concat(lines, "\n")
end

---A page for each script; those that list them, or tell how they work together, are there.
local function put_examples()
  local entries, folders = {}, { [""] = {} }
  for _, file in ipairs(list(EXAMPLES, "-name", "README.md")) do
    put(file, read(file))
    local inside = file:match "^examples/(.*)/"
    if inside then folders[inside] = { { ["how it works"] = pages[file] } } end
  end
  for _, file in ipairs(list(EXAMPLES, "-name", "*.lua")) do
    local source, name = read(file), file:match "([^/]+)%.lua$"
    local inside = file:match "^examples/(.*)/" or ""
    folders[inside] = folders[inside] or {}
    table.insert(folders[inside], { [name] = pages[file] })
    put(file, ("# %s\n\n%s\n\n```lua title=\"%s\"\n%s```\n"):format(name, about(source), file,
      source))
  end
  entries[1] = { ["all of them"] = "examples/index.md" }
  table.move(folders[""], 1, #folders[""], 2, entries)
  folders[""] = nil
  local names = {}
  for inside in pairs(folders) do names[#names + 1] = inside end
  table.sort(names)
  for _, inside in ipairs(names) do entries[#entries + 1] = { [inside] = folders[inside] } end
  table.insert(nav, 3, { Examples = entries })
end

put_reference()
put_examples()

if #problems > 0 then
  io.stderr:write(table.concat(problems, "\n"), "\n")
  os.exit(1)
end

write("pages/site.css", read "packaging/site/site.css")
write("theme/main.html", read "packaging/site/theme/main.html")
-- JSON is YAML.
write("mkdocs.yml", json.encode {
  site_name = "lunats",
  docs_dir = "pages",
  site_dir = "html",
  use_directory_urls = false, -- so that it can be read from a disk, too
  strict = true,
  nav = nav,
  theme = {
    name = "material",
    custom_dir = "theme",
    font = false, -- nothing comes from other servers
    features = { "navigation.top", "navigation.tracking", "toc.follow", "search.highlight" },
    palette = {
      { media = "(prefers-color-scheme: light)", scheme = "default", primary = "indigo",
        toggle = { icon = "material/weather-night", name = "dark" } },
      { media = "(prefers-color-scheme: dark)", scheme = "slate", primary = "indigo",
        toggle = { icon = "material/weather-sunny", name = "light" } },
    },
  },
  extra_css = { "site.css" },
  plugins = { { search = { separator = "\\W+" } } }, -- see theme/main.html
  markdown_extensions = { "admonition", "attr_list", "tables", "sane_lists",
    { toc = { permalink = true } }, "pymdownx.superfences", "pymdownx.highlight" },
})
