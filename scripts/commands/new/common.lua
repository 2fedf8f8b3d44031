---The files of every template of `lunats new`. @NAME@ is the service, @TYPES@ where
---declarations are, @ABOUT@ and @TABLE@ what the template says of itself.
return {
  { path = ".busted", text = [[
return {
  default = { ROOT = { "spec" }, verbose = true },
}
]] },
  { path = ".luacheckrc", text = [[
std = "lua54"
globals = { "app" }
files["spec"] = { std = "lua54+busted" }
]] },
  { path = ".luarc.json", text = [[
{
  "$schema": "https://raw.githubusercontent.com/LuaLS/vscode-lua/master/setting/schema.json",
  "runtime.version": "Lua 5.4",
  "workspace.library": ["@TYPES@", "${3rd}/busted/library", "${3rd}/luassert/library"],
  "workspace.checkThirdParty": false,
  "diagnostics.globals": ["app"]
}
]] },
  { path = ".gitignore", text = [[
luacov.*
*.jsonl
]] },
  { path = "NAME.env", text = [[
# Settings of the service where it runs: /etc/lunats/@NAME@.env, or --env-file of a container.
# Every option of `lunats run` is a variable; secrets belong into files (LUNATS_PASSWORD_FILE).
LUNATS_SERVER=nats://127.0.0.1:4222
LUNATS_LOG_FORMAT=json
]] },
  { path = "Containerfile", text = [[
# The image `lunats` is that of packaging/Containerfile in the repository of lunats.
#
#     podman build -t @NAME@ . && podman run --rm --env-file @NAME@.env @NAME@
FROM lunats
COPY *.lua /services/
]] },
  { path = ".github/workflows/test.yml", text = [[
# The variable LUNATS_IMAGE of the repository names the image of lunats that you keep.
name: test
on: [push, pull_request]
jobs:
  test:
    runs-on: ubuntu-latest
    container:
      image: ${{ vars.LUNATS_IMAGE }}
      options: --user root
    steps:
      - uses: actions/checkout@v4
      - run: apt-get update && apt-get install -y --no-install-recommends nats-server lua-busted
      - run: lunats check @NAME@.lua
      - run: lunats test
]] },
  { path = "README.md", text = [[
# @NAME@

@ABOUT@

    lunats dev @NAME@.lua        # run it with a private nats-server, reload when a file changes
    lunats test                  # run spec/; --watch runs it again when a file changes
    lunats check @NAME@.lua      # find mistakes without a server, list what it declares
    lunats run -s nats://127.0.0.1:4222 @NAME@.lua

@TABLE@
## On a server

With the package of lunats, systemd serves what is in `/srv/lunats/@NAME@`:

    install -D -t /srv/lunats/@NAME@ *.lua
    install -D -m 600 @NAME@.env /etc/lunats/@NAME@.env
    systemctl enable --now lunats@@NAME@

`Containerfile` makes an image of it, and `.github/workflows/test.yml` runs the specs.

## In an editor

`.luarc.json` tells the Lua language server where the declarations of lunats are. If it names
`${env:LUNATS_TYPES}`, set that variable to the folder with `app.d.lua`.
]] },
}
