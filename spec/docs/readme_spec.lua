---What the documents show works: services run, specs pass, the rest runs as it stands there.
---A piece of Lua whose first line is a comment with a file name is a complete file; the files
---of a document are put into one folder.
local code = require "spec.support.blocks"
local clean_loop = require "spec.support.clean_loop"
local lfs = require "lfs"
local process = require "spec.support.process"
local read = require "spec.support.read"
local testing = require "lunats.testing"

local blocks, file_name = code.of, code.file_name

local DOCUMENTS = { "README.md", "docs/api.md", "docs/services.md", "docs/sending.md",
  "docs/data.md", "docs/connecting.md", "docs/http.md", "docs/key_value.md",
  "docs/object_store.md",
  "docs/jetstream.md", "docs/testing.md", "docs/reload.md", "docs/operations.md",
  "docs/state.md", "docs/command_line.md", "docs/http_client.md", "ARCHITECTURE.md",
  "docs/decisions.md", "docs/performance.md", "docs/middleware.md", "docs/from_panini.md",
  "docs/dead_letters.md", "docs/resilience.md",
  "docs/from_nats_go_micro.md", "docs/from_openresty.md", "docs/threads.md",
  "docs/sockets.md", "docs/redis.md", "docs/tutorial.md", "docs/deploying.md",
  "docs/support.md", "docs/scheduling.md", "docs/ordering.md", "docs/scaling.md",
  "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md" }

---Writes all complete files of a document; returns the folder.
local function write_files(path)
  local folder = process.path "files"
  assert(lfs.mkdir(folder))
  for _, block in ipairs(blocks(path, "lua")) do
    if file_name(block) then
      local file = assert(io.open(folder .. "/" .. file_name(block), "wb"))
      file:write(block.text)
      file:close()
    end
  end
  for _, block in ipairs(blocks(path, "jsonl")) do
    local file = assert(io.open(folder .. "/recorded.jsonl", "wb"))
    file:write(block.text)
    file:close()
  end
  return folder
end

local function check_spec(folder, name)
  local status, output = process.lunats_to_end({ "test", "--timeout", "20", name },
    { cwd = folder })
  assert.equal(0, status, output)
  assert.truthy(output:find("0 failures / 0 errors", 1, true), output)
end

local function check_service(folder, name)
  local status, output = process.lunats_to_end({ "check", name }, { cwd = folder })
  assert.equal(0, status, output)
  local command = { process.lunats(), "run", "-s", testing.server_url(), name }
  local service = process.spawn(command, { cwd = folder })
  service:expect "started, connected"
  service:signal "HUP" -- by the end of a reload its first tasks have run, or failed
  service:expect "reloaded"
  assert.equal(0, service:stop())
  assert.is_nil(service:output():match "[^\n]* ERROR [^\n]*")
end

for _, path in ipairs(DOCUMENTS) do
  describe(path, function()
    after_each(function()
      process.close_all()
      testing.reset() -- other documents have streams of the same names
    end)

    for _, block in ipairs(blocks(path, "lua")) do
      local name = file_name(block)
      if not name then
        it("runs the code at line " .. block.line, function()
          -- What an example shows that logs its errors fails once; and what it gives up.
          local fails = block.text:find "on_error = app.log.error"
          local _, terminated = block.text:gsub('msg:term "', "")
          clean_loop.expected_errors((fails and 1 or 0) + terminated)
          assert(load(block.text, ("=%s:%d"):format(path, block.line), "t"))()
          if fails then testing.errors() end
        end)
      elseif name:find "_spec%.lua$" then
        it("passes " .. name, function() check_spec(write_files(path), name) end)
      elseif not block.text:find "\nreturn %u%w*\n$" then -- else a module of one of the others
        it("runs " .. name, function() check_service(write_files(path), name) end)
      end
    end

    it("links to files that exist", function()
      local folder = path:match "^(.*/)" or ""
      for target in read(path):gmatch "%]%(([^)#]+)[^)]*%)" do
        if not target:find "^https?:" then
          assert.truthy(lfs.attributes(folder .. target), "there is no " .. target)
        end
      end
    end)

    it("names commands and options that exist", function()
      local known = {}
      local _, all = process.lunats_to_end { "help", "--json" }
      for _, command in ipairs(app.json.decode(all).commands) do
        known[command.name] = true
        for _, option in ipairs(command.options) do
          known["--" .. option.name], known["--no-" .. option.name] = true, true
        end
        for option in (command.text .. command.examples):gmatch "%-%-[%a-]+" do
          known[option] = true -- of busted, say
        end
      end
      known.version, known.help, known["--version"] = true, true, true
      for _, block in ipairs(blocks(path, "sh")) do
        for line in block.text:gmatch "[^\n]+" do
          local command, rest = line:match "^lunats (%a+)(.*)"
          if command then
            assert.is_true(known[command] or false, line)
            for option in rest:gsub(" #.*", ""):gmatch "%-%-[%a-]+" do
              assert.is_true(known[option] or false, line)
            end
          end
          local entry = line:match "^%./dev (%a+)"
          if entry then assert.truthy(read("dev"):find("\n  " .. entry, 1, true), line) end
        end
      end
    end)
  end)
end

---Paths that a document names as code: `host/link/stream.c`, `lint/layers.txt`.
local FOLDERS = { host = true, bindings = true, scripts = true, spec = true, bench = true,
  docs = true, lint = true, packaging = true, examples = true }

for _, path in ipairs(DOCUMENTS) do
  it(path .. " names files that exist", function()
    local text = read(path):gsub("```.-```", "")
    for target in text:gmatch "`([%w_%-./]+)`" do
      if FOLDERS[target:match "^(%w+)/"] and path ~= "CHANGELOG.md" then
        assert.truthy(lfs.attributes(target), "there is no " .. target)
      end
    end
  end)
end

it("CHANGELOG.md has a section for the version of the project", function()
  local version = read("CMakeLists.txt"):match "project%(lunats VERSION ([%d.]+)"
  assert.truthy(read("CHANGELOG.md"):find("\n## [" .. version .. "] - ", 1, true), version)
  local _, output = process.lunats_to_end { "version" }
  assert.equal(version, output:match "^lunats ([%d.]+)")
  process.close_all()
end)
