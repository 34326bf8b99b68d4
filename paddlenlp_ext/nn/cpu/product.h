/* C = A B, or C + A B, where B and C have whole vectors of LANES columns.
 *
 * `product.c` includes this once for each size of vectors: SIZE numbers, on PROCESSORS that have
 * registers for the sums of TALL rows of 2 vectors. */

#define WIDE (2 * SIZE)

typedef float NAME(Vector) __attribute__((vector_size(4 * SIZE), aligned(4)));

/* Some rows and vectors of C: a(i, p) is A[i row + p column]. Meanwhile what lies at `next` is
 * fetched, as many numbers in rows as far apart as `next_row` says, unless it is null. */
INLINE void NAME(tile)(
    int rows, int vectors, int64_t k, const float *a, int64_t row, int64_t column,
    const float *b, int64_t b_row, float *c, int64_t c_row, int adds, const float *next, int64_t next_row
) {
    NAME(Vector) sum[TALL][2];
#pragma GCC unroll 12
    for (int i = 0; i < rows; ++i)
        for (int v = 0; v < vectors; ++v)
            sum[i][v] = adds ? *(const NAME(Vector) *)(c + i * c_row + v * SIZE) : (NAME(Vector)){0};
    for (int64_t p = 0; p < k; ++p) {
        NAME(Vector) other[2];
        for (int v = 0; v < vectors; ++v) {
            other[v] = *(const NAME(Vector) *)(b + p * b_row + v * SIZE);
            if (next && v * SIZE % LANES == 0) __builtin_prefetch(next + p * next_row + v * SIZE, 0, 2);
        }
#pragma GCC unroll 12
        for (int i = 0; i < rows; ++i) {
            float factor = a[i * row + p * column];
            for (int v = 0; v < vectors; ++v) sum[i][v] += factor * other[v];
        }
    }
#pragma GCC unroll 12
    for (int i = 0; i < rows; ++i)
        for (int v = 0; v < vectors; ++v)
            *(NAME(Vector) *)(c + i * c_row + v * SIZE) = sum[i][v];
}

/* See numbers.h. */
PROCESSORS static void NAME(product)(
    int64_t m, int64_t n, int64_t k, const float *a, int64_t row, int64_t column,
    const float *b, int64_t b_row, float *c, int64_t c_row, int adds
) {
    for (int64_t j = 0; j < n; j += WIDE) {
        int wide = j + SIZE < n;
        int64_t i = 0;
        for (; i + 4 <= m; i += 4) {
            const float *from = a + i * row;
            float *to = c + i * c_row + j;
            if (wide) NAME(tile)(4, 2, k, from, row, column, b + j, b_row, to, c_row, adds, NULL, 0);
            else NAME(tile)(4, 1, k, from, row, column, b + j, b_row, to, c_row, adds, NULL, 0);
        }
        for (; i < m; ++i) {
            const float *from = a + i * row;
            float *to = c + i * c_row + j;
            if (wide) NAME(tile)(1, 2, k, from, row, column, b + j, b_row, to, c_row, adds, NULL, 0);
            else NAME(tile)(1, 1, k, from, row, column, b + j, b_row, to, c_row, adds, NULL, 0);
        }
    }
}

#define TILE(number)                                                                              \
    case number:                                                                                  \
        if (number > TALL) break;                                                                 \
        if (next) NAME(tile)(number, vectors, k, a, row, 1, b, b_row, c, c_row, adds, next, next_row); \
        else NAME(tile)(number, vectors, k, a, row, 1, b, b_row, c, c_row, adds, NULL, 0);        \
        break;

/* Any number of rows, in tiles that are as equal as can be: those of a row or two would wait for
 * their own sums. */
INLINE void NAME(tiles)(
    int64_t rows, int vectors, int64_t k, const float *a, int64_t row, const float *b, int64_t b_row,
    float *c, int64_t c_row, int adds, const float *next, int64_t next_row
) {
    for (int64_t left = (rows + TALL - 1) / TALL; left > 0; --left) {
        int64_t some = (rows + left - 1) / left;
        switch (some) {
            TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6)
            TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12)
        }
        rows -= some;
        a += some * row;
        c += some * c_row;
        next = NULL;
    }
}

/* See numbers.h. B is read in the order in which it lies, some rows at a time, because most of the
 * time goes into fetching it: columns of all rows would lie in as many pages. What many tiles need is
 * copied: rows that lie a multiple of 4096 bytes apart drive one another out of the nearest memory. */
PROCESSORS static void NAME(multiply)(
    int64_t m, int64_t n, int64_t k, const float *a, int64_t row, const float *b, int64_t b_row,
    float *c, int64_t c_row, int adds
) {
    float copy[DEEP * WIDE] __attribute__((aligned(64)));
    int copies = m > COPIED * TALL;
    for (int64_t from = 0; from < k; from += DEEP) {
        int64_t deep = least(DEEP, k - from), j = 0;
        const float *band = b + from * b_row;
        for (; j + WIDE <= n; j += WIDE) {
            const float *part = band + j, *next = j + WIDE < n ? part + WIDE : band + DEEP * b_row;
            for (int64_t p = 0; copies && p < deep; ++p)
                for (int64_t v = 0; v < WIDE; v += SIZE)
                    *(NAME(Vector) *)(copy + p * WIDE + v) = *(const NAME(Vector) *)(part + p * b_row + v);
            NAME(tiles)(m, 2, deep, a + from, row, copies ? copy : part, copies ? WIDE : b_row, c + j,
                        c_row, adds || from, next, b_row);
        }
        if (j < n)
            NAME(tiles)(m, 1, deep, a + from, row, band + j, b_row, c + j, c_row, adds || from,
                        band + DEEP * b_row, b_row);
    }
}

#undef WIDE
#undef TILE
#undef SIZE
#undef TALL
#undef NAME
#undef PROCESSORS
