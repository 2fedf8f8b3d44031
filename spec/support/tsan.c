/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Only in programs with ThreadSanitizer. It keeps a stack of calls of its own, which longjmp()
 * cuts; but not __longjmp_chk(), by which a Lua that was built with _FORTIFY_SOURCE raises and
 * yields. Every yield would leave some calls on that stack, until it overflows.
 */
#include <setjmp.h>

/* NOLINTBEGIN(bugprone-reserved-identifier): the name is glibc's */
_Noreturn void __longjmp_chk(jmp_buf at, int value);

_Noreturn void __longjmp_chk(jmp_buf at, int value) {
    longjmp(at, value);
}
/* NOLINTEND(bugprone-reserved-identifier) */
