/* SPDX-License-Identifier: Apache-2.0 */
#include "store/folder.h"

#include "blob_priv.h"
#include "testing.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void folder_make(struct folder *folder)
{
    const char *tmp = getenv("TMPDIR");
    int len = snprintf(folder->path, sizeof folder->path, "%s/penstock-store-XXXXXX",
                       tmp != NULL && strlen(tmp) < 32 ? tmp : "/tmp");
    assert_true(len > 0 && (size_t)len < sizeof folder->path);
    assert_non_null(mkdtemp(folder->path));
    (void)snprintf(folder->blobs, sizeof folder->blobs, "%s/data/blobs", folder->path);
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
    (void)info;
    (void)type;
    (void)ftw;
    return remove(path);
}

void folder_remove(struct folder *folder)
{
    assert_int_equal(nftw(folder->path, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static unsigned count_files(const char *path)
{
    unsigned count = 0;
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return 0;
    }
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        count += entry->d_type == DT_REG;
    }
    (void)closedir(dir);
    return count;
}

unsigned folder_blobs(const struct folder *folder)
{
    unsigned count = 0;
    char path[128];
    for (unsigned i = 0; i < PS_BLOB_BUCKETS; i++) {
        (void)snprintf(path, sizeof path, "%s/%02x", folder->blobs, i);
        count += count_files(path);
    }
    return count;
}

unsigned folder_unfinished(const struct folder *folder)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/tmp", folder->blobs);
    return count_files(path);
}

void folder_path(const struct folder *folder, const struct ps_blob_name *name, char *ret,
                 size_t size)
{
    (void)snprintf(ret, size, "%s/%.2s/%s", folder->blobs, name->text, name->text + 2);
}

struct ps_blobs *folder_open(const struct folder *folder)
{
    struct ps_blobs *blobs =
        ps_blobs_new(&(struct ps_blobs_options){.folder = folder->blobs, .reserve_percent = 101});
    assert_non_null(blobs);
    return blobs;
}
