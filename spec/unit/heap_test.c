/* SPDX-License-Identifier: Apache-2.0 */
/* A heap that has become large grows by huge pages: as the kernel tells what it was asked for.
 */
#include "host/base/heap.h"

#include <sys/mman.h>

#include "spec/unit/huge.h"
#include "spec/unit/test.h"

#define MB ((size_t)1024 * 1024)

static void grows_by_huge_pages_when_it_is_large(void) {
    struct heap heap = {0};
    char *at = mmap(NULL, 160 * MB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED);
    CHECK(!heap_grown(&heap, at));
    CHECK(!heap_grown(&heap, at + 16 * MB));
    CHECK(heap_grown(&heap, at + 40 * MB));
    CHECK(!heap_grown(&heap, at + 80 * MB));
    CHECK(!is_huge(at) && !is_huge(at + 39 * MB));
    CHECK(is_huge(at + 40 * MB) && is_huge(at + 79 * MB));
    CHECK(!is_huge(at + 80 * MB));
    CHECK(!heap_grown(&heap, at + 60 * MB)); /* something has gone back */
    CHECK(!heap_grown(&heap, at + 120 * MB));
    CHECK(is_huge(at + 119 * MB) && !is_huge(at + 120 * MB));
    CHECK_INT(munmap(at, 160 * MB), 0);
}

int main(int argc, char **argv) {
    test_begin(argc, argv);
    if (has_huge_pages())
        RUN(grows_by_huge_pages_when_it_is_large);
    return test_end();
}
