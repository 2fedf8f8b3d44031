# SPDX-License-Identifier: Apache-2.0
#
# Checks the includes of the C files against the layers:
#
#     awk -f lint/layers.awk lint/layers.txt FILE...
#
# Prints FILE:LINE and what to do for each include that runs upwards or sideways, for each
# internal header of another folder, and for each exception that nothing needs.

BEGIN { most_exceptions = 25 }

function folder(path) {
    sub(/\/[^\/]*$/, "", path)
    return path
}

function complain(text) {
    printf "%s:%d: %s\n", FILENAME, FNR, text
    bad = 1
}

# The room of a file; "" when the drawing has none.
function room(path, module) {
    module = path
    sub(/\.[ch]$/, "", module)
    if (module in floor_of) return module
    return folder(path) in floor_of ? folder(path) : ""
}

# Whether a file may see the internal header of a folder: the files of that folder, and the unit
# tests and fuzz targets that are named after it (spec/unit/json_number_test.c sees
# bindings/json/).
function is_insider(dir,   name) {
    name = dir
    sub(/.*\//, "", name)
    return folder(FILENAME) == dir || \
        FILENAME ~ ("^spec/(unit|fuzz)/" name "_")
}

function check_include(header,   from, to) {
    if (header ~ /(^|[\/_])internal\.h$/ && !is_insider(folder(header))) {
        complain(header " is internal to " folder(header) "/: use or extend its public header")
        return
    }
    if (header !~ /^(host|bindings)\// || FILENAME !~ /^(host|bindings)\//) return
    from = room(FILENAME)
    to = room(header)
    if (to == "") {
        complain(folder(header) "/ is not in " drawing ": give it a floor there")
    } else if (from != "" && from != to && floor_of[to] >= floor_of[from]) {
        if ((FILENAME, header) in exceptions) {
            needed[FILENAME, header] = 1
            return
        }
        complain(from " may not include " header ", " \
            (floor_of[to] > floor_of[from] ? "which lies above it" : "which lies beside it") \
            ": pass a callback down, or move what both need to a lower floor (" drawing ")")
    }
}

FNR == 1 && NR == 1 { drawing = FILENAME }

FILENAME == drawing {
    if (/^(#|$)/) next
    if ($1 == "floor") {
        floors++
        for (i = 2; i <= NF; i++) floor_of[$i] = floors
    } else if (NF == 2) {
        exceptions[$1, $2] = FNR
        if (++count > most_exceptions)
            complain("more than " most_exceptions " includes run upwards: turn one round")
    } else {
        complain("neither a floor nor FILE HEADER")
    }
    next
}

FNR == 1 && FILENAME ~ /^(host|bindings)\// && room(FILENAME) == "" {
    complain(folder(FILENAME) "/ is not in " drawing ": give it a floor there")
}

/^[ \t]*#[ \t]*include[ \t]*<nats\// && FILENAME ~ /^(host|bindings)\// {
    if (FILENAME !~ /^host\/(dial\/|main\.c)/)
        complain("nats.c is used by host/dial/ only: it dials, and nothing of it lives on")
}

match($0, /^[ \t]*#[ \t]*include[ \t]*"[^"]*"/) {
    split($0, quoted, "\"")
    check_include(quoted[2])
}

END {
    for (pair in exceptions) {
        if (pair in needed) continue
        split(pair, path, SUBSEP)
        printf "%s:%d: %s does not include %s any more: remove this line\n", drawing,
            exceptions[pair], path[1], path[2]
        bad = 1
    }
    exit bad
}
