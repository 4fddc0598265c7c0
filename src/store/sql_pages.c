/* SPDX-License-Identifier: Apache-2.0 */
#include "sql_priv.h"

#define PAGE_DEFAULT 20

/*
 * Pages go by id: ids begin with their time, so their order is that of creation, and a border whose
 * row has been deleted meanwhile is as good as any. A page before a border is read from there up
 * and turned round.
 */
struct ps_page ps_sql_page(const struct ps_store_page *list, uint32_t max)
{
    struct ps_page page = {.ascending = list->ascending, .limit = list->limit};

    if (page.limit == 0) {
        page.limit = PAGE_DEFAULT;
    }
    page.limit = page.limit < max ? page.limit : max;
    page.border = list->after;
    if (list->after.text[0] == '\0' && list->before.text[0] != '\0') {
        page.border = list->before;
        page.ascending = !list->ascending;
        page.reverse = true;
    } else if (list->after.text[0] == '\0' && !page.ascending) {
        page.border.text[0] = '\x7f'; /* above any id */
    }
    return page;
}

bool ps_sql_read_page(struct ps_query *query, const struct ps_page *page, struct ps_rows *rows,
                      void (*read)(struct ps_query *query, void *row))
{
    bool more = false;

    ps_put_id(query, &page->border);
    ps_put_int(query, (int64_t)page->limit + 1);
    while (ps_query_row(query)) {
        more = rows->count == page->limit;
        void *row = more ? NULL : ps_rows_add(rows);
        if (row == NULL) {
            break;
        }
        read(query, row);
    }
    ps_query_end(query);
    if (page->reverse) {
        ps_rows_reverse(rows);
    }
    return more;
}
