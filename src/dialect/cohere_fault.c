/* SPDX-License-Identifier: Apache-2.0 */
#include "cohere_priv.h"
#include "openai_priv.h"

/* Errors: {"message":"…"}, and all there is to go by are the status and these words. */

#define STATUS_BLOCKED   498 /* the text holds what is not allowed */
#define STATUS_CANCELLED 499 /* the request was given up on their side */

void ps_cohere_fault_of(int status, struct ps_slice message, struct ps_fault *ret_fault)
{
    struct ps_openai_error error = {.message = message};

    if (status == STATUS_BLOCKED) {
        status = 400;
        error.code = PS_SLICE_LIT("\"content_filter\"");
    } else if (status == STATUS_CANCELLED) {
        status = 500;
    } else if (status == 429 && message.len > 0 &&
               memmem(message.ptr, message.len, "/ month", 7) != NULL) {
        error.code = PS_SLICE_LIT("\"insufficient_quota\""); /* a trial key has used up its calls */
    }
    ps_openai_fault_of(status, &error, ret_fault);
}

void ps_cohere_fault(int status, struct ps_slice body, struct ps_fault *ret_fault)
{
    struct ps_slice message = PS_SLICE_NONE;

    while (body.len > 0 && body.ptr[0] != '{') {
        body = ps_slice(body.ptr + 1, body.len - 1);
    }
    if (ps_texts_is_json(body)) {
        message = ps_raw_member(body, "message");
    }
    ps_cohere_fault_of(status, ps_raw_says(message) ? message : PS_SLICE_NONE, ret_fault);
}
