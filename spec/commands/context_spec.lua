-- Connecting as users of NATS do: contexts of the `nats` tool, NATS_*, names of connections.
local lfs = require "lfs"
local process = require "spec.support.process"

after_each(process.close_all)

local SECRET = "s3cretOfAda"
---The pair that the documentation of nats-server uses.
local SEED = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
local PUBLIC = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"

local SCRIPT = "app.listen('x', function() return app.name end)"

local function write(path, text)
  local file <close> = assert(io.open(path, "wb"))
  file:write(text)
end

---A folder of settings with this context "prod", as the tool keeps it.
---@return string folder  for XDG_CONFIG_HOME
local function settings(context)
  local folder = process.path "config"
  for _, name in ipairs { "", "/nats", "/nats/context" } do
    assert(lfs.mkdir(folder .. name))
  end
  write(folder .. "/nats/context/prod.json", app.json.encode(context))
  return folder
end

local function server(config)
  return process.server { args = { "-DV", "-c", process.write("nats.conf", config) } }
end

local function ada()
  return server(("authorization { user: ada, password: %s }"):format(SECRET))
end

local function run(env, options)
  return process.run(SCRIPT, options, { servers = {}, env = env })
end

local function assert_secret(child)
  local words = {}
  local file = io.open(("/proc/%d/cmdline"):format(child.pid), "rb")
  if file then words[1] = file:read "a" file:close() end
  assert.is_nil((child:output() .. table.concat(words)):find("s3cret", 1, true), child:output())
end

describe("a service connects", function()
  it("by --context, with the server and the user in it", function()
    local folder = settings { url = ada().url, user = "ada", password = SECRET, token = "",
      description = "" }
    local child = run({ XDG_CONFIG_HOME = folder }, { "--context", "prod", "--log-level",
      "debug" })
    child:expect "settings from the context prod %(%S+prod%.json%): url, user, password\n"
    child:expect "started, connected to nats://127.0.0.1:%d+\n"
    assert_secret(child)
    assert.equal(0, child:stop())
  end)

  it("by NATS_CONTEXT, and by the file of a context", function()
    local folder = settings { url = ada().url, user = "ada", password = "env://PASSWORD" }
    for _, how in ipairs { { env = { NATS_CONTEXT = "prod" } },
      { options = { "--context", folder .. "/nats/context/prod.json" } } } do
      local env = how.env or {}
      env.XDG_CONFIG_HOME, env.PASSWORD = folder, SECRET
      local child = run(env, how.options)
      child:expect "started, connected"
      assert_secret(child)
      assert.equal(0, child:stop())
    end
  end)

  it("by the selected context only when it is told to", function()
    local url = ada().url
    local folder = settings { url = url, user = "ada", password = SECRET }
    write(folder .. "/nats/context.txt", "prod\n")
    local child = run({ XDG_CONFIG_HOME = folder }, { "--context", "@selected" })
    child:expect("connected to " .. url)
    assert.equal(0, child:stop())
    child = run({ XDG_CONFIG_HOME = folder, NATS_URL = "nats://127.0.0.1:1" })
    assert.equal(3, child:wait())
  end)

  it("by NATS_URL with NATS_USER and NATS_PASSWORD, or with NATS_TOKEN", function()
    local child = run { NATS_URL = ada().url, NATS_USER = "ada", NATS_PASSWORD = SECRET }
    child:expect "started, connected"
    assert_secret(child)
    assert.equal(0, child:stop())
    local other = server(("authorization { token: %s }"):format(SECRET))
    for _, name in ipairs { "NATS_TOKEN", "NATS_USER" } do
      child = run { NATS_URL = other.url, [name] = SECRET }
      child:expect "started, connected"
      assert_secret(child)
      assert.equal(0, child:stop())
    end
  end)

  it("with a key in a file or in the environment", function()
    local one = server(("authorization { users = [{ nkey: %s }] }"):format(PUBLIC))
    local file = process.write("seed", SEED)
    local folder = settings { url = one.url, nkey = "env://SEED" }
    for _, env in ipairs { { NATS_URL = one.url, NATS_NKEY = file },
      { NATS_CONTEXT = "prod", SEED = SEED }, { NATS_CONTEXT = "prod", SEED = "s3cret" } } do
      env.XDG_CONFIG_HOME = folder
      local child = run(env)
      if env.SEED ~= "s3cret" then
        child:expect "started, connected"
        assert.equal(0, child:stop())
      else
        assert.equal(3, child:wait())
        assert.matches("or the context gives as keys holds no valid user seed", child:output())
      end
      assert_secret(child)
    end
  end)

  it("with the name SERVICE/INSTANCE, or that of --name", function()
    local one = server ""
    local child = run({ NATS_URL = one.url })
    child:expect "started"
    one:expect '"name":"svc/%w+"'
    assert.equal(0, child:stop())
    child = run({ NATS_URL = one.url }, { "--name", "mine" })
    one:expect '"name":"mine"'
    assert.equal(0, child:stop())
  end)

  it("with the inbox prefix and the domain of the context", function()
    local one = server(
      ("jetstream { domain: hub, store_dir: '%s' }"):format(process.path "store"))
    local folder = settings { url = one.url, inbox_prefix = "_IN.ada",
      jetstream_domain = "hub" }
    local child = process.run([[
      app.on_start(function() assert(app.js.account_info()) end)]],
      { "--context", "prod" }, { servers = {}, env = { XDG_CONFIG_HOME = folder } })
    child:expect "started"
    one:expect "%[SUB _IN%.ada%."
    one:expect "%[PUB %$JS%.hub%.API%.INFO"
    assert.equal(0, child:stop())
  end)
end)

