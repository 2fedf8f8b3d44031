-- A PostgreSQL that wants TLS and a password: whom we trust, and what nobody gets to see.
local core = require "lunats.core"
local own = require "spec.support.own"
local postgres = require "spec.support.postgres"
local process = require "spec.support.process"

local pg = postgres.pg

local PASSWORD, WRONG = "sesame-4711", "open-barley-0815"

local function openssl(...)
  local status, output = assert(core.process({ "openssl", ... }, true)):wait()
  assert(status == 0, output)
end

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

---An authority, or with `ca` what it has signed; for the host `localhost` only.
---@return string certificate, string key  paths
local function certificate(dir, name, ca)
  local cert, key = ("%s/%s.crt"):format(dir, name), ("%s/%s.key"):format(dir, name)
  local words = { "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
    "-nodes", "-days", "2", "-subj", "/CN=" .. name, "-keyout", key, "-out", cert }
  if ca then
    table.move({ "-CA", ca .. ".crt", "-CAkey", ca .. ".key", "-addext",
      "subjectAltName=DNS:localhost" }, 1, 6, #words + 1, words)
  end
  openssl(table.unpack(words))
  return cert, key
end

---It speaks TLS only, and wants a password of whoever does not come by its socket file.
local function start()
  return postgres.start({ "-c", "ssl=on", "-c", "password_encryption=scram-sha-256" },
    function(self)
      certificate(self.dir, "ca")
      certificate(self.dir, "other")
      local cert, key = certificate(self.dir, "server", self.dir .. "/ca")
      self:write("server.crt", read(cert))
      self:write("server.key", read(key))
      self:write("pg_hba.conf", "local all all trust\n"
        .. "hostssl all all 127.0.0.1/32 scram-sha-256\n")
      self.dsn = self.socket_dsn
    end)
end

describe("pg.pool of a server with TLS", function()
  local server
  if not postgres.each(function(...) server = ... end, start) then return end

  ---What does not fail at once fails later than any spec waits.
  local function pool(words)
    local dsn = ("port=%d user=app dbname=postgres %s"):format(server.port, words)
    local db = pg.pool { dsn = dsn, wait = 60 }
    own.keep { stop = function() db:close() end }
    return db
  end

  local function trusting(ca, words)
    return ("sslmode=verify-full sslrootcert=%s/%s.crt %s"):format(server.dir, ca, words)
  end

  ---All that an error says, and the log.
  local function everything(err)
    local parts = {}
    for key, value in pairs(err) do parts[#parts + 1] = ("%s=%s"):format(key, value) end
    return table.concat(parts, "\n") .. "\n" .. tostring(err)
  end

  ---The error of the first query.
  local function refused(words)
    local rows, err = pool(words):query "select 1"
    assert.is_nil(rows)
    for _, secret in ipairs { PASSWORD, WRONG } do
      assert.is_nil(everything(err):find(secret, 1, true))
    end
    return err
  end

  before_each(function()
    local admin = pg.pool { dsn = server.socket_dsn }
    assert(admin:execute(([[drop role if exists app; create role app login password '%s']])
      :format(PASSWORD)))
    admin:close()
  end)

  it("is asked by verified TLS, with a password that it knows only as a hash", function()
    local db = pool(trusting("ca", "host=localhost channel_binding=require password=")
      .. PASSWORD)
    local rows = assert(db:query [[select ssl, version, current_user as name
      from pg_stat_ssl where pid = pg_backend_pid()]])
    assert.is_true(rows[1].ssl)
    assert.matches("^TLSv1%.[23]$", rows[1].version)
    assert.equal("app", rows[1].name)
    local admin = pg.pool { dsn = server.socket_dsn }
    own.keep { stop = function() admin:close() end }
    local hash = assert(admin:query "select rolpassword from pg_authid where rolname = 'app'")
    assert.matches("^SCRAM%-SHA%-256%$", hash[1].rolpassword)
  end)

  it("is refused at once where another authority is trusted", function()
    local err = refused(trusting("other", "host=localhost password=" .. PASSWORD))
    assert.equal("tls", err.code)
    assert.matches("certificate verify failed", err.message)
    assert.is_nil(err.sqlstate)
  end)

  it("is refused where its certificate is of another host", function()
    local err = refused(trusting("ca", "host=127.0.0.1 password=" .. PASSWORD))
    assert.equal("tls", err.code)
    assert.matches('server certificate for "localhost" .*does not match host name "127.0.0.1"',
      err.message)
  end)

  it("is not asked where there is nobody to trust", function()
    local err = refused(trusting("missing", "host=localhost password=" .. PASSWORD))
    assert.equal("tls", err.code)
    assert.matches('root certificate file "[^"]*/missing.crt" does not exist', err.message)
  end)

  it("refuses who speaks without TLS, and who has the wrong password or none", function()
    local err = refused("host=localhost sslmode=disable password=" .. PASSWORD)
    assert.equal("28000", err.code)
    assert.matches("no encryption", err.message)
    err = refused(trusting("ca", "host=localhost password=" .. WRONG))
    assert.equal("28P01", err.code)
    assert.matches('password authentication failed for user "app"', err.message)
    err = refused(trusting("ca", "host=localhost passfile=/dev/null"))
    assert.equal("28P01", err.code)
    assert.matches("no password supplied", err.message)
  end)

  it("goes on with a new password when that is another one", function()
    local words = trusting("ca", "host=localhost password=")
    assert.equal("28P01", refused(words .. WRONG).code)
    local admin = pg.pool { dsn = server.socket_dsn }
    own.keep { stop = function() admin:close() end }
    local db = pool(words .. WRONG)
    assert.equal("28P01", select(2, db:query "select 1").code)
    assert(admin:execute(("alter role app password '%s'"):format(WRONG)))
    assert.equal(1, assert(db:query "select 1 as n")[1].n)
  end)

  it("shows the password to nobody: not in the log, not in errors of a service", function()
    local child = process.run(([[
      local db = require "lunats.pg".pool { dsn = %q, wait = 1 }
      app.on_start(function()
        local rows, err = db:query "select 1"
        app.log.error(tostring(err), err)
        local ok, wrong = pcall(require "lunats.pg".pool, { dsn = "password=%s host" })
        app.log.error(tostring(wrong))
        app.log.error(tostring(db))
      end)
    ]]):format(("port=%d user=app dbname=postgres %s"):format(server.port,
      trusting("ca", "host=localhost password=" .. WRONG)), WRONG), { "--errors", "full" })
    child:expect "started, connected"
    child:signal "USR1"
    child:expect "fibers"
    assert.equal(0, child:stop())
    local output = child:output()
    assert.matches("PostgreSQL localhost/postgres cannot be reached: .*password authentication",
      output)
    assert.is_nil(output:find(WRONG, 1, true))
  end)
end)
