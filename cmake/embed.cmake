# SPDX-License-Identifier: Apache-2.0
# Writes a C file that holds Lua sources: cmake -DOUT=x.c -DROOT=dir -DFILES=a.lua;b.lua -P embed.cmake
# scripts/testing.lua becomes the module "lunats.testing", scripts/app/js.lua "lunats.app.js".
set(text "/* Generated from scripts/. */\n#include \"bindings/embedded.h\"\n\n")
set(rows "")
set(index 0)
foreach(file IN LISTS FILES)
    file(READ "${ROOT}/${file}" hex HEX)
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
    string(REGEX REPLACE "^scripts/(.*)\\.lua$" "lunats.\\1" module "${file}")
    string(REPLACE "/" "." module "${module}")
    string(APPEND text "static const unsigned char source_${index}[] = {${bytes}0};\n")
    string(APPEND rows
        "    {\"${module}\", \"${file}\", source_${index}, sizeof(source_${index}) - 1},\n")
    math(EXPR index "${index} + 1")
endforeach()
string(APPEND text "\nconst struct embedded_script embedded_scripts[] = {\n${rows}"
    "    {0, 0, 0, 0},\n};\n")
file(WRITE "${OUT}" "${text}")
