/* C = A B, or C + A B, for the small matrices of attention: A is [m, k] with a(i, p) = A[i row + p column],
 * B [k, n] and C [m, n] have rows of whole vectors.
 *
 * `attention.c` includes this once for each size of vectors: SIZE numbers, on PROCESSORS that have
 * registers for them. Tiles of 4 rows and 2 vectors stay in those. */

typedef float NAME(Vector) __attribute__((vector_size(4 * SIZE), aligned(4)));

INLINE void NAME(tile)(
    int rows, int vectors, int64_t k, const float *a, int64_t row, int64_t column,
    const float *b, int64_t b_row, float *c, int64_t c_row, int adds
) {
    NAME(Vector) sum[4][2];
    for (int i = 0; i < rows; ++i)
        for (int v = 0; v < vectors; ++v)
            sum[i][v] = adds ? *(const NAME(Vector) *)(c + i * c_row + v * SIZE) : (NAME(Vector)){0};
    for (int64_t p = 0; p < k; ++p)
        for (int v = 0; v < vectors; ++v) {
            NAME(Vector) other = *(const NAME(Vector) *)(b + p * b_row + v * SIZE);
            for (int i = 0; i < rows; ++i) sum[i][v] += a[i * row + p * column] * other;
        }
    for (int i = 0; i < rows; ++i)
        for (int v = 0; v < vectors; ++v)
            *(NAME(Vector) *)(c + i * c_row + v * SIZE) = sum[i][v];
}

PROCESSORS static void NAME(product)(
    int64_t m, int64_t n, int64_t k, const float *a, int64_t row, int64_t column,
    const float *b, int64_t b_row, float *c, int64_t c_row, int adds
) {
    for (int64_t j = 0; j < n; j += 2 * SIZE) {
        int wide = j + SIZE < n;
        int64_t i = 0;
        for (; i + 4 <= m; i += 4) {
            const float *from = a + i * row;
            float *to = c + i * c_row + j;
            if (wide) NAME(tile)(4, 2, k, from, row, column, b + j, b_row, to, c_row, adds);
            else NAME(tile)(4, 1, k, from, row, column, b + j, b_row, to, c_row, adds);
        }
        for (; i < m; ++i) {
            const float *from = a + i * row;
            float *to = c + i * c_row + j;
            if (wide) NAME(tile)(1, 2, k, from, row, column, b + j, b_row, to, c_row, adds);
            else NAME(tile)(1, 1, k, from, row, column, b + j, b_row, to, c_row, adds);
        }
    }
}

#undef SIZE
#undef NAME
#undef PROCESSORS
