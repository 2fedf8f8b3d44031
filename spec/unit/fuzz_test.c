/* SPDX-License-Identifier: Apache-2.0 */
/* The seeds of the fuzz targets (spec/fuzz), each once: without libFuzzer, with any compiler.
 * What does not hold ends the program with abort(); the last line names the seed. */
#include <dirent.h>
#include <stdint.h>
#include <stdlib.h>

#include "spec/unit/test.h"

#define CORPUS "spec/fuzz/corpus"
#define SEED_MAX ((size_t)64 * 1024)

/* FUZZ_TARGETS is one X(name) for each file of spec/fuzz: see CMakeLists.txt. */
#define X(name) int fuzz_target_##name(const uint8_t *bytes, size_t size);
FUZZ_TARGETS
#undef X

static const struct {
    const char *name;
    int (*run)(const uint8_t *bytes, size_t size);
} targets[] = {
#define X(name) {#name, fuzz_target_##name},
    FUZZ_TARGETS
#undef X
};

static size_t current; /* target */

static void run_seed(const char *name) {
    char path[512];
    uint8_t *bytes = malloc(SEED_MAX);
    snprintf(path, sizeof(path), CORPUS "/%s/%s", targets[current].name, name);
    FILE *file = fopen(path, "rbe");
    CHECK(bytes != NULL && file != NULL);
    printf("# %s\n", path);
    size_t size = fread(bytes, 1, SEED_MAX, file);
    fclose(file);
    CHECK(size < SEED_MAX);
    uint8_t *exact = realloc(bytes, size + (size == 0));
    targets[current].run(exact, size);
    free(exact);
}

static void holds_for_its_seeds(void) {
    char folder[256];
    snprintf(folder, sizeof(folder), CORPUS "/%s", targets[current].name);
    DIR *dir = opendir(folder);
    CHECK(dir != NULL);
    int seeds = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        seeds++;
        run_seed(entry->d_name);
    }
    closedir(dir);
    CHECK(seeds > 0);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    for (current = 0; current < sizeof(targets) / sizeof(targets[0]); current++) {
        test_variant = targets[current].name;
        test_run("a_fuzz_target_holds_for_its_seeds: ", holds_for_its_seeds);
    }
    return test_end();
}
