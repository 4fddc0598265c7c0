/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Stands in for libFuzzer where the compiler has none: gives the target an empty input, every file
 * of the corpus named on the command line (files or folders), every prefix of the short ones, and
 * then a bounded number of mutations. No clock and no entropy: two runs do the same, so a failure
 * found here is found again. FUZZ_RUNS in the environment changes the number of mutations.
 *
 * An input that ends the process is left in ./crash-<target name>.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Offered by the sanitizers' runtimes, absent without them. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

enum {
    DEFAULT_RUNS = 4000,
    INPUT_LIMIT = 1 << 20,
    ALL_PREFIXES_BELOW = 512, /* splitting at every byte is worth its price only on short inputs */
};

/* However big the samples are, a run stays within seconds. */
static const uint64_t mutated_bytes_limit = UINT64_C(32) << 20;

struct sample {
    uint8_t *data; /* owned, malloc */
    size_t size;
};

static struct sample *samples; /* owned */
static size_t sample_count;
static const uint8_t *current_data; /* borrowed: the input the target is reading now */
static size_t current_size;
static char crash_path[256];

static void leave_crash(void)
{
    if (current_data == NULL) {
        return;
    }
    int fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        return;
    }
    ssize_t written = write(fd, current_data, current_size);
    close(fd);
    if (written == (ssize_t)current_size) {
        static const char said[] = "the input is in ./";
        (void)!write(STDERR_FILENO, said, sizeof said - 1);
        (void)!write(STDERR_FILENO, crash_path, strlen(crash_path));
        (void)!write(STDERR_FILENO, "\n", 1);
    }
    current_data = NULL;
}

static void on_fatal_signal(int number)
{
    leave_crash();
    signal(number, SIG_DFL);
    raise(number);
}

/* The copy is exactly as long as the input, so that a sanitizer sees a read past its end. */
static void run_target(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(2);
    }
    if (size > 0) {
        memcpy(copy, data, size);
    }
    current_data = copy;
    current_size = size;
    LLVMFuzzerTestOneInput(copy, size);
    current_data = NULL;
    free(copy);
}

