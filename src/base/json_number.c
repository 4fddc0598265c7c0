/* SPDX-License-Identifier: Apache-2.0 */
#include "penstock/base/json_scan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * A number is taken apart into digits and a power of ten, so that both conversions take time linear
 * in its length whatever its exponent, and strtod never meets a decimal point, which depends on the
 * locale.
 */

/* Beyond this an exponent is only "huge": far above any double, far below what int64 can add up. */
#define EXPONENT_MAX (INT64_MAX / 4)

/*
 * Doubles, and the midpoints between them, have at most 768 significant digits: behind that many,
 * only whether a digit other than 0 follows can change the rounding.
 */
#define DOUBLE_DIGITS 800

/* ± integer.fraction × 10^exponent; the slices hold digits only. */
struct parts {
    bool negative;
    struct ps_slice integer;
    struct ps_slice fraction;
    int64_t exponent;
};

/* A value: ± the significant digits × 10^exponent, without zeros at either end. count = 0: zero. */
struct decimal {
    bool negative;
    bool more; /* digits other than 0 were dropped behind these */
    size_t count;
    int64_t exponent;
    char digits[DOUBLE_DIGITS];
};

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static struct ps_slice take_digits(struct ps_slice *rest)
{
    size_t len = 0;
    while (len < rest->len && is_digit(rest->ptr[len])) {
        len++;
    }
    struct ps_slice digits = ps_slice(rest->ptr, len);
    rest->ptr += len;
    rest->len -= len;
    return digits;
}

static bool take_byte(struct ps_slice *rest, char byte)
{
    if (rest->len == 0 || rest->ptr[0] != byte) {
        return false;
    }
    rest->ptr++;
    rest->len--;
    return true;
}

/* What follows the e. */
static bool take_exponent(struct ps_slice *rest, int64_t *ret_exponent)
{
    bool negative = take_byte(rest, '-');
    if (!negative) {
        take_byte(rest, '+');
    }
    struct ps_slice digits = take_digits(rest);
    int64_t value = 0;
    for (size_t i = 0; i < digits.len; i++) {
        if (value < EXPONENT_MAX / 10) {
            value = value * 10 + (digits.ptr[i] - '0');
        } else {
            value = EXPONENT_MAX;
        }
    }
    *ret_exponent = negative ? -value : value;
    return digits.len > 0;
}

/* False when it is not the grammar of RFC 8259 section 6. */
static bool take_parts(struct ps_slice rest, struct parts *ret)
{
    ret->negative = take_byte(&rest, '-');
    ret->integer = take_digits(&rest);
    if (ret->integer.len == 0 || (ret->integer.len > 1 && ret->integer.ptr[0] == '0')) {
        return false;
    }
    ret->fraction = PS_SLICE_NONE;
    if (take_byte(&rest, '.')) {
        ret->fraction = take_digits(&rest);
        if (ret->fraction.len == 0) {
            return false;
        }
    }
    ret->exponent = 0;
    if (take_byte(&rest, 'e') || take_byte(&rest, 'E')) {
        if (!take_exponent(&rest, &ret->exponent)) {
            return false;
        }
    }
    return rest.len == 0;
}

/*
 * Adds digits behind those of `d`. Zeros wait in *zeros until a digit other than 0 shows that they
 * are not at the end.
 */
static void add_digits(struct decimal *d, struct ps_slice digits, uint64_t *zeros)
{
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.ptr[i] == '0') {
            *zeros += d->count > 0 ? 1 : 0;
            continue;
        }
        for (; *zeros > 0 && d->count < DOUBLE_DIGITS; (*zeros)--) {
            d->digits[d->count++] = '0';
        }
        if (d->count == DOUBLE_DIGITS) {
            /* From here on `zeros` counts all digits that are not kept. */
            d->more = true;
            (*zeros)++;
            continue;
        }
        d->digits[d->count++] = digits.ptr[i];
    }
}

static bool read_decimal(struct ps_slice raw, struct decimal *ret)
{
    struct parts parts;
    if (!take_parts(raw, &parts)) {
        return false;
    }
    uint64_t zeros = 0;
    ret->negative = parts.negative;
    ret->more = false;
    ret->count = 0;
    add_digits(ret, parts.integer, &zeros);
    add_digits(ret, parts.fraction, &zeros);
    ret->exponent = parts.exponent - (int64_t)parts.fraction.len + (int64_t)zeros;
    return true;
}

bool ps_json_int(struct ps_slice raw, int64_t *ret_value)
{
    struct decimal d;
    if (!read_decimal(raw, &d)) {
        return false;
    }
    if (d.count == 0) {
        *ret_value = 0;
        return true;
    }
    /* Nineteen digits fit uint64_t. */
    if (d.exponent < 0 || d.exponent > 18 || d.count + (size_t)d.exponent > 19) {
        return false;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < d.count + (size_t)d.exponent; i++) {
        value = value * 10 + (i < d.count ? (uint64_t)(d.digits[i] - '0') : 0);
    }
    if (value > (uint64_t)INT64_MAX + (d.negative ? 1 : 0)) {
        return false;
    }
    *ret_value = d.negative ? -(int64_t)(value - 1) - 1 : (int64_t)value;
    return true;
}

bool ps_json_double(struct ps_slice raw, double *ret_value)
{
    struct decimal d;
    if (!read_decimal(raw, &d)) {
        return false;
    }
    double value = 0;
    if (d.count > 0) {
        int64_t exponent = d.exponent;
        char text[DOUBLE_DIGITS + 16];
        size_t len = d.count;
        memcpy(text, d.digits, d.count);
        if (d.more) {
            text[len++] = '1';
            exponent--;
        }
        /* Past these bounds it is 0 or overflow for any number of digits that we keep. */
        exponent = exponent > 9999 ? 9999 : exponent < -9999 ? -9999 : exponent;
        snprintf(text + len, sizeof(text) - len, "e%d", (int)exponent);
        value = strtod(text, NULL);
        if (isinf(value)) {
            return false;
        }
    }
    *ret_value = d.negative ? -value : value;
    return true;
}
