# SPDX-License-Identifier: Apache-2.0
#
# Turns the output of `ctest -V` into what ./dev test shows: the result of each file when it has
# ended, as spec/run wrote it, and "N passed, N failed" of single tests as the last line.

function number(line, word) {
    return match(line, "[0-9]+ " word) ? substr(line, RSTART) + 0 : 0
}

# A line of a test: "12: text". Those before the result of the file are ctest's own.
/^[0-9]+: / {
    id = $0 + 0
    text = substr($0, index($0, ": ") + 2)
    if (!(id in block) && text ~ /^(ok    |FAILED) .*: [0-9]+ passed/) {
        head = text
        sub(/.*: /, "", head)
        passed += number(head, "passed")
        failed += number(head, "failed")
        skipped += number(head, "skipped")
        block[id] = text "\n"
    } else if (id in block) {
        block[id] = block[id] text "\n"
    }
    next
}

# " 3/60 Test #12: spec/app/time_spec.lua ....   Passed   0.42 sec"
/^ *[0-9]+\/[0-9]+ Test +#[0-9]+: / {
    id = substr($0, index($0, "#") + 1) + 0
    if (!(id in block)) { # spec/run did not get to its end
        failed++
        sub(/^[^:]*: /, "")
        gsub(/ \.+/, "")
        block[id] = "FAILED " $0 "\n"
    }
    printf "%s", block[id]
    fflush()
    next
}

/^(CMake Error|Cannot |No tests were found)/ { print; failed++ }

END {
    if (passed + failed == 0) print "no test ran"
    printf "%d passed, %d failed%s\n", passed, failed + (passed + failed == 0),
        skipped ? ", " skipped " skipped" : ""
    exit failed > 0 || passed == 0
}
