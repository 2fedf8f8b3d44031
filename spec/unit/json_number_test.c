/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of JSON, against those of the C library. */
#include "bindings/json/internal.h"

#include <math.h>
#include <stdlib.h>

#include "spec/unit/test.h"

static uint64_t random_state;

static uint64_t random_bits(void) {
    random_state += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = random_state;
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* A double of one of the kinds that matter: any bits, near one, short decimals, edges. */
static double random_double(void) {
    uint64_t bits = random_bits();
    double value;
    switch (bits % 4) {
    case 0:
        bits = random_bits();
        break;
    case 1:
        bits = (random_bits() >> 12) | (uint64_t)(1023 - 20 + (int)(random_bits() % 76)) << 52;
        break;
    case 2:
        return (double)(int64_t)(random_bits() >> (random_bits() % 60)) /
               (double)(1 + random_bits() % 100000);
    default: /* around powers of two */
        bits = ((random_bits() % 2047) << 52) + random_bits() % 5 - 2;
    }
    memcpy(&value, &bits, sizeof(value));
    return value - value == 0 ? value : 0.5;
}

/* How many digits the C library needs to give this double back. */
static int needed_digits(double value) {
    char text[64];
    for (int precision = 1; precision < 17; precision++) {
        snprintf(text, sizeof(text), "%.*e", precision - 1, value);
        if (strtod(text, NULL) == value)
            return precision;
    }
    return 17;
}

static int count_significant(const char *text) {
    int digits = 0, zeros = 0;
    for (; *text != '\0' && *text != 'e'; text++) {
        if (*text == '0' && digits > 0)
            zeros++;
        else if (*text >= '1' && *text <= '9') {
            digits += zeros + 1;
            zeros = 0;
        }
    }
    return digits;
}

static void check_one_double(double value) {
    char text[JSON_MAX_NUMBER_BYTES + 1];
    char *end = json_write_double(text, value);
    CHECK(end <= text + JSON_MAX_NUMBER_BYTES);
    *end = '\0';
    if (strtod(text, NULL) != value || strpbrk(text, ".e") == NULL)
        test_fail(__FILE__, __LINE__, "%a is written as %s", value, text);
    struct json_number number;
    json_read_number(text, end, &number);
    if (number.kind != JSON_NUMBER_FLOAT || number.real != value || number.next != end)
        test_fail(__FILE__, __LINE__, "%s is read as %a", text, number.real);
    if (value != 0 && count_significant(text) > needed_digits(value))
        test_fail(__FILE__, __LINE__, "%s is not the shortest of %a", text, value);
}

static void writes_shortest_doubles(void) {
    static const double edges[] = {
        0.0,
        1e-5,
        9.999999999999999e-6,
        1.0000000000000002e-5,
        0.1,
        0.3,
        2.0 / 3,
        4503599627370495.5,
        4503599627370497.5,
        9007199254740991.0,
        9007199254740992.0,
        9007199254740993.0,
        1e15,
        1e16,
        1e17,
        1e22,
        1e23,
        5e-324,
        2.2250738585072014e-308,
        1.7976931348623157e308,
        0.25,
        0.125,
        0.0625,
        0.9999999999999999,
        9.999999999999998,
        99.99999999999999,
        123456789.12345679,
        8.41,
        2.0919495182368195e-11,
        5e-5,
        1024.5,
    };
    random_state = 1;
    for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++)
        check_one_double(edges[i]);
    for (int i = 0; i < 5000 && !test_current_failed; i++)
        check_one_double(random_double());
    for (int binary = -1074; binary < 1024; binary += 1 + (binary < -30) * 9)
        check_one_double(ldexp(1.0, binary));
}

static void check_literal(const char *text, size_t len) {
    char *copy = malloc(len); /* without a terminator */
    memcpy(copy, text, len);
    struct json_number number;
    json_read_number(copy, copy + len, &number);
    bool all = number.next == copy + len;
    free(copy);
    double want = strtod(text, NULL);
    double got = number.kind == JSON_NUMBER_INTEGER ? (double)number.integer : number.real;
    if (number.kind == JSON_NUMBER_BAD || !all || got != want || signbit(got) != signbit(want))
        test_fail(__FILE__, __LINE__, "%.100s is read as %a, not %a", text, got, want);
}

static void reads_numbers_exactly(void) {
    char text[2048];
    random_state = 2;
    for (int i = 0; i < 20000 && !test_current_failed; i++) {
        char *p = text;
        if (random_bits() % 2 != 0)
            *p++ = '-';
        int whole = (int)(random_bits() % 22);
        p += sprintf(p, "%d", (int)(random_bits() % (whole == 0 ? 1 : 9) + (whole != 0)));
        for (int n = 1; n < whole; n++)
            *p++ = (char)('0' + random_bits() % 10);
        int fraction = (int)(random_bits() % 24);
        for (int n = 0; n < fraction; n++) {
            if (n == 0)
                *p++ = '.';
            *p++ = (char)('0' + random_bits() % 10);
        }
        if (random_bits() % 3 == 0)
            p += sprintf(p, "e%d", (int)(random_bits() % 640) - 330);
        *p = '\0';
        check_literal(text, (size_t)(p - text));
    }
}

/* Half-way between two doubles, told apart only by a digit far behind. */
static void reads_long_literals(void) {
    char text[4096];
    check_literal("0.500000000000000166533453693773481063544750213623046875", 56);
    check_literal("9007199254740993", 16);
    check_literal("9007199254740993.0", 18);
    check_literal("9007199254740993.00000000000000000000000000001", 46);
    check_literal("2.4703282292062328e-324", 23);
    memset(text, '0', sizeof(text));
    memcpy(text, "9007199254740993.", 17);
    text[4000] = '1';
    text[4001] = '\0';
    check_literal(text, 4001);
    memset(text, '7', 300);
    text[300] = '\0';
    check_literal(text, 300);
    memset(text, '0', 3000);
    text[1] = '.';
    strcpy(text + 2900, "123e2900");
    check_literal(text, strlen(text));
    memset(text, '0', 3000);
    memset(text, '3', 1500);
    strcpy(text + 1800, "e-1700");
    check_literal(text, strlen(text));
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    RUN(writes_shortest_doubles);
    RUN(reads_numbers_exactly);
    RUN(reads_long_literals);
    return test_end();
}
