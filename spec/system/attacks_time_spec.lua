-- Scripts that do not let go of the processor, one by one, beside another service.
local attacks = require "spec.support.attacks"

describe("a service and its process survive", attacks.tests "time")
