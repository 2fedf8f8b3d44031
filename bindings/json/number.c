/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers of JSON. Reading and writing are exact: the fast ways below are chosen only where
 * plain integer arithmetic proves the result, everything else goes through the C library.
 */
#include "bindings/json/internal.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__extension__ typedef unsigned __int128 uint128;

static const uint64_t powers_of_ten[20] = {
    UINT64_C(1),
    UINT64_C(10),
    UINT64_C(100),
    UINT64_C(1000),
    UINT64_C(10000),
    UINT64_C(100000),
    UINT64_C(1000000),
    UINT64_C(10000000),
    UINT64_C(100000000),
    UINT64_C(1000000000),
    UINT64_C(10000000000),
    UINT64_C(100000000000),
    UINT64_C(1000000000000),
    UINT64_C(10000000000000),
    UINT64_C(100000000000000),
    UINT64_C(1000000000000000),
    UINT64_C(10000000000000000),
    UINT64_C(100000000000000000),
    UINT64_C(1000000000000000000),
    UINT64_C(10000000000000000000),
};

/* All of these are doubles without error. */
static const double exact_powers[23] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                        1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                        1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* ---- reading ---- */

/* The parts of a number as it stands in the text. */
struct literal {
    bool negative;
    const char *whole; /* digits before the point */
    const char *whole_end;
    const char *fraction; /* digits behind the point; empty without one */
    const char *fraction_end;
    int64_t exponent; /* as written, kept within +-10^12 */
    uint64_t digits;  /* all digits as one integer, if there are at most 19 */
};

static bool is_digit(const char *text, const char *end) {
    return text < end && (unsigned char)(*text - '0') < 10;
}

/* Eight digits at once: adds neighbours to pairs, pairs to fours, fours to eight. */
static bool read_eight(const char *text, uint64_t *value) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint64_t word;
    memcpy(&word, text, sizeof(word));
    uint64_t low = word - UINT64_C(0x3030303030303030);
    uint64_t high = word + UINT64_C(0x4646464646464646);
    if (((low | high) & UINT64_C(0x8080808080808080)) != 0)
        return false;
    low = low * 10 + (low >> 8);
    low = ((low & UINT64_C(0x000000FF000000FF)) * (100 + (UINT64_C(1000000) << 32)) +
           ((low >> 16) & UINT64_C(0x000000FF000000FF)) * (1 + (UINT64_C(10000) << 32))) >>
          32;
    *value = *value * 100000000 + low;
    return true;
#else
    (void)text;
    (void)value;
    return false;
#endif
}

static const char *read_digits(const char *text, const char *end, uint64_t *value) {
    while (end - text >= 8 && read_eight(text, value))
        text += 8;
    uint64_t sum = *value;
    while (is_digit(text, end))
        sum = sum * 10 + (unsigned char)(*text++ - '0');
    *value = sum;
    return text;
}

/* Reads the sign and the digits of an exponent; the caller checks that there are any. */
static const char *read_exponent(const char *text, const char *end, int64_t *exponent) {
    const int64_t limit = INT64_C(1000000000000); /* far beyond any double or text */
    bool negative = text < end && *text == '-';
    if (text < end && (*text == '-' || *text == '+'))
        text++;
    int64_t sum = 0;
    for (; is_digit(text, end); text++)
        if (sum < limit)
            sum = sum * 10 + (*text - '0');
    *exponent = negative ? -sum : sum;
    return text;
}

/*
 * The exact way for any literal: its first 800 significant digits and its exponent, without a
 * point (strtod would look at the locale for it). No double needs more than 767 digits to be
 * told from its neighbours; that something followed is kept as a last digit 1.
 */
