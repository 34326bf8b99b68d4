/* An update of AdamW (arXiv 1711.05101) of all parameters, in one pass over their memory, which is what
 * it takes time for. With g the gradient times a factor, t the number of the update, r the rate and d
 * the decay:
 *
 * m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g g,
 * w = w - r d w - r (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon). */

#include "numbers.h"

#define BLOCK (1 << 14) /* numbers that a thread takes at once */

typedef struct {
    float *weight;
    const float *gradient;
    float *mean, *square;     /* m and v, of the same size */
    float *power1, *power2;   /* b1^t and b2^t; become those of the next update */
    int64_t count;
    float rate, decay;
} Updated;

typedef struct {
    const Updated *parameters;
    int64_t count;
    float beta1, beta2, epsilon, factor;
} Update;

VERSIONS static void update_block(const Update *all, const Updated *one, int64_t first, int64_t last) {
    float *restrict weight = one->weight, *restrict mean = one->mean, *restrict square = one->square;
    const float *restrict gradient = one->gradient;
    float beta1 = all->beta1, beta2 = all->beta2, factor = all->factor;
    float root = sqrtf(1 - *one->power2), rate = one->rate * root / (1 - *one->power1);
    float epsilon = all->epsilon * root, kept = 1 - one->rate * one->decay;
    for (int64_t i = first; i < last; ++i) {
        float g = gradient[i] * factor;
        float m = beta1 * mean[i] + (1 - beta1) * g;
        float v = beta2 * square[i] + (1 - beta2) * g * g;
        mean[i] = m;
        square[i] = v;
        weight[i] = weight[i] * kept - rate * m / (sqrtf(v) + epsilon);
    }
}

EXPORTED int update(const Update *a) {
#pragma omp parallel
    for (int64_t number = 0; number < a->count; ++number) {
        const Updated *one = a->parameters + number;
#pragma omp for schedule(static, 1) nowait
        for (int64_t first = 0; first < one->count; first += BLOCK)
            update_block(a, one, first, least(first + BLOCK, one->count));
    }
    for (int64_t number = 0; number < a->count; ++number) {
        *a->parameters[number].power1 *= a->beta1;
        *a->parameters[number].power2 *= a->beta2;
    }
    return 1;
}

VERSIONS static double squares_of(const float *x, int64_t first, int64_t last) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = first; i < last; ++i) sum += x[i] * x[i];
    return sum;
}

/* The sum of the squares of numbers: of blocks, which are added in their order. */
EXPORTED int sum_squares(const float *x, int64_t count, double *sum) {
    int64_t blocks = (count + BLOCK - 1) / BLOCK;
    double *sums = malloc(sizeof(double) * blocks + 1);
    if (!sums) return 0;
#pragma omp parallel for schedule(static) if (count > PARALLEL)
    for (int64_t block = 0; block < blocks; ++block)
        sums[block] = squares_of(x, block * BLOCK, least((block + 1) * BLOCK, count));
    *sum = 0;
    for (int64_t block = 0; block < blocks; ++block) *sum += sums[block];
    free(sums);
    return 1;
}
