/* Products of matrices, by vectors that a register holds: the compiler would keep wider ones in
 * memory. The sums have the same order whatever the size. */

#include "numbers.h"

#define DEEP 64  /* rows of B that are read together */
#define COPIED 4 /* tiles of A; what more than these need is copied */

#define SIZE 4
#define TALL 6
#define NAME(word) word##4
#define PROCESSORS
#include "product.h"
#if defined(__x86_64__)
#define SIZE 8
#define TALL 6
#define NAME(word) word##8
#define PROCESSORS __attribute__((target("avx2,fma")))
#include "product.h"
#define SIZE 16
#define TALL 12
#define NAME(word) word##16
#define PROCESSORS __attribute__((target("avx512f")))
#include "product.h"
#endif

#if defined(__x86_64__)
#define CALL(name, ...)                                                                            \
    if (__builtin_cpu_supports("avx512f")) name##16(__VA_ARGS__);                                  \
    else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) name##8(__VA_ARGS__); \
    else name##4(__VA_ARGS__)
#else
#define CALL(name, ...) name##4(__VA_ARGS__)
#endif

void product(
    int64_t m, int64_t n, int64_t k, const float *a, int64_t row, int64_t column,
    const float *b, int64_t b_row, float *c, int64_t c_row, int adds
) {
    CALL(product, m, n, k, a, row, column, b, b_row, c, c_row, adds);
}

void multiply(
    int64_t m, int64_t n, int64_t k, const float *a, int64_t row, const float *b, int64_t b_row,
    float *c, int64_t c_row, int adds
) {
    CALL(multiply, m, n, k, a, row, b, b_row, c, c_row, adds);
}