describe("the help", function()
  it("names the variables of those commands that look at them", function()
    for command, named in pairs { run = true, record = true, dev = false, test = false } do
      local _, output = process.lunats_to_end { command, "--help" }
      assert.equal(named, output:find("NATS_CONTEXT", 1, true) ~= nil, command)
    end
  end)
end)

describe("a secret on the command line", function()
  it("is not there any more when the service runs", function()
    local url = ada().url:gsub("//", "//ada:" .. SECRET .. "@")
    local plain = url:gsub("//.*@", "//")
    for _, options in ipairs { { "-s", url },
      { "-s", plain, "--user", "ada", "--password=" .. SECRET } } do
      local child = run({}, options)
      child:expect "started, connected"
      assert_secret(child)
      assert.equal(0, child:stop())
    end
  end)
end)

describe("a key in the place of a path", function()
  it("is not shown", function()
    local jwt = "-----BEGIN NATS USER JWT-----\neyJ" .. SECRET .. "\n"
    local keys = { NATS_NKEY = SEED, NATS_CREDS = jwt, NATS_CA = "eyJ" .. SECRET }
    for name, value in pairs(keys) do
      local child = run({ [name] = value }, {})
      assert.equal(2, child:wait())
      assert.matches(name .. ": this is no path but a key", child:output(), 1, true)
      assert.is_nil(child:output():find(SEED, 1, true))
      assert_secret(child)
    end
    local child = process.run(([[
      app.on_start(function()
        print(app.connect { server = "nats://127.0.0.1:1", nkey = %q })
      end)
    ]] .. SCRIPT):format(SEED))
    child:expect "cannot read a key in the place of a path"
    assert.is_nil(child:output():find(SEED, 1, true))
  end)
end)

describe("a pipe in the place of a file", function()
  local function pipe(name)
    local path = process.path(name)
    assert(os.execute("mkfifo " .. path))
    return path
  end

  it("is not waited for without end", function()
    local context, keys, secret = pipe "context.json", pipe "my.creds", pipe "secret"
    local folder = settings { url = "nats://127.0.0.1:1", token = "file://" .. secret }
    local why = "it is no ordinary file, and its end did not come within 5 s"
    local children = {
      [run({}, { "--context", context })] = { 2, "cannot read the context %S+ " },
      [run({ XDG_CONFIG_HOME = folder }, { "--context", "prod" })] =
        { 2, "token of the context prod .*cannot read " .. secret:gsub("%p", "%%%0") .. ": " },
      [run({}, { "-s", "nats://127.0.0.1:1", "--creds", keys })] =
        { 3, "cannot read " .. keys:gsub("%p", "%%%0") .. ": " },
    }
    for child, want in pairs(children) do
      local status = child:wait()
      assert.matches(want[2] .. "[^\n]*" .. why, child:output())
      assert.equal(want[1], status, child:output())
    end
  end)

  it("is refused where it would be read more than once", function()
    local path = pipe "ca.pem"
    local child = run({}, { "--tlsca", path })
    assert.equal(2, child:wait())
    assert.matches("%-%-tlsca: %S+ is no ordinary file\n", child:output())
    child = run({ OTEL_EXPORTER_OTLP_CERTIFICATE = path }, { "--otlp", "https://127.0.0.1:1" })
    assert.equal(2, child:wait())
    assert.matches("traces: OTEL_EXPORTER_OTLP_CERTIFICATE and the like: %S+ is no ordinary "
      .. "file", child:output())
  end)

  it("may give keys and secrets once, be its writer gone already", function()
    local nats = server(([[authorization { users: [
      { user: ada, password: %s }, { nkey: %s } ] }]]):format(SECRET, PUBLIC))
    local folder = settings { url = nats.url, user = "ada", password = "file:///dev/stdin" }
    local seed = process.write("seed", SEED)
    for _, command in ipairs {
      ("printf %s | %s pub --context prod x y"):format(SECRET, process.lunats()),
      ("(sleep 0.2; cat %s) | %s pub -s %s --nkey /dev/stdin x y"):format(seed,
        process.lunats(), nats.url),
    } do
      local child = process.spawn({ "sh", "-c", command },
        { env = { XDG_CONFIG_HOME = folder } })
      assert.equal(0, child:wait(), child:output())
    end
  end)
end)

describe("a context that cannot be used", function()
  it("is named, with its file and field and what to do", function()
    local folder = settings { url = "nats://127.0.0.1:1", user = "ada", creds = "/none",
      password = "op://" .. SECRET }
    write(folder .. "/nats/context/folder.json", app.json.encode { token = "file:///" })
    for name, text in pairs {
      folder = "token of the context folder %(%S+%): cannot read /: Is a directory",
      prod = "password of the context prod %(%S+prod%.json%): a secret in op:",
      prdo = "there is no context prdo %(%S+%); did you mean prod%?",
    } do
      local child = run({ XDG_CONFIG_HOME = folder }, { "--context", name })
      assert.equal(2, child:wait())
      assert.matches(text, child:output())
      assert_secret(child)
    end
  end)
end)

describe("lunats record, request and pub", function()
  it("go where `nats` would go: to the selected context", function()
    local url = ada().url
    local folder = settings { url = url, user = "ada", password = SECRET }
    write(folder .. "/nats/context.txt", "prod")
    local opts = { env = { XDG_CONFIG_HOME = folder } }
    for _, words in ipairs { { "record", "y", "-o", "-", "--seconds", "0.1" },
      { "pub", "x", "hello" } } do
      local status, output = process.lunats_to_end(words, opts)
      assert.equal(0, status, output)
    end
    local status, output = process.lunats_to_end({ "request", "x", "" }, opts)
    assert.equal(1, status, output) -- connected: nobody listens
    assert.matches("nobody listens", output)
  end)
end)
