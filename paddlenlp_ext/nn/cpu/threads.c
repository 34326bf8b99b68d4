/* Threads after a fork. */

#include <omp.h>
#include <pthread.h>

/* The child of a fork has none of its parent's threads, but GCC's OpenMP would wait for them for
 * ever. It computes alone. */
static void go_on_alone(void) { omp_set_num_threads(1); }

__attribute__((constructor)) static void mind_forks(void) { pthread_atfork(NULL, NULL, go_on_alone); }
