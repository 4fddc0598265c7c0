/* SPDX-License-Identifier: Apache-2.0 */
#include "gguf.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* The file is mapped, so a truncated one is seen by its size; all numbers are little-endian. */

#define MAX_KEYS    65536
#define MAX_TENSORS 262144
#define MAX_NAME    65535
#define MAX_ITEMS   (UINT64_C(1) << 28)
#define ARRAY_TYPE  9
#define STRING_TYPE 8

struct reader {
    const unsigned char *at;
    const unsigned char *end;
    const char *why; /* NULL: all is well so far */
};

static bool fail(struct reader *r, const char *why)
{
    if (r->why == NULL) {
        r->why = why;
    }
    return false;
}

static bool skip(struct reader *r, uint64_t len)
{
    if ((uint64_t)(r->end - r->at) < len) {
        return fail(r, "is cut off");
    }
    r->at += len;
    return true;
}

static uint64_t number(struct reader *r, size_t bytes)
{
    const unsigned char *from = r->at;
    uint64_t value = 0;
    if (!skip(r, bytes)) {
        return 0;
    }
    for (size_t i = bytes; i-- > 0;) {
        value = value << 8 | from[i];
    }
    return value;
}

static bool skip_string(struct reader *r, uint64_t max)
{
    uint64_t len = number(r, 8);
    if (r->why == NULL && len > max) {
        return fail(r, "has a name that is too long");
    }
    return r->why == NULL && skip(r, len);
}

/* Bytes of a value of this type; 0: not of a fixed size, or no type. */
static uint64_t size_of(uint64_t type)
{
    static const unsigned char sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type < sizeof(sizes) ? sizes[type] : 0;
}

static bool skip_array(struct reader *r)
{
    uint64_t type = number(r, 4);
    uint64_t count = number(r, 8);
    if (r->why != NULL) {
        return false;
    }
    if (count > MAX_ITEMS) {
        return fail(r, "has a list that is too long");
    }
    if (type == STRING_TYPE) {
        for (uint64_t i = 0; i < count; i++) {
            if (!skip_string(r, MAX_ITEMS)) {
                return false;
            }
        }
        return true;
    }
    uint64_t size = size_of(type);
    return size > 0 ? skip(r, size * count) : fail(r, "has a list of an unknown type");
}

static bool skip_value(struct reader *r, uint64_t type)
{
    if (type == STRING_TYPE) {
        return skip_string(r, MAX_ITEMS);
    }
    if (type == ARRAY_TYPE) {
        return skip_array(r);
    }
    uint64_t size = size_of(type);
    return size > 0 ? skip(r, size) : fail(r, "has a key of an unknown type");
}

/* general.alignment matters for where tensors begin. */
static bool read_key(struct reader *r, uint64_t *alignment)
{
    static const char alignment_key[] = "general.alignment";
    uint64_t len = number(r, 8);
    const unsigned char *name = r->at;
    if (r->why != NULL || (len > MAX_NAME && !fail(r, "has a name that is too long")) ||
        !skip(r, len)) {
        return false;
    }
    uint64_t type = number(r, 4);
    const unsigned char *value = r->at;
    if (r->why != NULL || !skip_value(r, type)) {
        return false;
    }
    if (len == sizeof(alignment_key) - 1 && memcmp(name, alignment_key, len) == 0) {
        struct reader again = {value, r->end, NULL};
        *alignment = type == 4 ? number(&again, 4) : 0;
        if (*alignment == 0 || (*alignment & (*alignment - 1)) != 0 || *alignment > 65536) {
            return fail(r, "has an alignment that is no power of two");
        }
    }
    return true;
}

/* One line of the table; *last: the furthest beginning of a tensor's bytes. */
static bool read_tensor(struct reader *r, uint64_t alignment, uint64_t *last)
{
    if (!skip_string(r, 1024)) {
        return false;
    }
    uint64_t dimensions = number(r, 4);
    if (r->why == NULL && (dimensions == 0 || dimensions > 4)) {
        return fail(r, "has a tensor of 0 or more than 4 dimensions");
    }
    uint64_t elements = 1;
    for (uint64_t i = 0; i < dimensions && r->why == NULL; i++) {
        uint64_t length = number(r, 8);
        if (r->why == NULL && (length == 0 || length > (UINT64_C(1) << 40) / elements)) {
            return fail(r, "has a tensor of an impossible size");
        }
        elements *= r->why == NULL ? length : 1;
    }
    (void)number(r, 4); /* its type: the library knows which there are */
    uint64_t offset = number(r, 8);
    if (r->why == NULL && offset % alignment != 0) {
        return fail(r, "has a tensor that is not aligned");
    }
    /* No type has fewer than one bit a weight. */
    uint64_t furthest = offset + elements / 8;
    *last = furthest > *last ? furthest : *last;
    return r->why == NULL;
}

static bool read_over(struct reader *r)
{
    const unsigned char *begin = r->at;
    uint64_t alignment = 32;
    uint64_t last = 0;
    if ((size_t)(r->end - r->at) < 24 || memcmp(r->at, "GGUF", 4) != 0) {
        return fail(r, "is no GGUF file");
    }
    r->at += 4;
    uint64_t version = number(r, 4);
    uint64_t tensors = number(r, 8);
    uint64_t keys = number(r, 8);
    if (version < 2 || version > 3) {
        return fail(r, "is of a GGUF version that is not known");
    }
    if (tensors == 0 || tensors > MAX_TENSORS || keys == 0 || keys > MAX_KEYS) {
        return fail(r, "has no tensors or no keys, or impossibly many");
    }
    for (uint64_t i = 0; i < keys; i++) {
        if (!read_key(r, &alignment)) {
            return false;
        }
    }
    for (uint64_t i = 0; i < tensors; i++) {
        if (!read_tensor(r, alignment, &last)) {
            return false;
        }
    }
    uint64_t data = ((uint64_t)(r->at - begin) + alignment - 1) / alignment * alignment;
    uint64_t size = (uint64_t)(r->end - begin);
    if (data > size || last > size - data) {
        return fail(r, "is cut off: its tensors lie behind its end");
    }
    return true;
}

int ps_gguf_check(int fd, char *ret_why, size_t why_size, uint64_t *ret_bytes)
{
    struct stat info;
    struct reader r = {0};
    if (fstat(fd, &info) != 0 || info.st_size <= 0) {
        r.why = "is empty";
    } else {
        size_t len = (size_t)info.st_size;
        void *bytes = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes == MAP_FAILED) {
            r.why = "cannot be mapped into memory";
        } else {
            r.at = bytes;
            r.end = r.at + len;
            (void)read_over(&r);
            (void)munmap(bytes, len);
        }
        *ret_bytes = len;
    }
    (void)snprintf(ret_why, why_size, "%s", r.why != NULL ? r.why : "");
    return r.why == NULL ? 0 : -1;
}
