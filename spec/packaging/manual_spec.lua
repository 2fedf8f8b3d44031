-- Manual pages and completion, made from what the program says of itself, and tried in the
-- shells that are there.
local core = require "lunats.core"
local eventually = require "spec.support.eventually"
local process = require "spec.support.process"
local read = require "spec.support.read"
local lfs = require "lfs"

local folder, help

local function there(program)
  return core.process({ "/bin/sh", "-c", "command -v " .. program }, true):wait() == 0
end

---Runs a program to its end, in a folder with `svc.lua`, `notes.txt` and `sub`.
---@return string output
local function output(words)
  local child = process.spawn(words, { cwd = folder .. "/work" })
  assert.equal(0, child:wait(), child:output())
  return child:output()
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
    assert.truthy(overview:find('.TH LUNATS 1 "1970-01-02"', 1, true))
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

---What each shell makes of a line that ends where the cursor is.
local shells = {}

function shells.bash(line)
  return output { "bash", "--norc", "-c", [==[
    source "$1"/completion/lunats.bash
    COMP_WORDBREAKS=$' \n"'"'><=;|&(:"
    words=$(sed 's/=/ = /g' <<<"$2")
    read -ra COMP_WORDS <<<"$words"
    [[ $2 != *' ' && $2 != *= ]] || COMP_WORDS+=('')
    [[ $2 != *= ]] || unset 'COMP_WORDS[-1]'
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _lunats
    printf '%s\n' "${COMPREPLY[@]}"
  ]==], "bash", folder, line }
end

function shells.fish(line)
  return output { "fish", "--no-config", "-c",
    "source $argv[1]/completion/lunats.fish; complete -C $argv[2]", folder, line }
end

---Types the line and a tab into a terminal, and shows what stands there in the end.
function shells.zsh(line)
  local shown = process.path "shown"
  local child = process.spawn({ "zsh", "-f", "-c", [==[
    zmodload zsh/zpty
    zpty -b shell zsh -f -i
    zpty -w shell "PROMPT=; fpath=($1/completion \$fpath); autoload -U compinit; compinit -u -D"
    zpty -w shell "zstyle ':completion:*' list-prompt ''; setopt NO_BEEP; LISTMAX=9999"
    zpty -w shell "dump() { print -r -- \$BUFFER >$3.new; mv $3.new $3 }; zle -N dump"
    zpty -w shell "bindkey '^G' dump; bindkey '^I' expand-or-complete"
    zpty -w -n shell "$2"$'\t'$'\a'
    while [[ ! -e $3 ]]; do zpty -r -t shell out; sleep 0.05; done
    zpty -d shell
  ]==], "zsh", folder, line, shown }, { cwd = folder .. "/work", env = { TERM = "dumb" } })
  eventually("the end of zsh", function() return child:status() end, 20)
  return read(shown)
end

---The lines end in words of which one can be meant.
local LINES = {
  { "lunats reque", "request" },
  { "lunats run --log-lev", "--log-level" },
  { "lunats run --no-wat", "--no-watch" },
  { "lunats run --log-level de", "debug" },
  { "lunats run --log-format=j", "json" },
  { "lunats run --creds no", "notes.txt" },
  { "lunats run --retry sv", "svc.lua" },
  { "lunats check --js", "--json", "--js-domain" },
  { "lunats help desc", "describe" },
}

for _, shell in ipairs { "bash", "fish", "zsh" } do
  describe("completion in " .. shell, function()
    for _, case in ipairs(LINES) do
      it(("knows what %q becomes"):format(case[1]), function()
        if not there(shell) then return pending("needs " .. shell) end
        local text = shells[shell](case[1])
        if #case == 2 or shell ~= "zsh" then
          assert.truthy(text:find(case[2], 1, true), text)
        else
          assert.truthy(text:find("--js", 1, true), text)
        end
      end)
    end

    it("offers no option of another command", function()
      if not there(shell) then return pending("needs " .. shell) end
      assert.is_nil(shells[shell]("lunats new --log-lev"):find("--log-level", 1, true))
    end)
  end)
end
