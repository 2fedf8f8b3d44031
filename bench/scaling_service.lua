-- SPDX-License-Identifier: Apache-2.0
-- For ./dev bench --scaling: listeners of bench.scale.0 to N - 1, and fibers that wait. Several
-- copies in one process, called service_0, service_1, ..., have one subject each.
local subjects = tonumber(os.getenv "BENCH_SUBJECTS") or 1
local fibers = tonumber(os.getenv "BENCH_FIBERS") or 0
local index = tonumber(debug.getinfo(1, "S").source:match "service_(%d+)%.lua$")

local function echo(msg) return msg.data end

for i = index or 0, index or subjects - 1 do
  app.listen("bench.scale." .. i, { data_type = "string" }, echo)
end

app.task(function()
  for _ = 1, fibers do app.spawn(app.sleep, 3600) end
end)
