# SPDX-License-Identifier: Apache-2.0
# What .ci/run and .ci/nightly share: suites whose numbers are added up. To be sourced by bash.
set -uo pipefail
cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." || exit 1

passed=0 failed=0 skipped=0

# step NAME COMMAND...: counts as one test; exit status 77 means that it was left out.
step() {
    local status=0
    printf -- '--- %s\n' "$1"
    shift
    "$@" || status=$?
    case $status in
        0) passed=$((passed + 1)) ;;
        77) skipped=$((skipped + 1)) ;;
        *) failed=$((failed + 1)) ;;
    esac
}

# suite NAME COMMAND...: ends with a line "N passed, N failed[, N skipped]", which is added up.
# Without that line, or with another exit status than it promises, it counts as one failure.
suite() {
    local name=$1 began=$SECONDS status=0 log last numbers
    printf -- '--- %s\n' "$name"
    shift
    log=$(mktemp)
    "$@" 2>&1 </dev/null | tee "$log" || status=$?
    last=$(tail -n 1 "$log")
    rm -f -- "$log"
    numbers='^([0-9]+) passed, ([0-9]+) failed(, ([0-9]+) skipped)?$'
    if [[ $last =~ $numbers ]]; then
        passed=$((passed + BASH_REMATCH[1]))
        failed=$((failed + BASH_REMATCH[2]))
        skipped=$((skipped + ${BASH_REMATCH[4]:-0}))
    fi
    if ! [[ $last =~ $numbers ]] || [[ $status -ne 0 && ${BASH_REMATCH[2]} -eq 0 ]]; then
        printf '%s: exit status %d\n' "$name" $status
        failed=$((failed + 1))
    fi
    printf -- '--- %s: %d s\n' "$name" $((SECONDS - began))
}

# The totals, as the last line.
finish() {
    local end="$passed passed, $failed failed"
    [ $skipped -eq 0 ] || end+=", $skipped skipped"
    printf '%s\n' "$end"
    [ $failed -eq 0 ] && [ $passed -gt 0 ]
    exit
}
