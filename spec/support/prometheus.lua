---A Prometheus of its own that scrapes often.
local admin = require "spec.support.admin"
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"

local M = {}

---Debian's package prometheus has both programs.
M.found = os.execute "command -v prometheus promtool >/dev/null" == true

---A command to its end.
---@return integer status
---@return string output
function M.promtool(...)
  return assert(core.process({ "promtool", ... }, true)):wait()
end

local prometheus = {}
prometheus.__index = prometheus

---Whether the text is metrics for promtool.
---@return integer status
---@return string output
function M.check_metrics(text)
  local path = process.write("metrics", text)
  return assert(core.process({ "sh", "-c", "promtool check metrics <" .. path }, true)):wait()
end

---@param urls string[] of admin ports
---@param opts table|nil rules (path of a file)
function M.start(urls, opts)
  local rules = opts and opts.rules
  local targets = {}
  for i, url in ipairs(urls) do targets[i] = url:match "//([^/]+)" end
  local config = process.write("prometheus.yml", app.json.encode { -- JSON is YAML
    global = { scrape_interval = "500ms", scrape_timeout = "500ms",
      evaluation_interval = "500ms" },
    rule_files = app.json.array { rules },
    scrape_configs = { { job_name = "lunats", honor_labels = true,
      static_configs = { { targets = targets } } } },
  })
  local child = process.spawn { "prometheus", "--config.file=" .. config,
    "--storage.tsdb.path=" .. process.path "tsdb", "--web.listen-address=127.0.0.1:0" }
  child:expect "ready to receive web requests"
  local address = child:expect 'Listening on" [^\n]-address=([^%s"]+)'
  return setmetatable({ child = child, url = "http://" .. address }, prometheus)
end

---The answer of its HTTP API, or nil and what is wrong.
function prometheus:get(path, query, time)
  local options = { "--get" }
  for name, value in pairs { query = query, time = time } do
    options[#options + 1] = "--data-urlencode"
    options[#options + 1] = ("%s=%s"):format(name, value)
  end
  local _, body = admin.get(self.url, "/api/v1/" .. path, options)
  local answer = app.json.decode(body)
  if answer.status ~= "success" then return nil, answer.error end
  return answer.data
end

---@return table[] samples { metric = labels, value = number }
function prometheus:query(expr, time)
  local data = assert(self:get("query", expr, time and ("%.3f"):format(time)))
  local samples = {}
  for i, at in ipairs(data.result) do
    samples[i] = { metric = at.metric, value = tonumber(at.value[2]) }
  end
  return samples
end

---The value of an expression that has one sample, or nil while it has none.
function prometheus:value(expr, time)
  local samples = self:query(expr, time)
  assert(#samples <= 1, expr .. " has several samples")
  return samples[1] and samples[1].value
end

---Waits until an expression has the value.
function prometheus:expect(expr, wanted, timeout)
  local seen
  return eventually(function()
    return ("%s to be %s, it is %s"):format(expr, wanted, seen)
  end, function()
    seen = self:value(expr)
    return seen == wanted
  end, timeout)
end

return M
