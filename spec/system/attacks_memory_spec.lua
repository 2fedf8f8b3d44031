-- Scripts that want more and more of something, one by one, beside another service.
local attacks = require "spec.support.attacks"

describe("a service and its process survive", attacks.tests "memory")