static double read_slowly(const struct literal *lit) {
    enum { MAX_DIGITS = 800 };
    char copy[MAX_DIGITS + 32];
    size_t used = 0;
    int64_t exponent = lit->exponent;
    bool more = false;
    for (const char *p = lit->whole; p < lit->fraction_end; p++) {
        if (p == lit->whole_end)
            p = lit->fraction; /* over the point */
        bool behind_point = p >= lit->fraction;
        if (used < MAX_DIGITS) {
            if (used > 0 || *p != '0')
                copy[used++] = *p;
            exponent -= behind_point;
        } else {
            more |= *p != '0';
            exponent += !behind_point;
        }
    }
    if (used == 0)
        return 0.0;
    if (more) {
        copy[used++] = '1';
        exponent--;
    }
    if (exponent > 99999)
        exponent = 99999;
    if (exponent < -99999)
        exponent = -99999;
    snprintf(copy + used, sizeof(copy) - used, "e%d", (int)exponent);
    return strtod(copy, NULL);
}

/*
 * digits / 10^places by one long division: both sides shifted up to 64 bits give a quotient of
 * at least 63 bits; a remainder makes it odd, so that its rounding to 53 bits is right.
 */
static double divide_exactly(uint64_t digits, unsigned places) {
    uint64_t divisor = powers_of_ten[places];
    int up = __builtin_clzll(digits);
    int divisor_up = __builtin_clzll(divisor);
    uint128 numerator = (uint128)(digits << up) << 63;
    divisor <<= divisor_up;
    uint64_t quotient = (uint64_t)(numerator / divisor);
    if (numerator % divisor != 0)
        quotient |= 1;
    return ldexp((double)quotient, divisor_up - up - 63);
}

static double literal_value(const struct literal *lit) {
    ptrdiff_t count = (lit->whole_end - lit->whole) + (lit->fraction_end - lit->fraction);
    int64_t exponent = lit->exponent - (lit->fraction_end - lit->fraction);
    if (count > 19)
        return read_slowly(lit);
    if (lit->digits == 0)
        return 0.0;
    /* Two exact doubles, one operation: the processor rounds once, hence correctly. */
    if (lit->digits <= (UINT64_C(1) << 53) && exponent >= -22 && exponent <= 22) {
        double digits = (double)lit->digits;
        return exponent < 0 ? digits / exact_powers[-exponent]
                            : digits * exact_powers[exponent];
    }
    if (exponent == 0)
        return (double)lit->digits;
    if (exponent < 0 && exponent >= -19)
        return divide_exactly(lit->digits, (unsigned)-exponent);
    return read_slowly(lit);
}

/* Finds the parts of a literal. Returns its end, or NULL and the wrong byte in *wrong. */
static const char *split_literal(const char *p, const char *end, struct literal *lit,
                                 bool *is_float, const char **wrong) {
    lit->digits = 0;
    lit->exponent = 0;
    lit->whole = p;
    p = is_digit(p, end) && *p == '0' ? p + 1 : read_digits(p, end, &lit->digits);
    lit->whole_end = lit->fraction = lit->fraction_end = p;
    *wrong = p;
    if (p == lit->whole)
        return NULL;
    if (p < end && *p == '.') {
        lit->fraction = p + 1;
        p = lit->fraction_end = read_digits(p + 1, end, &lit->digits);
        *wrong = p;
        if (p == lit->fraction)
            return NULL;
        *is_float = true;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p = read_exponent(p + 1, end, &lit->exponent);
        *wrong = p;
        if (!is_digit(p - 1, end))
            return NULL;
        *is_float = true;
    }
    return p;
}

