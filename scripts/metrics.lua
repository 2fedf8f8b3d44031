---app.metrics: what a script counts, shown by /metrics of the admin port.
local core = require "lunats.core"
local check = require "lunats.check"

local M = {}

---Those of most clients of Prometheus; seconds.
local BUCKETS = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 }
local MAX_LABELS, MAX_BUCKETS = 8, 64
---Names of one script: what differs by user or subject is a label.
local MAX_METRICS, metrics = 1000, 0

---By name: what was declared, and with which words.
local declared = {}

local function fail(what, text, ...)
  core.blame(("app.metrics.%s: " .. text):format(what, ...))
end

local function check_name(what, name)
  if type(name) ~= "string" or not name:find "^[%a_:][%w_:]*$" then
    fail(what, "the name '%s' may hold letters, digits and '_', no digit at its beginning",
      check.shown(name))
  end
  if name:find "^lunats_" then fail(what, "names with 'lunats_' are those of the host") end
  local total = name:find "_total$" ~= nil
  if what == "counter" and not total then
    fail(what, "the name of a counter ends in '_total': '%s_total'", name)
  end
  if what ~= "counter" and total then fail(what, "'_total' is for counters") end
  if name:find "_bucket$" or name:find "_sum$" or name:find "_count$" then
    fail(what, "the endings '_bucket', '_sum' and '_count' are those of histograms")
  end
end

local function check_labels(what, labels)
  local seen = {}
  if #labels > MAX_LABELS then fail(what, "%d labels at most", MAX_LABELS) end
  for i = 1, #labels do
    local label = labels[i]
    if type(label) ~= "string" or not label:find "^[%a_][%w_]*$" or label:find "^__" then
      fail(what, "the label '%s' may hold letters, digits and '_'", check.shown(label))
    end
    if label == "service" or label == "le" then
      fail(what, "the label '%s' is set by the host", label)
    end
    if seen[label] then fail(what, "the label '%s' is there twice", label) end
    seen[label] = true
  end
end

local function check_buckets(what, buckets)
  if #buckets == 0 or #buckets > MAX_BUCKETS then
    fail(what, "buckets is a list of 1 to %d numbers", MAX_BUCKETS)
  end
  for i = 1, #buckets do
    local bound = buckets[i]
    if type(bound) ~= "number" or bound ~= bound or math.abs(bound) == math.huge
      or i > 1 and bound <= buckets[i - 1] then
      fail(what, "buckets must be rising, finite numbers")
    end
  end
end

---@param what "counter"|"gauge"|"histogram"
local function declare(what, opts)
  if type(opts) ~= "table" then fail(what, "options expected") end
  opts = core.check("app.metrics." .. what, opts, { name = "string", help = "string",
    labels = "table", buckets = what == "histogram" and "table" or nil })
  check_name(what, opts.name)
  if not opts.help or opts.help == "" then
    fail(what, "help is missing: a sentence on what '%s' counts", opts.name)
  end
  local labels = opts.labels or {}
  local buckets = what == "histogram" and (opts.buckets or BUCKETS) or {}
  check_labels(what, labels)
  if what == "histogram" then check_buckets(what, buckets) end
  local key = ("%s %s %s"):format(what, table.concat(labels, ","), table.concat(buckets, ","))
  local before = declared[opts.name]
  if before and before.key ~= key then
    fail(what, "'%s' has been declared with another type, other labels or buckets",
      opts.name)
  end
  -- OpenMetrics names counters without their ending.
  local twin = what == "counter" and opts.name:gsub("_total$", "") or opts.name .. "_total"
  if declared[twin] then
    fail(what, "'%s' and '%s' have one name in OpenMetrics", opts.name, twin)
  end
  if not before then
    if metrics == MAX_METRICS then
      fail(what, "a script has %d metrics at most; what differs may be a label", MAX_METRICS)
    end
    metrics = metrics + 1
    before = { key = key, meter = core.meter(what, opts.name, opts.help, labels, buckets) }
    declared[opts.name] = before
  end
  return before.meter
end

function M.counter(opts) return (declare("counter", opts)) end
function M.gauge(opts) return (declare("gauge", opts)) end
function M.histogram(opts) return (declare("histogram", opts)) end

return M
