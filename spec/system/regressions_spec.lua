-- Bugs that reviews found in the life of services: reloads that are overtaken by what scripts
-- do meanwhile, services that end while somebody looks at them.
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local logged = require "spec.support.logged"
local own = require "spec.support.own"
local process = require "spec.support.process"
local testing = require "lunats.testing"

local start = own.start

after_each(own.close)

local function version(n)
  return ([[
    app.listen("version", function() return %d end)
  ]]):format(n)
end

---Starts `old` on a server of its own and reloads it to `new` while that server hangs, so that
---the reload waits for the confirmation of its subscriptions. That is when meanwhile() returns
---in a script, which logs "acted" when it has done what it wants to do.
local function slow_reload(old, new)
  local broker = testing.broker()
  local sign = process.path "sign"
  finally(function()
    broker:stop()
    process.close_all()
  end)
  local prelude = ([[
    local function meanwhile()
      while not io.open(%q) do app.sleep(0.005) end
    end
  ]]):format(sign)
  local svc = testing.start(prelude .. old, { server = broker.url })
  local result
  local function reload()
    app.spawn(function()
      result = table.pack(svc:reload(prelude .. new
        .. "app.on_start(function() app.log.info 'hook' end)\n"))
    end)
    broker:pause()
    logged(svc, "^hook$")
    assert(io.open(sign, "w")):close()
    logged(svc, "^acted$")
    broker:resume()
    return table.unpack(eventually("the reload", function() return result end))
  end
  return svc, reload
end