static void load_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
    struct sample sample = {.data = malloc(INPUT_LIMIT)};
    if (sample.data == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(2);
    }
    sample.size = fread(sample.data, 1, INPUT_LIMIT, file);
    fclose(file);
    uint8_t *fitted = realloc(sample.data, sample.size > 0 ? sample.size : 1);
    if (fitted != NULL) {
        sample.data = fitted;
    }
    struct sample *grown = realloc(samples, (sample_count + 1) * sizeof *samples);
    if (grown == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(2);
    }
    samples = grown;
    samples[sample_count++] = sample;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void load_path(const char *path)
{
    struct stat about;
    if (stat(path, &about) != 0) {
        if (errno == ENOENT) {
            return; /* a target whose corpus nobody has begun yet */
        }
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
    if (!S_ISDIR(about.st_mode)) {
        load_file(path);
        return;
    }
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, is_visible, alphasort);
    if (count < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
    for (int i = 0; i < count; i++) {
        char inner[4096];
        snprintf(inner, sizeof inner, "%s/%s", path, entries[i]->d_name);
        free(entries[i]);
        load_path(inner);
    }
    free(entries);
}

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static size_t below(uint64_t *state, size_t bound)
{
    return bound == 0 ? 0 : (size_t)(next_random(state) % bound);
}

/* Bytes that mean something to the formats read here, and the edges of integers. */
static const uint8_t telling_bytes[] =
    "\x00\x01\x7f\x80\xff\xc0\xed\xf4\r\n\t \"\\{}[]:,;=%/0-9eE.+u";

static size_t remove_range(uint8_t *data, size_t size, uint64_t *state)
{
    size_t from = below(state, size);
    size_t length = 1 + below(state, size - from);
    memmove(data + from, data + from + length, size - from - length);
    return size - length;
}

static size_t insert_bytes(uint8_t *data, size_t size, const uint8_t *bytes, size_t length,
                           uint64_t *state)
{
    if (length > INPUT_LIMIT - size) {
        return size;
    }
    size_t at = below(state, size + 1);
    memmove(data + at + length, data + at, size - at);
    memcpy(data + at, bytes, length);
    return size + length;
}

static size_t repeat_range(uint8_t *data, size_t size, uint64_t *state)
{
    uint8_t part[256];
    size_t from = below(state, size);
    size_t length = 1 + below(state, size - from < sizeof part ? size - from : sizeof part);
    memcpy(part, data + from, length);
    for (size_t times = 1 + below(state, 8); times > 0; times--) {
        size = insert_bytes(data, size, part, length, state);
    }
    return size;
}

static size_t splice_sample(uint8_t *data, size_t size, uint64_t *state)
{
    const struct sample *other = &samples[below(state, sample_count)];
    if (other->size == 0) {
        return size;
    }
    size_t from = below(state, other->size);
    size_t length = 1 + below(state, other->size - from);
    return insert_bytes(data, size, other->data + from, length, state);
}

static size_t mutate(uint8_t *data, size_t size, uint64_t *state)
{
    if (size == 0) {
        data[0] = (uint8_t)next_random(state);
        return 1;
    }
    size_t at = below(state, size);
    uint8_t telling = telling_bytes[below(state, sizeof telling_bytes - 1)];
    switch (below(state, 8)) {
    case 0:
        data[at] ^= (uint8_t)(1U << below(state, 8));
        return size;
    case 1:
        data[at] = telling;
        return size;
    case 2:
        return insert_bytes(data, size, &telling, 1, state);
    case 3:
        return remove_range(data, size, state);
    case 4:
        return repeat_range(data, size, state);
    case 5:
        return at; /* cut */
    case 6:
        return splice_sample(data, size, state);
    default:
        data[at] = (uint8_t)next_random(state);
        return size;
    }
}

static void run_mutations(unsigned long runs)
{
    uint8_t *data = malloc(INPUT_LIMIT);
    if (data == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(2);
    }
    static struct sample nothing;
    if (sample_count == 0) {
        samples = &nothing;
        sample_count = 1;
    }
    uint64_t state = 1;
    uint64_t bytes = 0;
    for (unsigned long run = 0; run < runs && bytes < mutated_bytes_limit; run++) {
        const struct sample *sample = &samples[run % sample_count];
        size_t size = sample->size;
        if (size > 0) {
            memcpy(data, sample->data, size);
        }
        for (size_t steps = 1 + below(&state, 5); steps > 0; steps--) {
            size = mutate(data, size, &state);
        }
        run_target(data, size);
        bytes += size;
    }
    if (samples == &nothing) {
        samples = NULL;
        sample_count = 0;
    }
    free(data);
}

int main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/');
    snprintf(crash_path, sizeof crash_path, "crash-%s", slash != NULL ? slash + 1 : argv[0]);
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(leave_crash);
    } else {
        signal(SIGSEGV, on_fatal_signal);
        signal(SIGBUS, on_fatal_signal);
    }
    signal(SIGABRT, on_fatal_signal);

    unsigned long runs = DEFAULT_RUNS;
    const char *wanted = getenv("FUZZ_RUNS");
    if (wanted != NULL) {
        runs = strtoul(wanted, NULL, 10);
    }
    for (int i = 1; i < argc; i++) {
        load_path(argv[i]);
    }

    run_target(NULL, 0);
    for (size_t i = 0; i < sample_count; i++) {
        run_target(samples[i].data, samples[i].size);
        for (size_t size = 0; samples[i].size < ALL_PREFIXES_BELOW && size < samples[i].size;
             size++) {
            run_target(samples[i].data, size);
        }
    }
    /* One file named by hand is a crash being looked at: the mutations would only hide it. */
    if (argc != 2 || sample_count != 1) {
        run_mutations(runs);
    }

    printf("%zu samples\n", sample_count);
    for (size_t i = 0; i < sample_count; i++) {
        free(samples[i].data);
    }
    free(samples);
    return 0;
}
