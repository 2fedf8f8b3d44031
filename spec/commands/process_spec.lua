local core = require "lunats.core"

local function run(command, capture)
  return assert(core.process({ "/bin/sh", "-c", command }, capture))
end

describe("core.process", function()
  it("collects the output and tells the exit status", function()
    local status, output = run("echo one; echo two; exit 3", true):wait()
    assert.equal(3, status)
    assert.equal("one\ntwo\n", output)
    assert.equal(128 + 9, (run("kill -9 $$"):wait()))
  end)

  it("explains what cannot be started", function()
    local child, err = core.process({ "/no/such/program" })
    assert.is_nil(child)
    assert.matches("no/such/program", err.message)
  end)

  it("hands no descriptors on", function()
    -- The C library of Lua opens files without close-on-exec, as nats.c opens its sockets.
    local file <close> = assert(io.open("/proc/self/status"))
    assert.equal("connected", core.nats_status())
    local _, output = run("ls /proc/self/fd", true):wait()
    assert.equal("0\n1\n2\n3\n", output) -- 3: the folder that ls reads
    assert.truthy(file)
  end)
end)