describe("while a reload waits for the server,", function()
  it("a listener that the next version stops is not the old version's", function()
    local svc, reload = slow_reload(version(1) .. [[
      app.listen("two", function() return "old" end)
      app.listen("two", function() end)
    ]], [[
      local handles = {}
      for _, s in ipairs { "version", "two", "fresh" } do
        handles[#handles + 1] = app.listen(s, function() return 2 end)
      end
      app.listen("stays", function() return 2 end)
      app.on_start(function()
        app.spawn(function()
          meanwhile()
          for _, handle in ipairs(handles) do handle:stop() end
          app.log.info "acted"
        end)
      end)
    ]])
    assert(reload())
    assert.equal(2, assert(svc:request("stays")).data)
    for _, s in ipairs { "version", "two", "fresh" } do
      local _, err = svc:request(s)
      assert.equal("no_responders", err.code)
    end
    svc:stop()
  end)

  it("a listener that the old version stops is there in the next one", function()
    local svc, reload = slow_reload([[
      local handle = app.listen("version", function() return 1 end)
      app.task(function()
        meanwhile()
        handle:stop()
        app.log.info "acted"
      end)
    ]], version(2))
    assert(reload())
    assert.equal(2, assert(svc:request("version")).data)
    svc:stop()
  end)

  it("a listener that the next version adds is subscribed", function()
    local svc, reload = slow_reload(version(1), version(2) .. [[
      app.on_start(function()
        app.spawn(function()
          meanwhile()
          app.listen("late", function() return "late" end)
          app.log.info "acted"
        end)
      end)
    ]])
    assert(reload())
    eventually("a subscription", function() return svc:request("late") end)
    assert.equal("late", assert(svc:request("late")).raw)
    svc:stop()
  end)

  it("a listener that the old version adds outlives a failure", function()
    local svc, reload = slow_reload(version(1) .. [[
      app.task(function()
        meanwhile()
        app.listen("fresh", function() return "old" end)
        app.state.bad = print -- fails the reload
        app.log.info "acted"
      end)
    ]], version(2) .. [[
      app.listen("fresh", function() return "new" end)
    ]])
    assert.is_nil((reload()))
    assert.equal("old", assert(svc:request("fresh")).raw)
    svc:stop()
  end)
end)

describe("a reload", function()
  describe("with a subject that the server refuses leaves the old version in place", function()
    local broker, svc

    before_each(function()
      broker = testing.broker { config = [[
        authorization { users = [
          { user: a, password: b, permissions: { subscribe: { deny: ["refused.>"] } } } ] }
      ]] }
      svc = testing.start(version(1), { server = broker.url, user = "a", password = "b" })
    end)

    after_each(function()
      svc:stop()
      broker:stop()
    end)

    local function refused_reload(subject)
      local listen = ("app.listen(%q, function() end)\n"):format(subject)
      local ok, err = svc:reload(listen .. version(2))
      assert.is_nil(ok)
      assert.matches("cannot subscribe to refused%.", err.message)
      assert.equal(1, assert(svc:request("version")).data)
    end

    it("every time", function()
      for i = 1, 20 do refused_reload("refused." .. i) end
    end)

    it("whatever the length of its subject", function()
      for _, length in ipairs { 100, 200, 240, 300, 1000, 3000 } do
        refused_reload("refused." .. ("x"):rep(length))
      end
    end)

    it("on a busy machine", function()
      local busy = {}
      finally(function() for _, one in ipairs(busy) do one:signal "KILL" end end)
      for i = 1, 8 do busy[i] = process.spawn { "sh", "-c", "while :; do :; done" } end
      for i = 1, 20 do refused_reload("refused." .. i) end
    end)
  end)

  it("during the on_reload hooks of the one before starts tasks after its own", function()
    local svc = start(version(1))
    assert(svc:reload([[
      app.on_reload(function() app.sleep(0.1) end)
      app.listen("slow", function() app.sleep(0.2) end)
    ]] .. version(2)))
    svc:publish("slow", "") -- keeps that version
    assert(svc:reload([[
      app.on_reload(function() app.sleep(0.2) app.publish("hooked", "") end)
      app.task(function() app.publish("begun", "") end)
    ]] .. version(3)))
    svc:expect "begun"
    assert.equal(1, #svc:calls "hooked")
  end)
end)

describe("a service that ends", function()
  it("does not wait for subscriptions that the version before took with it", function()
    local svc = testing.start(version(1) .. [[
      app.listen("slow", { concurrency = 1 }, function() app.sleep(10) end)
    ]], { drain_timeout = 5 })
    for _ = 1, 3 do svc:publish("slow", "") end
    assert(svc:reload(version(2)))
    app.sleep(4.5) -- so that the old version's time ends well before that of the stop would
    local began = core.hrtime()
    assert.equal(0, svc:stop())
    assert.is_true(core.hrtime() - began < 4.5)
  end)

  it("at its top level has ended", function()
    local ok, err = pcall(testing.start, "os.exit(3)\n")
    assert.is_false(ok)
    assert.matches("did not start", tostring(err))
  end)

  it("by itself may be looked at", function()
    local svc = testing.start [[
      app.listen("end", function() app.publish("ending") os.exit(0) end)
    ]]
    svc:publish("end", "")
    svc:expect "ending" -- a look may cut the connection
    while svc.handle:running() do
      for _, look in ipairs { "activity", "listeners", "subscriptions", "deadline",
        "partition" } do
        pcall(svc.handle[look], svc.handle, 0)
      end
      app.sleep(0)
    end
    assert.equal(0, svc:stop())
  end)
end)

describe("a client", function()
  it("that cannot even try to connect is an error", function()
    local client, err = core.connect { servers = { testing.server_url() },
      tls_ca = "/no/such/file.pem" }
    assert.is_nil(client)
    assert.truthy(err.message)
  end)

  it("may listen in on_start", function()
    local svc = start(([[
      local client_url = %q
      app.on_start(function()
        local client = assert(app.connect { server = client_url })
        local n = 0
        client.listen("once", function() n = n + 1 return n end)
        assert(client.flush())
        local other = assert(app.connect { server = client_url })
        other.listen("closed", function() end)
        other.close()
      end)
    ]]):format(testing.server_url()) .. version(1))
    assert.equal(1, assert(svc:request("once")).data)
    eventually("nobody", function() -- what is closed may still be closing
      local _, err = svc:request("closed", "", { timeout = 1 })
      return err.code == "no_responders"
    end)
    assert(svc:reload(version(2)))
    assert.equal(2, assert(svc:request("version")).data)
  end)
end)

describe("a finalizer of a script that has ended", function()
  after_each(process.close_all)

  it("opens nothing that would outlive it", function()
    local path = process.write("finalizer.lua", [[
      local core = require "lunats.core"
      local function no() end
      kept = setmetatable({}, { __gc = function()
        print(pcall(core.watch))
        print(pcall(core.process, { "/bin/true" }))
        print(pcall(core.js_pull, "S", "C", "$JS.API"))
        print(pcall(core.js_ordered))
        print(pcall(core.js_consume, "S", "C", "$JS.API",
          { max_messages = 1, concurrency = 1 }, no, no, no))
        print "closed"
      end })
    ]])
    local child = process.spawn { process.lunats(), "lua", "--server",
      testing.server_url(), path }
    eventually("the end", function() return child:status() end)
    assert.equal(0, child:status(), child:output())
    assert.equal(5, child:count "the script has ended")
    assert.equal(1, child:count "closed")
  end)
end)

describe("TLS that the server asks for", function()
  it("is used though the URL does not say so", function()
    local broker = testing.broker { tls = true }
    local path = process.write("svc.lua", [[
      app.listen("secret", { data_type = "string" }, function(msg) return #msg.data end)
      app.task(function() app.log.info("answer " .. app.request("secret", "12345").data) end)
    ]])
    local url = broker.url:gsub("^tls:", "nats:")
    local child = process.spawn({ process.lunats(), "run", "-s", url, path },
      { env = { SSL_CERT_FILE = testing.certificates().ca } })
    child:expect "answer 5"
    assert.equal(0, child:stop())
    broker:stop()
    process.close_all()
  end)
end)
