-- What .busted loads before the specs of this repository.
local busted = require "busted"
local clean_loop = require "spec.support.clean_loop"

-- The collector works as hard as it can, in the spec and in services that are given as text:
-- whatever C forgets to keep alive is gone at once.
if os.getenv "LN_GC_STRESS" == "1" then
  local core = require "lunats.core"
  local STRESS = 'collectgarbage("incremental", 1, 1000, 1) '
  local start_service = core.start_service
  assert(load(STRESS))()
  ---Behind what has to be first in a file, and on the same line as what comes then.
  local function stressed(source)
    local mark = source:match "^\u{FEFF}" or ""
    local shell = source:match("^#[^\n]*\n", #mark + 1) or ""
    return mark .. shell .. STRESS .. source:sub(#mark + #shell + 1)
  end
  function core.start_service(connect, path, source, opts) -- luacheck: ignore 122
    return start_service(connect, path, source and stressed(source), opts)
  end
end

-- Of the root: the first before and the last after each test.
busted.before_each(clean_loop.before_each)
busted.after_each(clean_loop.after_each)