void json_read_number(const char *text, const char *end, struct json_number *number) {
    struct literal lit = {.negative = text < end && *text == '-'};
    bool is_float = false;
    const char *wrong;
    const char *next = split_literal(text + lit.negative, end, &lit, &is_float, &wrong);
    if (next == NULL) {
        number->kind = JSON_NUMBER_BAD;
        number->next = wrong;
        return;
    }
    number->next = next;
    uint64_t limit = (uint64_t)INT64_MAX + lit.negative;
    bool negative_zero = lit.negative && lit.digits == 0;
    if (!is_float && !negative_zero) {
        if (next - lit.whole <= 19 && lit.digits <= limit) {
            number->kind = JSON_NUMBER_INTEGER;
            /* Negated as unsigned: the lowest integer has no positive twin. */
            number->integer = (int64_t)(lit.negative ? 0 - lit.digits : lit.digits);
            return;
        }
        number->kind = JSON_NUMBER_BIG;
    } else {
        number->kind = JSON_NUMBER_FLOAT;
    }
    double value = literal_value(&lit);
    number->real = lit.negative ? -value : value;
}

/* ---- writing ---- */

static const char digit_pairs[] = "00010203040506070809"
                                  "10111213141516171819"
                                  "20212223242526272829"
                                  "30313233343536373839"
                                  "40414243444546474849"
                                  "50515253545556575859"
                                  "60616263646566676869"
                                  "70717273747576777879"
                                  "80818283848586878889"
                                  "90919293949596979899";

static unsigned count_digits(uint64_t value) {
    unsigned count = 1;
    while (count < 20 && value >= powers_of_ten[count])
        count++;
    return count;
}

/* Two digits per division. */
static char *write_unsigned(char *out, uint64_t value) {
    char *end = out + count_digits(value);
    char *p = end;
    while (value >= 100) {
        p -= 2;
        memcpy(p, digit_pairs + value % 100 * 2, 2);
        value /= 100;
    }
    if (value >= 10)
        memcpy(p - 2, digit_pairs + value * 2, 2);
    else
        p[-1] = (char)('0' + value);
    return end;
}

char *json_write_integer(char *out, int64_t value) {
    uint64_t magnitude = (uint64_t)value;
    if (value < 0) {
        *out++ = '-';
        magnitude = 0 - magnitude;
    }
    return write_unsigned(out, magnitude);
}

/* Writes digits * 10^-places, a number with a fraction (places >= 1). */
static char *write_decimal(char *out, uint64_t digits, unsigned places) {
    char text[20];
    unsigned count = (unsigned)(write_unsigned(text, digits) - text);
    if (count > places) {
        unsigned whole = count - places;
        memcpy(out, text, whole);
        out[whole] = '.';
        memcpy(out + whole + 1, text + whole, places);
        return out + count + 1;
    }
    memcpy(out, "0.", 2);
    out += 2;
    memset(out, '0', places - count);
    out += places - count;
    memcpy(out, text, count);
    return out + count;
}

/* As write_decimal(), without zeros at the end; strips many at a time. */
static char *write_stripped(char *out, uint64_t digits, unsigned places) {
    for (unsigned step = 8; step > 0; step /= 2)
        while (digits % powers_of_ten[step] == 0) {
            digits /= powers_of_ten[step];
            places -= step;
        }
    return write_decimal(out, digits, places);
}

/*
 * Prices and the like: at most 6 decimals and 15 digits. The division of two exact doubles is
 * rounded once, so if it gives the value back, reading the digits does; and no other number of
 * up to 15 digits can. Returns NULL for other doubles.
 */
static char *write_short(char *out, double value) {
    if (value >= 1e9)
        return NULL;
    uint64_t digits = (uint64_t)(value * 1e6 + 0.5);
    if ((double)digits / 1e6 != value)
        return NULL;
    return write_stripped(out, digits, 6);
}

/* A double c * 2^-shift, scaled by 10^places: scaled = c * 10^places. */
struct scaled {
    uint128 scaled;
    uint128 unit; /* 10^places: what one more in c would add */
    int shift;
    bool lowest; /* c is a power of two: the gap to the double below is half as wide */
    bool even;   /* c is even: it wins ties, so the ends of its interval belong to it */
};

