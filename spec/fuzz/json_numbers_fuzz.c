/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers as text and back, beside strtod(). The input is a text, and eight bytes at a time a
 * number. */
#include "bindings/json/internal.h"

#include <math.h>

#include "host/base/decimal.h"
#include "spec/fuzz/fuzz.h"

static bool same(double one, double other) {
    uint64_t bits, others;
    memcpy(&bits, &one, sizeof(bits));
    memcpy(&others, &other, sizeof(others));
    return bits == others;
}

static struct json_number read_copy(const char *text, size_t len) {
    struct json_number number;
    char *copy = fuzz_copy(text, len);
    json_read_number(copy, copy + len, &number);
    HOLDS(fuzz_inside(number.next, 0, copy, len));
    number.next = text + (number.next - copy);
    free(copy);
    return number;
}

static void check_double(double value) {
    char text[JSON_MAX_NUMBER_BYTES + 1], decimal[DECIMAL_SIZE];
    decimal_write(decimal, value);
    HOLDS(isnan(value) ? strcmp(decimal, "nan") == 0 : strtod(decimal, NULL) == value);
    if (!isfinite(value))
        return;
    char *end = json_write_double(text, value);
    *end = '\0';
    HOLDS(same(strtod(text, NULL), value) && strpbrk(text, ".e") != NULL);
    struct json_number number = read_copy(text, (size_t)(end - text));
    HOLDS(number.kind == JSON_NUMBER_FLOAT && same(number.real, value) && number.next == end);
    for (int digits = 1; digits <= 17; digits++) { /* no shorter text means the same */
        char shorter[40];
        snprintf(shorter, sizeof(shorter), "%.*e", digits - 1, value);
        if (!same(strtod(shorter, NULL), value))
            continue;
        size_t used = 0;
        for (const char *at = text; *at != '\0' && *at != 'e'; at++)
            used += *at >= '1' && *at <= '9';
        HOLDS(used <= (size_t)digits);
        break;
    }
}

static void check_integer(int64_t value) {
    char text[JSON_MAX_NUMBER_BYTES + 1];
    char *end = json_write_integer(text, value);
    *end = '\0';
    HOLDS(strtoll(text, NULL, 10) == value);
    struct json_number number = read_copy(text, (size_t)(end - text));
    HOLDS(number.kind == JSON_NUMBER_INTEGER && number.integer == value && number.next == end);
}

static void check_text(const char *bytes, size_t size) {
    if (size == 0)
        return;
    struct json_number number = read_copy(bytes, size);
    if (number.kind == JSON_NUMBER_BAD)
        return;
    char *text = fuzz_text(bytes, (size_t)(number.next - bytes));
    double value = strtod(text, NULL);
    if (number.kind == JSON_NUMBER_INTEGER)
        HOLDS(strtoll(text, NULL, 10) == number.integer && strpbrk(text, ".eE") == NULL);
    else
        HOLDS(same(number.real, value));
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    check_text((const char *)bytes, size);
    for (size_t at = 0; at + 8 <= size && at < 256; at += 8) {
        double value;
        int64_t integer;
        memcpy(&value, bytes + at, 8);
        memcpy(&integer, bytes + at, 8);
        check_double(value);
        check_integer(integer);
    }
    return 0;
}
