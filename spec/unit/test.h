/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A very small harness for the C unit tests: one program per module.
 *
 *     static void adds(void) { CHECK_INT(1 + 1, 2); }
 *     int main(int argc, char **argv) {
 *         test_begin(argc, argv);
 *         RUN(adds);
 *         return test_end();
 *     }
 *
 * A failed check reports where and what, and returns from the test function; CHECK_SOFT goes
 * on. With arguments only the tests whose names contain one of them run.
 */
#ifndef LUNATS_TEST_H
#define LUNATS_TEST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int test_passed_count, test_failed_count, test_arg_count;
static bool test_current_failed;
static char test_message[1024];
static char **test_args;
/* Shown behind the names of tests that run more than once. */
static const char *test_variant = "";

#ifdef __SANITIZE_THREAD__
enum { test_by_tsan = true };
#else
enum { test_by_tsan = false };
#endif

/* Whether qemu-user runs this program, as the preset arm64 has it. */
static inline bool test_is_emulated(void) {
    return getenv("LN_EMULATED") != NULL;
}

static inline void test_begin(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    test_arg_count = argc - 1;
    test_args = argv + 1;
}

/* Marks the running test as failed; the first message is the one shown. */
__attribute__((format(printf, 3, 4))) static inline void test_fail(const char *file, int line,
                                                                   const char *format, ...) {
    if (test_current_failed)
        return;
    test_current_failed = true;
    int n = snprintf(test_message, sizeof(test_message), "%s:%d: ", file, line);
    va_list args;
    va_start(args, format);
    vsnprintf(test_message + n, sizeof(test_message) - (size_t)n, format, args);
    va_end(args);
}

static inline bool test_wanted(const char *name) {
    for (int i = 0; i < test_arg_count; i++)
        if (strstr(name, test_args[i]) != NULL)
            return true;
    return test_arg_count <= 0;
}

static inline void test_run(const char *name, void (*body)(void)) {
    if (!test_wanted(name))
        return;
    test_current_failed = false;
    test_message[0] = '\0';
    body();
    if (test_current_failed) {
        test_failed_count++;
        printf("not ok %s%s: %s\n", name, test_variant, test_message);
    } else {
        test_passed_count++;
        printf("ok %s%s\n", name, test_variant);
    }
}

/* Prints the counts; returns the exit status of the program. */
static inline int test_end(void) {
    printf("%d passed, %d failed\n", test_passed_count, test_failed_count);
    return test_failed_count == 0 ? 0 : 1;
}

#define RUN(name) test_run(#name, name)

#define CHECK(condition)                                                                       \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            test_fail(__FILE__, __LINE__, "%s", #condition);                                   \
            return;                                                                            \
        }                                                                                      \
    } while (0)

#define CHECK_SOFT(condition)                                                                  \
    do {                                                                                       \
        if (!(condition))                                                                      \
            test_fail(__FILE__, __LINE__, "%s", #condition);                                   \
    } while (0)

/* Integers of any type; shows both values. */
#define CHECK_INT(got, want)                                                                   \
    do {                                                                                       \
        long long test_got = (long long)(got), test_want = (long long)(want);                  \
        if (test_got != test_want) {                                                           \
            test_fail(__FILE__, __LINE__, "%s is %lld, expected %lld", #got, test_got,         \
                      test_want);                                                              \
            return;                                                                            \
        }                                                                                      \
    } while (0)

/* Zero-terminated strings; NULL equals NULL only. */
#define CHECK_STR(got, want)                                                                   \
    do {                                                                                       \
        const char *test_got = (got), *test_want = (want);                                     \
        if (test_got != test_want &&                                                           \
            (test_got == NULL || test_want == NULL || strcmp(test_got, test_want) != 0)) {     \
            test_fail(__FILE__, __LINE__, "%s is \"%s\", expected \"%s\"", #got,               \
                      test_got != NULL ? test_got : "(null)",                                  \
                      test_want != NULL ? test_want : "(null)");                               \
            return;                                                                            \
        }                                                                                      \
    } while (0)

/* Bytes with their lengths. */
#define CHECK_MEM(got, got_len, want, want_len)                                                \
    do {                                                                                       \
        size_t test_got_len = (got_len), test_want_len = (want_len);                           \
        if (test_got_len != test_want_len ||                                                   \
            (test_want_len > 0 && memcmp((got), (want), test_want_len) != 0)) {                \
            test_fail(__FILE__, __LINE__, "%s differs from %s (%zu and %zu bytes)", #got,      \
                      #want, test_got_len, test_want_len);                                     \
            return;                                                                            \
        }                                                                                      \
    } while (0)

#endif
