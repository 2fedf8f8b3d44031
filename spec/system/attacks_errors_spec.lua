-- Scripts that fail as badly as they can, one by one, beside another service.
local attacks = require "spec.support.attacks"

describe("a service and its process survive", attacks.tests "errors")
