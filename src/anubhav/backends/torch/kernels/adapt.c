/* What the LoRA adapters of a batch's rows add to a layer: rows of one adapter stand side by side as a segment, and each
   segment may have a rank of its own. Fused modules (q, k, v; gate, up) share the rows of A and have a B each. */
#include "vectors.h"
#include <stdlib.h>

#define INLINE static inline __attribute__((always_inline))
#define TOGETHER 4 /* rows that share what is loaded of A or B */
#define SPAN 16    /* outputs at a time: a line of the cache, as the rows of B lie far apart */

/* inner[row][r..r+two] = scale * (x[row] . A[r..r+two]) for rows lo..lo+n; `two` is 1 or 2. */
INLINE void shrink(const void *x, int type, const int32_t *rows, int n, const float *a, int two, int64_t inputs,
                   float scale, float *inner, int64_t stride) {
    vf sum[TOGETHER][2] = {};
    int64_t i = 0;
    for (; i + W <= inputs; i += W)
        for (int j = 0; j < n; j++) {
            vf row = get(x, type, rows[j] * inputs + i);
            for (int k = 0; k < two; k++) sum[j][k] += load(a + k * inputs + i) * row;
        }
    for (int j = 0; j < n; j++)
        for (int k = 0; k < two; k++) {
            float s = total(sum[j][k]);
            for (int64_t c = i; c < inputs; c++) s += a[k * inputs + c] * get1(x, type, rows[j] * inputs + c);
            inner[j * stride + k] = s * scale;
        }
}

/* y[row][o..o+SPAN] += inner[row] . B[.][o..o+SPAN] */
INLINE void expand(void *y, int type, const int32_t *rows, int n, const float *b, int64_t width, int64_t o,
                   int64_t at, int64_t outputs, const float *inner, int64_t stride, int64_t rank) {
    vf sum[TOGETHER][SPAN / W] = {};
    for (int64_t r = 0; r < rank; r++)
        for (int p = 0; p < SPAN / W; p++) {
            vf weights = load(b + r * width + o + p * W);
            for (int j = 0; j < n; j++) sum[j][p] += inner[j * stride + r] * weights;
        }
    for (int j = 0; j < n; j++)
        for (int p = 0; p < SPAN / W; p++) {
            int64_t place = rows[j] * outputs + at + o + p * W;
            put(y, type, place, get(y, type, place) + sum[j][p]);
        }
}

#define BY_COUNT(n, call, ...) \
    switch (n) { \
    case 1: call(1, __VA_ARGS__); break; \
    case 2: call(2, __VA_ARGS__); break; \
    case 3: call(3, __VA_ARGS__); break; \
    default: call(4, __VA_ARGS__); \
    }
#define SHRINK(n, two, t) shrink(x, t, rows + lo, n, a, two, inputs, scales[s], inner + lo * stride + r, stride)
#define EXPAND(n, t) expand(y, t, rows + lo, n, b, width, o, at, outputs, inner + lo * stride + m * ranks[s], stride, ranks[s])

/* `rows` by segment, `ends` where each segment ends in them; `places`: [segments][1 + modules] addresses of A
   ([modules * rank][inputs]) and of each module's B as [rank][width], 0 where an adapter leaves the layer alone.
   `offsets`: where each module begins in the outputs, and the end. Widths are multiples of 16. Returns 0, or 1 when
   there is no memory. */
int adapt(const void *x, void *y, const int32_t *rows, const int32_t *ends, int64_t segments, const int32_t *ranks,
          const float *scales, const int64_t *places, int64_t modules, const int64_t *offsets, int64_t inputs, int type,
          int threads) {
    int64_t count = ends[segments - 1], most = 0, outputs = offsets[modules];
    for (int64_t s = 0; s < segments; s++) most = ranks[s] > most ? ranks[s] : most;
    int64_t work = count * most * (modules * inputs + outputs);
    int64_t stride = modules * most;
    float *inner = malloc(count * stride * sizeof *inner);
    if (!inner) return 1;
#pragma omp parallel num_threads(work < WORTH_A_THREAD ? 1 : threads)
    {
        for (int64_t s = 0; s < segments; s++) {
            const float *A = (const float *)places[s * (1 + modules)];
            int64_t from = s ? ends[s - 1] : 0;
            if (!A) continue;
#pragma omp for schedule(static) nowait
            for (int64_t r = 0; r < modules * ranks[s]; r += 2) {
                const float *a = A + r * inputs;
                int alone = r + 1 == modules * ranks[s];
                for (int64_t lo = from; lo < ends[s]; lo += TOGETHER) {
                    int64_t n = ends[s] - lo;
                    if (type != FLOAT32 && alone) { BY_COUNT(n, SHRINK, 1, BFLOAT16) }
                    else if (type != FLOAT32) { BY_COUNT(n, SHRINK, 2, BFLOAT16) }
                    else if (alone) { BY_COUNT(n, SHRINK, 1, FLOAT32) }
                    else { BY_COUNT(n, SHRINK, 2, FLOAT32) }
                }
            }
        }
#pragma omp barrier
        for (int64_t s = 0; s < segments; s++) {
            int64_t from = s ? ends[s - 1] : 0;
            for (int64_t m = 0; m < modules; m++) {
                const float *b = (const float *)places[s * (1 + modules) + 1 + m];
                int64_t at = offsets[m], width = offsets[m + 1] - at;
                if (!b) continue;
#pragma omp for schedule(static) nowait
                for (int64_t o = 0; o < width; o += SPAN)
                    for (int64_t lo = from; lo < ends[s]; lo += TOGETHER) {
                        int64_t n = ends[s] - lo;
                        if (type == FLOAT32) { BY_COUNT(n, EXPAND, FLOAT32) }
                        else { BY_COUNT(n, EXPAND, BFLOAT16) }
                    }
            }
        }
    }
    free(inner);
    return 0;
}
