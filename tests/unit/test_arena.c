/* test_arena.c - pieces of an arena are zeroed, aligned, apart, and bounded. */
#include <criterion/criterion.h>

#include "base/arena.h"

#include <stdint.h>
#include <string.h>

Test(arena, pieces_of_every_size_are_zeroed_aligned_and_apart)
{
    struct arena a;
    char *piece[400];

    arena_init(&a, 64 << 20);
    for (size_t i = 0; i < 400; i++) {
        size_t bytes = i * i / 2;
        cr_assert(piece[i] = arena_alloc(&a, bytes, 1));
        cr_expect_eq((uintptr_t)piece[i] % _Alignof(max_align_t), 0);
        for (size_t j = 0; j < bytes; j++)
            cr_assert_eq(piece[i][j], 0);
        memset(piece[i], (int)(i % 250) + 1, bytes);
    }
    for (size_t i = 0; i < 400; i++)
        for (size_t j = 0; j < i * i / 2; j++)
            cr_assert_eq((uint8_t)piece[i][j], i % 250 + 1);
    arena_release(&a);
    cr_expect_eq(a.bytes, 0);
}

Test(arena, the_maximum_holds_also_for_products_that_overflow)
{
    struct arena a;

    arena_init(&a, 1000);
    cr_expect(arena_alloc(&a, 1, 900));
    cr_expect_not(arena_full(&a, 1, 64));
    cr_expect(arena_full(&a, 1, 128));
    cr_expect_null(arena_alloc(&a, 1, 128));
    cr_expect_null(arena_alloc(&a, SIZE_MAX, 2));
    cr_expect_null(arena_alloc(&a, SIZE_MAX / 2 + 1, 2));
    cr_expect_null(arena_copy(&a, "", SIZE_MAX));
    cr_expect_str_eq(arena_copy(&a, "copy of it", 4), "copy");
    arena_release(&a);
    cr_expect(arena_alloc(&a, 1, 900), "empty again");
    arena_release(&a);
}
