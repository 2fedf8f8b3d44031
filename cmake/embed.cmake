# SPDX-License-Identifier: Apache-2.0
# Writes a C file that holds Lua sources: cmake -DOUT=x.c -DROOT=dir -DFILES=a.lua;b.lua -P embed.cmake
# scripts/testing.lua becomes the module "lunats.testing", scripts/app/js.lua "lunats.app.js".
set(rows "")
set(texts "")
set(start 0)
foreach(file IN LISTS FILES)
    file(READ "${ROOT}/${file}" hex HEX)
    string(LENGTH "${hex}" size)
    math(EXPR size "${size} / 2")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
    string(REGEX REPLACE "^scripts/(.*)\\.lua$" "lunats.\\1" module "${file}")
    string(REPLACE "/" "." module "${module}")
    string(APPEND texts "    /* ${file} */ ${bytes}\n")
    string(APPEND rows "    {\"${module}\", \"${file}\", ${start}, ${size}},\n")
    math(EXPR start "${start} + ${size}")
endforeach()
file(WRITE "${OUT}" "/* Generated from scripts/. */
#include <stdalign.h>

#include \"bindings/embedded.h\"

alignas(EMBEDDED_ALIGN) const unsigned char embedded_text[] = {
${texts}};
const size_t embedded_size = sizeof(embedded_text);

const struct embedded_script embedded_scripts[] = {
${rows}    {0, 0, 0, 0},
};
")
