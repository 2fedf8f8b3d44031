#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# bench/chaos.lua in namespaces of its own, where that may be had (it needs root): however it
# ends, the processes that it has started and the disk that it has mounted are gone with it.
#
#   [LUNATS=build/release/lunats] bench/chaos.sh [OPTION...]
set -euo pipefail
cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.."
command=("${LUNATS:-build/release/lunats}" lua bench/chaos.lua "$@")
own=(unshare --mount --pid --fork --kill-child --mount-proc)
if "${own[@]}" true 2>/dev/null; then
    # The shell is what reaps orphans there.
    exec "${own[@]}" sh -c '"$0" "$@"; exit $?' "${command[@]}"
fi
exec "${command[@]}"
