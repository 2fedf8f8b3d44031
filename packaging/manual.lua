-- Manual pages and completion of shells, made of what the program says of itself:
--
--     lunats help --json >help.json
--     lunats lua packaging/manual.lua help.json FOLDER
--
-- writes man/lunats.1, man/lunats-COMMAND.1, completion/lunats.bash, completion/_lunats (zsh)
-- and completion/lunats.fish into FOLDER, where both folders are. CMake does that, and installs
-- them.
local null = app.json.null
local help

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
end

---Lines that grow one by one.
local function lines()
  local list = {}
  return function(format, ...)
    list[#list + 1] = select("#", ...) > 0 and format:format(...) or format
  end, function() return table.concat(list, "\n") .. "\n" end
end

---Every option as it is written, one entry for each spelling: --watch, --no-watch.
local function spellings(option)
  if option.value ~= null then
    return { { name = option.name, help = option.help, value = option.value } }
  end
  local plain = { name = option.name, help = option.help }
  local negated = { name = "no-" .. option.name, help = option.no_help }
  if negated.help == null then negated.help = "not --" .. option.name end
  return option.on and { negated, plain } or { plain, negated }
end

---What a value may be: nil, or a list of words.
local function words_of(option)
  if not option.values:find("|", 1, true) then return nil end
  local list = {}
  for word in option.values:gmatch "[^|]+" do list[#list + 1] = word end
  return list
end

local function letter_of(option)
  return option.letter ~= null and option.letter or nil
end

---The options of a command, and --help.
local function options_of(command)
  local list = table.move(command.options, 1, #command.options, 1, {})
  list[#list + 1] = { name = "help", letter = "h", value = null, values = "flag",
    help = "show the help of the command", only = true }
  return list
end

-- ---- manual pages ----

---Text for roff; `code` is bold.
local function roff(text)
  text = text:gsub("\\", "\\e"):gsub("%-", "\\-")
  text = text:gsub("`([^`]+)`", "\\fB%1\\fR")
  return (("\n" .. text):gsub("\n([.'])", "\n\\&%1"):sub(2))
end

local function title(put, name)
  local epoch = tonumber(os.getenv "SOURCE_DATE_EPOCH")
  put('.TH %s 1 "%s" "lunats %s" "lunats"', name:upper():gsub("%-", "\\-"),
    epoch and os.date("!%Y-%m-%d", epoch) or "", help.version)
  put ".nh"
  put ".ad l"
end

local function section(put, name, text)
  put(".SH %s", name)
  if text then put("%s", (roff(text):gsub("\n$", ""))) end
end

local function examples(put, text)
  section(put, "EXAMPLES")
  put ".nf"
  put("%s", (roff(text):gsub("\n$", "")))
  put ".fi"
end

local function page_of_option(put, option)
  local variable = option.variable
  for i, one in ipairs(spellings(option)) do
    local documented = i == 1 -- the other one says nothing more
    if documented then
      local letter = letter_of(option) and ("\\fB\\-%s\\fR, "):format(option.letter) or ""
      local value = one.value and (" \\fI%s\\fR"):format(roff(one.value)) or ""
      put ".TP"
      put("%s\\fB\\-\\-%s\\fR%s", letter, roff(one.name), value)
      put("%s.", roff(one.help))
      if variable then put("Environment: \\fB%s\\fR.", roff(variable)) end
    end
  end
end

local function page_of_command(command)
  local put, text = lines()
  local name = "lunats-" .. command.name
  title(put, name)
  section(put, "NAME", ("%s - %s"):format(name, command.summary))
  section(put, "SYNOPSIS")
  put("\\fBlunats %s\\fR [options] %s", roff(command.name), roff(command.arguments))
  section(put, "DESCRIPTION", command.text)
  section(put, "OPTIONS")
  for _, option in ipairs(command.options) do page_of_option(put, option) end
  put ".TP"
  put "\\fB\\-h\\fR, \\fB\\-\\-help\\fR"
  put "Show the help."
  section(put, "ENVIRONMENT",
    help.environment .. (command.nats and help.nats_environment or ""))
  section(put, "EXIT STATUS", help.exit_status)
  examples(put, command.examples)
  section(put, "SEE ALSO")
  put ".BR lunats (1)"
  return text()
end

local function overview()
  local put, text = lines()
  title(put, "lunats")
  section(put, "NAME", "lunats - " .. help.summary)
  section(put, "SYNOPSIS")
  put "\\fBlunats\\fR \\fICOMMAND\\fR [options] ..."
  section(put, "DESCRIPTION")
  local group
  for _, command in ipairs(help.commands) do
    if command.group ~= group then
      group = command.group
      put(".SS %s", roff(group))
    end
    put ".TP"
    put("\\fB%s\\fR %s", roff(command.name), roff(command.arguments))
    put("%s.", roff(command.summary))
    if command.text ~= "" then put(".BR lunats\\-%s (1)", roff(command.name)) end
  end
  section(put, "ENVIRONMENT", help.environment .. help.nats_environment)
  section(put, "EXIT STATUS", help.exit_status)
  examples(put, help.commands[#help.commands].examples)
  section(put, "SEE ALSO")
  put ".BR nats\\-server (8)"
  return text()
end

-- ---- bash ----

local function bash_values(option)
  local words = words_of(option)
  if words then return ("COMPREPLY=($(compgen -W '%s' -- \"$cur\"))"):format(
    table.concat(words, " ")) end
  if option.values == "file" then return "COMPREPLY=($(compgen -f -- \"$cur\"))" end
  if option.values == "dir" then return "COMPREPLY=($(compgen -d -- \"$cur\"))" end
  return ":"
end

local function bash_command(put, command)
  local names, cases = {}, {}
  for _, option in ipairs(options_of(command)) do
    for _, one in ipairs(option.only and { option } or spellings(option)) do
      names[#names + 1] = "--" .. one.name
    end
    if option.value ~= null then
      local pattern = "--" .. option.name
      if letter_of(option) then pattern = pattern .. "|-" .. option.letter end
      cases[#cases + 1] = ("                %s) %s; return ;;"):format(pattern,
        bash_values(option))
    end
  end
  put("        %s)", command.name)
  put "            case $prev in"
  for _, case in ipairs(cases) do put("%s", case) end
  put "            esac"
  put("            options='%s'", table.concat(names, " "))
  put("            scripts=%s ;;", (command.scripts or command.name == "test") and "1" or "")
end

local function names_of_commands()
  local names = {}
  for _, command in ipairs(help.commands) do names[#names + 1] = command.name end
  return table.concat(names, " ")
end

local function bash()
  local put, text = lines()
  put "# Completion of lunats for bash."
  put "_lunats() {"
  put "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}"
  put "    local command='' options='' scripts='' i"
  put "    # --option=value is three words here."
  put "    if [[ $cur = = ]]; then cur=''; elif [[ $prev = = ]]; then"
  put "        prev=${COMP_WORDS[COMP_CWORD-2]}"
  put "    fi"
  put "    for ((i = 1; i < COMP_CWORD; i++)); do"
  put "        case ${COMP_WORDS[i]} in -*) ;; *) command=${COMP_WORDS[i]}; break ;; esac"
  put "    done"
  put "    case $command in"
  put "        '')"
  put("            options='%s --help --version' scripts=1", names_of_commands())
  put "            [[ $cur = -* ]] || options=${options%% --*} ;;"
  for _, command in ipairs(help.commands) do
    if command.text ~= "" then bash_command(put, command) end
  end
  put(("        help) COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;")
    :format(names_of_commands()))
  put "        *) scripts=1 ;;"
  put "    esac"
  put "    if [[ $cur = -* || -z $command ]]; then"
  put "        COMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))"
  put "    fi"
  put "    if [[ -n $scripts && $cur != -* ]]; then"
  put "        COMPREPLY+=($(compgen -f -X '!*.lua' -- \"$cur\") $(compgen -d -- \"$cur\"))"
  put "        compopt -o filenames 2>/dev/null"
  put "    fi"
  put "}"
  put "complete -F _lunats lunats"
  return text()
end

-- ---- zsh ----

local function zsh_text(text)
  return (text:gsub("[%[%]:\\]", "\\%0"):gsub("'", "'\\''"))
end

local function zsh_values(option)
  local words = words_of(option)
  if words then return "(" .. table.concat(words, " ") .. ")" end
  return option.values == "file" and "_files" or option.values == "dir" and "_files -/" or " "
end

local function zsh_option(put, option)
  for _, one in ipairs(option.only and { option } or spellings(option)) do
    local value = one.value and one.value ~= null
    local tail = ("[%s]%s"):format(zsh_text(one.help),
      value and (":%s:%s"):format(zsh_text(one.value), zsh_values(option)) or "")
    local letter = one.name == option.name and letter_of(option)
    if letter then put("                '*-%s%s%s' \\", letter, value and "+" or "", tail) end
    put("                '*--%s%s%s' \\", one.name, value and "=" or "", tail)
  end
end

local function zsh()
  local put, text = lines()
  put "#compdef lunats"
  put "# Completion of lunats for zsh."
  put "_lunats() {"
  put "    local curcontext=$curcontext state line"
  put "    typeset -A opt_args"
  put "    local -a commands=("
  for _, command in ipairs(help.commands) do
    put("        '%s:%s'", command.name, zsh_text(command.summary))
  end
  put "    )"
  put "    _arguments -C '(- *)'{-h,--help}'[show the commands]' \\"
  put "        '(- *)'{-V,--version}'[print the version]' \\"
  put "        '1: :->command' '*:: :->rest' && return"
  put "    case $state in"
  put "        command)"
  put "            _describe command commands"
  put "            _files -g '*.lua' ;;"
  put "        rest)"
  put "            case $words[1] in"
  for _, command in ipairs(help.commands) do
    if command.text ~= "" then
      local rest = (command.scripts or command.name == "test") and "_files -g '\\''*.lua'\\''"
        or " "
      put("            %s)", command.name)
      put "                _arguments -s \\"
      for _, option in ipairs(options_of(command)) do zsh_option(put, option) end
      put("                '*:%s:%s' ;;", zsh_text(command.arguments), rest)
    end
  end
  put "            help) _describe command commands ;;"
  put "            *) _files ;;"
  put "            esac ;;"
  put "    esac"
  put "}"
  put "_lunats \"$@\""
  return text()
end

-- ---- fish ----

local function fish_text(text) return (text:gsub("\\", "\\\\"):gsub("'", "\\'")) end

local function fish_values(option)
  local words = words_of(option)
  if words then return (" -x -a '%s'"):format(table.concat(words, " ")) end
  if option.values == "file" then return " -r -F" end
  if option.values == "dir" then return " -x -a '(__fish_complete_directories)'" end
  return " -x"
end

local function fish()
  local put, text = lines()
  put "# Completion of lunats for fish."
  put "complete -c lunats -f"
  put("set -l commands %s", names_of_commands())
  put "set -l none \"not __fish_seen_subcommand_from $commands\""
  put "complete -c lunats -n \"$none\" -s h -l help -d 'show the commands'"
  put "complete -c lunats -n \"$none\" -s V -l version -d 'print the version'"
  put "complete -c lunats -n \"$none\" -k -a '(__fish_complete_suffix .lua)'"
  for _, command in ipairs(help.commands) do
    put("complete -c lunats -n \"$none\" -a %s -d '%s'", command.name,
      fish_text(command.summary))
    local seen = ("complete -c lunats -n '__fish_seen_subcommand_from %s'"):format(command.name)
    for _, option in ipairs(command.text ~= "" and options_of(command) or {}) do
      for _, one in ipairs(option.only and { option } or spellings(option)) do
        local letter = one.name == option.name and letter_of(option)
        put("%s%s -l %s%s -d '%s'", seen, letter and " -s " .. letter or "", one.name,
          one.value and one.value ~= null and fish_values(option) or "",
          fish_text(one.help))
      end
    end
    if command.scripts or command.name == "test" then
      put("%s -k -a '(__fish_complete_suffix .lua)'", seen)
    end
  end
  put "complete -c lunats -n '__fish_seen_subcommand_from help' -a \"$commands\""
  return text()
end

-- ---- all of it ----

help = app.json.decode(read(arg[1]))
local folder = arg[2]
for _, command in ipairs(help.commands) do
  if command.text ~= "" then
    write(("%s/man/lunats-%s.1"):format(folder, command.name), page_of_command(command))
  end
end
write(folder .. "/man/lunats.1", overview())
write(folder .. "/completion/lunats.bash", bash())
write(folder .. "/completion/_lunats", zsh())
write(folder .. "/completion/lunats.fish", fish())
