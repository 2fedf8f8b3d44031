std = "lua54"
max_line_length = 96
exclude_files = { "build/" }

-- The host gives every script the global "app".
local app = { other_fields = true, fields = { state = { read_only = false, other_fields = true } } }
files["examples"] = { read_globals = { app = app } }
files["scripts"] = { read_globals = { "app" } }
files["bench"] = { read_globals = { "app" } }
files["docs"] = { read_globals = { "app" } }
files["packaging"] = { read_globals = { "app" } }

-- Specs run inside the host; those of the Lua layer replace "app" by their own.
files["spec"] = { std = "lua54+busted", globals = { "app" } }

-- Declarations for the language server: functions without bodies, arguments without use.
files["**/*.d.lua"] = {
  globals = { "app" },
  ignore = {
    "2", -- unused variables and arguments
    "631", -- a signature in a comment may be long
  },
}
