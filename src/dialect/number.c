/* SPDX-License-Identifier: Apache-2.0 */
#include "number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define FEWEST       6  /* digits that any decimal keeps through a float */
#define MOST         9  /* digits that tell any two floats apart */
#define RANGE        13 /* decimal exponents on either side of 1 that are done in doubles */
#define PLAIN_LOWEST (-5)

/* Powers of ten that a double holds exactly. */
static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static double scale(double value, int exponent)
{
    return exponent >= 0 ? value * powers[exponent] : value / powers[-exponent];
}

static int exponent_of(double value)
{
    int exponent = 0;

    while (exponent < RANGE && value >= powers[exponent + 1]) {
        exponent++;
    }
    while (exponent <= 0 && exponent > -RANGE && value * powers[-exponent] < 1) {
        exponent--;
    }
    return exponent;
}

/* Half way between two floats: whether the decimal behind it is above or below is lost. */
static bool is_tie(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return (bits & 0x1fffffff) == 0x10000000;
}

/*
 * The fewest digits, as an integer without zeros at its end; *ret_exponent: of its last digit. 0
 * when they are not found. A quotient or product of two doubles that are exact is off by half a
 * unit of 2^-53 at most, so a candidate that is no tie reads back as the float it rounds to.
 */
static uint64_t find_digits(float value, int *ret_exponent)
{
    double exact = (double)value;
    int exponent = exponent_of(exact);
    double scaled = scale(exact, MOST - 1 - exponent);

    for (int digits = FEWEST; digits <= MOST; digits++) {
        uint64_t number = (uint64_t)(scaled / powers[MOST - digits] + 0.5);
        int last = exponent - (digits - 1);
        double back = scale((double)number, last);

        if ((float)back == value && !is_tie(back)) {
            while (number % 10 == 0) {
                number /= 10;
                last++;
            }
            *ret_exponent = last;
            return number;
        }
    }
    return 0;
}

static void write_plain(struct ps_buf *out, const char *digits, int count, int last)
{
    static const char zeros[] = "0000000000000000";
    int before = count + last; /* digits before the point */

    if (before <= 0) {
        ps_buf_cstr(out, "0.");
        ps_buf_append(out, zeros, (size_t)-before);
        ps_buf_append(out, digits, (size_t)count);
    } else if (last >= 0) {
        ps_buf_append(out, digits, (size_t)count);
        ps_buf_append(out, zeros, (size_t)last);
        ps_buf_cstr(out, ".0");
    } else {
        ps_buf_append(out, digits, (size_t)before);
        ps_buf_byte(out, '.');
        ps_buf_append(out, digits + before, (size_t)-last);
    }
}

static void write_digits(struct ps_buf *out, uint64_t number, int last)
{
    char digits[24];
    int count = 0;
    char *start = digits + sizeof(digits);

    for (; number > 0; number /= 10) {
        *--start = (char)('0' + number % 10);
        count++;
    }
    if (count + last > PLAIN_LOWEST) {
        write_plain(out, start, count, last);
        return;
    }
    ps_buf_byte(out, *start);
    if (count > 1) {
        ps_buf_byte(out, '.');
        ps_buf_append(out, start + 1, (size_t)count - 1);
    }
    ps_buf_byte(out, 'e');
    ps_buf_int(out, count + last - 1);
}

/* Very small and very large ones. */
static void write_rare(struct ps_buf *out, float value)
{
    char text[32];

    for (int digits = FEWEST; digits <= MOST; digits++) {
        (void)snprintf(text, sizeof(text), "%.*e", digits - 1, (double)value);
        if (strtof(text, NULL) == value) {
            break;
        }
    }
    text[1] = '.'; /* the locale may have another */
    ps_buf_cstr(out, text);
}

void ps_dialect_write_float(struct ps_buf *out, float value)
{
    uint64_t number = 0;
    int last = 0;

    if (signbit(value)) {
        ps_buf_byte(out, '-');
        value = -value;
    }
    if (value == 0) {
        ps_buf_cstr(out, "0.0");
        return;
    }
    if (value > 1e-12F && value < 1e12F) {
        number = find_digits(value, &last);
    }
    if (number != 0) {
        write_digits(out, number, last);
    } else {
        write_rare(out, value);
    }
}