/* Would `digits` (scaled by 10^places) be read as this double and no other? */
static bool reads_back(const struct scaled *s, uint64_t digits) {
    uint128 candidate = (uint128)digits << s->shift;
    bool below = candidate < s->scaled;
    uint128 distance = below ? s->scaled - candidate : candidate - s->scaled;
    uint128 twice = distance * (below && s->lowest ? 4 : 2);
    return s->even ? twice <= s->unit : twice < s->unit;
}

static uint64_t round_scaled(struct scaled *s, uint64_t mantissa, int places) {
    /* At most 22 places. NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult) */
    s->unit = places > 19 ? (uint128)powers_of_ten[19] * powers_of_ten[places - 19]
                          : powers_of_ten[places];
    s->scaled = s->unit * mantissa;
    uint64_t digits = (uint64_t)(s->scaled >> s->shift);
    uint128 rest = s->scaled - ((uint128)digits << s->shift);
    uint128 half = (uint128)1 << (s->shift - 1);
    if (rest > half || (rest == half && (digits & 1) != 0))
        digits++;
    return digits;
}

/*
 * The shortest digits of a double with a fraction in [1e-5, 2^53). In this range everything
 * fits 128 bits: c has 53 and 10^22 has 74. The value is scaled to 17 digits, which always
 * read back; then 15 and 16 digits are tried. (At most one number of 15 digits reads back,
 * so without its zeros it is the shortest of all.)
 */
static char *write_fraction(char *out, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    int binary = (int)(bits >> 52) - 1023;
    uint64_t mantissa = (bits & ((UINT64_C(1) << 52) - 1)) | UINT64_C(1) << 52;
    struct scaled s = {
        .shift = 52 - binary,
        .lowest = mantissa == UINT64_C(1) << 52,
        .even = (mantissa & 1) == 0,
    };
    /* 1233 / 4096 is log10(2); floor() may come out one too low, but never too high. */
    int decimal = binary >= 0 ? binary * 1233 / 4096 : -((-binary * 1233 + 4095) / 4096);
    int places = 16 - decimal;
    uint64_t digits = round_scaled(&s, mantissa, places);
    if (digits >= powers_of_ten[17])
        digits = round_scaled(&s, mantissa, --places);

    uint64_t shorter = (digits + 50) / 100 * 100;
    if (!reads_back(&s, shorter)) {
        /* If a 5 to be rounded up has been rounded up itself, then down is nearer. */
        bool rounded_up = ((uint128)digits << s.shift) > s.scaled;
        shorter = (digits + (rounded_up ? 4 : 5)) / 10 * 10;
    }
    if (reads_back(&s, shorter))
        digits = shorter;
    return write_stripped(out, digits, (unsigned)places);
}

/* Very large and very small ones: rare, so the C library may search. */
static char *write_slowly(char *out, double value) {
    /* Below DBL_MIN doubles have fewer digits than 15. */
    for (int precision = value < DBL_MIN ? 1 : 15; precision <= 17; precision++) {
        snprintf(out, JSON_MAX_NUMBER_BYTES, "%.*g", precision, value);
        if (strtod(out, NULL) == value)
            break;
    }
    bool marked = false;
    for (; *out != '\0'; out++) {
        if (*out == 'e')
            marked = true;
        else if (*out != '-' && *out != '+' && (unsigned char)(*out - '0') > 9) {
            *out = '.'; /* whatever the locale's point is */
            marked = true;
        }
    }
    if (!marked) {
        memcpy(out, ".0", 2);
        out += 2;
    }
    return out;
}

char *json_write_double(char *out, double value) {
    if (signbit(value)) {
        *out++ = '-';
        value = -value;
    }
    if (value < 9007199254740992.0) { /* 2^53 */
        uint64_t whole = (uint64_t)value;
        if ((double)whole == value) {
            out = write_unsigned(out, whole);
            memcpy(out, ".0", 2);
            return out + 2;
        }
        if (value >= 1e-5) {
            char *end = write_short(out, value);
            return end != NULL ? end : write_fraction(out, value);
        }
    }
    return write_slowly(out, value);
}
