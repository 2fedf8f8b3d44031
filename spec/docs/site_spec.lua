-- The manual as a site: it is made of the documents, every link leads somewhere, and it can be
-- read on a desk and on a phone, in light and dark. The pictures are in build/pictures.
local browser = require "spec.support.browser"
local declarations = require "spec.support.declarations"
local process = require "spec.support.process"
local read = require "spec.support.read"

local function has_mkdocs() return (os.execute "command -v mkdocs >/dev/null") end

local seen = not has_mkdocs() and function(name) pending(name .. " (needs mkdocs)") end or it

describe("the site", function()
  local folder, output

  setup(function()
    if not has_mkdocs() then return end
    folder = process.path "site"
    local child = process.spawn { "packaging/site/build", process.lunats(), folder }
    assert.equal(0, child:wait(120), child:output())
    output = child:output()
  end)
  teardown(process.close_all)

  seen("has a link to each page, and none to nothing", function()
    assert.matches("%d%d%d%d links, 0 problems", output)
    local home = read(folder .. "/html/index.html")
    for _, page in ipairs { "tutorial", "services", "jetstream", "operations", "reference/app",
      "examples/gateway", "examples/shop/index", "from_panini", "changelog" } do
      assert.truthy(home:find(('href="%s.html"'):format(page), 1, true), page)
    end
  end)

  seen("has a reference of all that the declarations say", function()
    local page = read(folder .. "/html/reference/app.html"):gsub("&#95;", "_")
    for name in read("scripts/app.d.lua"):gmatch "\nfunction (app%.[%w_.]+)%(" do
      assert.truthy(page:find(name .. "(", 1, true), name)
    end
    assert.truthy(page:find('<a href="app.html#listen_opts">', 1, true), "types are links")
    local errors = read(folder .. "/html/reference/errors.html"):gsub("&#95;", "_")
    for code in pairs(declarations.values "err.code") do
      assert.truthy(errors:find(('>"%s"<'):format(code), 1, true), code)
    end
    local text = read(folder .. "/html/reference/lunats_testing.html")
    for _, name in ipairs { "testing.broker(", "service:request(", "service:expect(" } do
      assert.truthy(text:find(name, 1, true), name)
    end
  end)

  it("says in its reference what is deprecated, and what to use instead", function()
    local reference = dofile "packaging/site/reference.lua"
    local _, page = reference.page([[
---@meta app
local app = {}
---Waits.
---@deprecated `app.sleep` waits as well
---@param seconds number
function app.wait(seconds) end
]], {})
    assert.matches("#app%-wait }\n+Waits%.\n+%*%*Deprecated:%*%* [^\n]*app%.sleep[^\n]* waits "
      .. "as well\n", page)
  end)

  local pictured = browser.missing and function(name)
    pending(("%s (needs %s)"):format(name, browser.missing))
  end or seen

  pictured("can be read on a desk and on a phone, and searched", function()
    local service = process.write("site.lua",
      ("app.http.files('/', %q)"):format(folder .. "/html"))
    local server = process.spawn { process.lunats(), "run", "--embedded", "--http",
      "127.0.0.1:0", service }
    local url = server:expect "(http://127%.0%.0%.1:%d+)"
    server:expect "started, connected" -- until then it answers 503
    local page = browser.start {
      { "screen", 1280, 900, "light" },
      { "open", url .. "/index.html" },
      { "picture", browser.picture "site-desk-light", true },
      { "evaluate", "document.querySelector('#__search').click(),"
        .. "document.querySelector('.md-search__input').focus(),"
        .. "document.querySelector('.md-search__input').value = 'app.listen',"
        .. "document.querySelector('.md-search__input').dispatchEvent(new Event('keyup'))" },
      { "wait", "document.querySelectorAll("
        .. "'.md-search-result__link[href*=\"app.html\"][href*=\"#app-listen\"]').length" },
      { "picture", browser.picture "site-search", true },
      { "screen", 1280, 900, "dark" },
      { "evaluate", "localStorage.clear()" }, -- it remembers what one reads in
      { "open", url .. "/reference/app.html" },
      { "evaluate", "document.body.dataset.mdColorScheme" },
      { "picture", browser.picture "site-desk-dark", true },
      { "screen", 390, 844, "light" },
      { "open", url .. "/tutorial.html" },
      { "picture", browser.picture "site-phone-light", true },
      { "evaluate", "document.documentElement.scrollWidth" },
      { "complaints" },
    }
    local complaints = page:finish()
    assert.same({}, complaints)
    assert.is_true(page:step(5) > 0)
    assert.equal("slate", page:step(10))
    assert.equal(390, page:step(15), "nothing sticks out on a phone")
    assert.equal(0, server:stop())
  end)
end)
