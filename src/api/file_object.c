/* SPDX-License-Identifier: Apache-2.0 */
#include "side.h"

#include "penstock/base/clock.h"

/* How a file looks. What is stored is processed: there is nothing to wait for. */

void ps_file_write(struct ps_buf *out, const struct ps_store_file *file)
{
    ps_buf_cstr(out, "{\"id\":");
    ps_buf_json(out, ps_slice_cstr(file->id.text));
    ps_buf_cstr(out, ",\"object\":\"file\",\"bytes\":");
    ps_buf_uint(out, file->bytes);
    ps_side_time(out, "created_at", file->created_ms);
    ps_side_time(out, "expires_at", file->expires_ms);
    ps_buf_cstr(out, ",\"filename\":");
    ps_buf_json(out, file->filename);
    ps_buf_cstr(out, ",\"purpose\":");
    ps_buf_json(out, file->purpose);
    ps_buf_cstr(out, ",\"status\":\"processed\",\"status_details\":null}");
}

bool ps_file_is_over(const struct ps_store_file *file)
{
    return file->expires_ms != 0 && file->expires_ms <= ps_clock_wall_ms();
}
