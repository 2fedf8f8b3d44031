---Bars per workload, one below the other, as SVG.
local number = require("report").number

local WIDTH, LABEL, BAR, GAP = 760, 110, 16, 6
local UNITS = { cpu = "CPU us per message", p50 = "latency p50, us", start = "ms",
  memory = "MB", ns = "ns per document" }

local function escape(text) return (text:gsub("[<>&]", { ["<"] = "&lt;", [">"] = "&gt;",
  ["&"] = "&amp;" })) end

---Bars of one workload; returns the y below them. Widths are to scale up to four times the
---value of lunats; what is longer is cut.
local function draw(out, workload, y)
  local longest = 0
  for _, one in ipairs(workload.peers) do longest = math.max(longest, one.median) end
  longest = math.min(longest, 4 * workload.peers[1].median)
  out[#out + 1] = ('<text x="0" y="%d" class="t">%s (%s)</text>'):format(y + 14,
    escape(workload.title), UNITS[workload.value])
  y = y + 22
  for _, one in ipairs(workload.peers) do
    local cut = one.median > longest
    local width = math.max(1, math.min(one.median / longest, 1) * (WIDTH - LABEL - 90))
    out[#out + 1] = ('<text x="%d" y="%d" class="l">%s</text>'):format(LABEL - 8, y + 12,
      escape(one.peer))
    out[#out + 1] = ('<rect x="%d" y="%d" width="%.1f" height="%d" class="%s"/>'):format(LABEL,
      y, width, BAR, one.peer == "lunats" and "us" or "peer")
    out[#out + 1] = ('<text x="%.1f" y="%d">%s%s</text>'):format(LABEL + width + 6, y + 12,
      number(one.median), cut and " (cut)" or "")
    y = y + BAR + GAP
  end
  return y + 16
end

local STYLE = [[
<style>
  text { font: 12px sans-serif; fill: #222 } .t { font-weight: bold }
  .l { text-anchor: end } .us { fill: #c2410c } .peer { fill: #94a3b8 }
</style>]]

---@param summary table[]  of report.summary
---@return string svg
return function(summary)
  local out, y = {}, 10
  for _, workload in ipairs(summary) do y = draw(out, workload, y) end
  return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="-10 0 %d %d">\n'):format(WIDTH + 20,
    y) .. STYLE .. '\n<rect x="-10" width="100%" height="100%" fill="#fff"/>\n'
    .. table.concat(out, "\n") .. "\n</svg>"
end
