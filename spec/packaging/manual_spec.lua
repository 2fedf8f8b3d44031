-- Manual pages and completion, made from what the program says of itself, and tried in the
-- shells that are there.
local core = require "lunats.core"
local process = require "spec.support.process"
local read = require "spec.support.read"
local lfs = require "lfs"

local folder, help

local function there(program)
  return core.process({ "/bin/sh", "-c", "command -v " .. program }, true):wait() == 0
end

setup(function()
  folder = os.tmpname()
  os.remove(folder)
  for _, sub in ipairs { "", "/man", "/completion", "/work", "/work/sub" } do
    assert(lfs.mkdir(folder .. sub))
  end
  for _, name in ipairs { "svc.lua", "notes.txt" } do
    assert(io.open(folder .. "/work/" .. name, "w")):close()
  end
  local status, text = process.lunats_to_end { "help", "--json" }
  assert(status == 0, text)
  local file = assert(io.open(folder .. "/help.json", "w"))
  file:write(text)
  file:close()
  help = app.json.decode(text)
  local child = process.spawn({ process.lunats(), "lua", "packaging/manual.lua",
    folder .. "/help.json", folder }, { env = { SOURCE_DATE_EPOCH = "86400" } })
  assert(child:wait() == 0, child:output())
  process.close_all()
end)
teardown(function() os.execute("rm -rf " .. folder) end)
after_each(process.close_all)

describe("the manual", function()
  it("has a page for each command, with all of its options", function()
    local overview = read(folder .. "/man/lunats.1")
    -- Of the version that the project has, and of the time that the build is told.
    local version = read "CMakeLists.txt":match "project%(lunats VERSION ([%d.]+)"
    local title = ('.TH LUNATS 1 "1970-01-02" "lunats %s" '):format(version)
    assert.truthy(overview:find(title, 1, true), overview)
    assert.truthy(overview:find("\n.SS Talk to services\n", 1, true))
    for _, command in ipairs(help.commands) do
      assert.truthy(overview:find("\n\\fB" .. command.name .. "\\fR", 1, true), command.name)
      local page = command.text ~= "" and read(folder .. "/man/lunats-" .. command.name .. ".1")
      for _, option in ipairs(page and command.options or {}) do
        local name = option.name:gsub("%-", "\\-")
        assert.truthy(page:find("\\fB\\-\\-" .. name .. "\\fR", 1, true)
          or page:find("\\fB\\-\\-no\\-" .. name .. "\\fR", 1, true), option.name)
        assert.truthy(page:find(option.variable, 1, true), option.variable)
      end
    end
  end)

  it("is read by man, without a complaint", function()
    if not there "man" then return pending "needs man" end
    for name in lfs.dir(folder .. "/man") do
      if name:find "%.1$" then
        local child = process.spawn({ "man", "--warnings", "-l", folder .. "/man/" .. name },
          { env = { MANPAGER = "cat", LC_ALL = "C.UTF-8", MANWIDTH = "80" } })
        assert.equal(0, child:wait())
        assert.is_nil(child:output():find("warning", 1, true), child:output())
        assert.truthy(child:output():find("EXAMPLES", 1, true), child:output())
      end
    end
  end)
end)

---The lines end in words of which one can be meant; and what that is.
local LINES = {
  { "lunats reque", "request" },
  { "lunats run --log-lev", "--log-level" },
  { "lunats run --no-wat", "--no-watch" },
  { "lunats run --log-level de", "debug" },
  { "lunats run --log-format=j", "json" },
  { "lunats run --creds no", "notes.txt" },
  { "lunats run --retry sv", "svc.lua" },
  { "lunats check --permis", "--permissions" },
  { "lunats help desc", "describe" },
  { "lunats new --template wo", "worker" },
}
local FOREIGN = "lunats new --log-lev"

---What each shell makes of lines when somebody presses the tab key at their ends. The scripts
---get the folder and the lines, and write "== " and what they are before each answer.
local shells = {}

shells.bash = { "bash", "--norc", "-c", [==[
  source "$1"/completion/lunats.bash
  COMP_WORDBREAKS=$' \n"'"'><=;|&(:"
  for line in "${@:2}"; do
    read -ra COMP_WORDS <<<"$(sed 's/=/ = /g' <<<"$line")"
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    COMPREPLY=()
    _lunats
    printf '%s\n' "== $line" "${COMPREPLY[@]}"
  done
]==] }

shells.fish = { "fish", "--no-config", "-c", [==[
  source $argv[1]/completion/lunats.fish
  for line in $argv[2..]
    echo "== $line"
    complete -C $line
  end
]==] }

---Types into a terminal, and writes what stands in the line then.
shells.zsh = { "zsh", "-f", "-c", [==[
  zmodload zsh/zpty
  shown=$1/shown
  zpty -b shell zsh -f -i
  zpty -w shell "PROMPT=; fpath=($1/completion \$fpath); autoload -U compinit; compinit -u -D"
  zpty -w shell "dump() { print -r -- \$BUFFER >$shown.new; mv $shown.new $shown; BUFFER= }"
  zpty -w shell "zle -N dump; bindkey '^G' dump; bindkey '^I' expand-or-complete"
  shift
  for line; do
    rm -f $shown
    zpty -w -n shell "$line"$'\t'$'\a'
    while [[ ! -e $shown ]]; do zpty -r -t shell out; sleep 0.02; done
    print -r -- "== $line"
    cat $shown
  done
  zpty -d shell
]==] }

local function ask(shell)
  local words = table.move(shells[shell], 1, #shells[shell], 1, {})
  if shell ~= "fish" then words[#words + 1] = shell end -- which is $0
  words[#words + 1] = folder
  for _, case in ipairs(LINES) do words[#words + 1] = case[1] end
  words[#words + 1] = FOREIGN
  local child = process.spawn(words, { cwd = folder .. "/work", env = { TERM = "dumb" } })
  assert.equal(0, child:wait(60), child:output())
  return "\n" .. child:output() .. "== "
end

for _, shell in ipairs { "bash", "fish", "zsh" } do
  it("completion knows in " .. shell .. " what is meant", function()
    if not there(shell) then return pending("needs " .. shell) end
    local text = ask(shell)
    local function answer(line)
      local _, last = text:find("\n== " .. line .. "\n", 1, true)
      return text:sub(assert(last, text), text:find("== ", last, true) - 1)
    end
    for _, case in ipairs(LINES) do
      assert.truthy(answer(case[1]):find(case[2], 1, true), case[1] .. answer(case[1]))
    end
    assert.is_nil(answer(FOREIGN):find("--log-level", 1, true))
  end)
end
