/* One decode step of attention over a paged key-value cache: every row appends its key and value to its last page and
   looks at all of its own. A page holds 16 tokens of one layer: keys as [G][D][16], so that scores stand side by side
   and no sum runs across a vector, values as [G][16][D]. Query heads of a group share what is loaded. */
#include "vectors.h"
#include <stdlib.h>

#define PAGE 16
#define PARTS (PAGE / W) /* vectors of a page's scores */
#define INLINE static inline __attribute__((always_inline))

/* Scores of `n` queries against one page. */
INLINE void score(const float *q, int n, int64_t d_max, const void *k, int type, int64_t at, float *scores,
                  int64_t stride) {
    vf sum[4][PARTS] = {};
    for (int64_t d = 0; d < d_max; d++)
        for (int p = 0; p < PARTS; p++) {
            vf keys = get(k, type, at + d * PAGE + p * W);
            for (int i = 0; i < n; i++) sum[i][p] += q[i * d_max + d] * keys;
        }
    for (int i = 0; i < n; i++)
        for (int p = 0; p < PARTS; p++) store(scores + i * stride + p * W, sum[i][p]);
}

INLINE void scores_of(const float *q, int n, int64_t d, const void *k, int type, int64_t at, float *scores,
                      int64_t stride) {
    switch (n) {
    case 1: score(q, 1, d, k, type, at, scores, stride); break;
    case 2: score(q, 2, d, k, type, at, scores, stride); break;
    case 3: score(q, 3, d, k, type, at, scores, stride); break;
    default: score(q, 4, d, k, type, at, scores, stride);
    }
}

/* Turns the scores of positions first..last into weights that sum to 1, and those of other positions into 0. */
static void soften(float *scores, int64_t pages, int64_t first, int64_t last) {
    for (int64_t t = 0; t < pages * PAGE; t++)
        if (t < first || t > last) scores[t] = -INFINITY;
    vf top = spread(-INFINITY);
    for (int64_t t = 0; t < pages * PAGE; t += W) {
        vf s = load(scores + t);
        vi more = s > top;
        top = (vf)((more & (vi)s) | (~more & (vi)top));
    }
    float most = highest(top);
    vf sum = {};
    for (int64_t t = 0; t < pages * PAGE; t += W) {
        vf e = exps(load(scores + t) - most);
        store(scores + t, e);
        sum += e;
    }
    float share = 1.0f / total(sum);
    for (int64_t t = 0; t < pages * PAGE; t += W) store(scores + t, load(scores + t) * share);
}

typedef struct {
    const void *q, *k, *v;          /* this step's, [B][H][D], [B][G][D], [B][G][Dv]; rows may lie apart */
    void *k_pages, *v_pages, *o;    /* this layer's pages; [B][H][Dv] */
    const int32_t *table;           /* [B][columns]: the pages of each row */
    const int32_t *lengths;         /* [B]: tokens before this one */
    int64_t columns, rows, heads, groups, d, dv, q_stride, k_stride, v_stride, window;
    float scale;
} Step;

INLINE void attend_group(const Step *s, int64_t b, int64_t g, float *scratch, int type) {
    int64_t each = s->heads / s->groups, length = s->lengths[b];
    int64_t first = s->window && length + 1 > s->window ? length + 1 - s->window : 0;
    int64_t from = first / PAGE, to = length / PAGE, pages = to - from + 1, stride = pages * PAGE;
    const int32_t *table = s->table + b * s->columns;
    int64_t slot = length % PAGE, page = table[to];
    int64_t k_at = (page * s->groups + g) * s->d * PAGE, v_at = (page * s->groups + g) * PAGE * s->dv;
    for (int64_t d = 0; d < s->d; d++)
        put1(s->k_pages, type, k_at + d * PAGE + slot, get1(s->k, type, b * s->k_stride + g * s->d + d));
    for (int64_t d = 0; d < s->dv; d++)
        put1(s->v_pages, type, v_at + slot * s->dv + d, get1(s->v, type, b * s->v_stride + g * s->dv + d));

    float *q = scratch, *scores = scratch + each * s->d, *sum = scores + each * stride;
    for (int64_t i = 0; i < each * s->d; i++)
        q[i] = get1(s->q, type, b * s->q_stride + g * each * s->d + i) * s->scale;
    for (int64_t p = 0; p < pages; p++) {
        int64_t at = ((int64_t)table[from + p] * s->groups + g) * s->d * PAGE;
        for (int64_t i = 0; i < each; i += 4)
            scores_of(q + i * s->d, each - i, s->d, s->k_pages, type, at, scores + i * stride + p * PAGE, stride);
    }
    for (int64_t i = 0; i < each; i++) {
        soften(scores + i * stride, pages, first - from * PAGE, length - from * PAGE);
        memset(sum, 0, s->dv * sizeof *sum);
        for (int64_t p = 0; p < pages; p++) {
            int64_t at = ((int64_t)table[from + p] * s->groups + g) * PAGE * s->dv;
            /* Beyond the last token a page holds whatever it held before, NaN too, so it is not even read. */
            int64_t real = p + 1 < pages ? PAGE : slot + 1;
            for (int64_t d = 0; d < s->dv; d += W) {
                vf part = load(sum + d);
                for (int64_t t = 0; t < real; t++)
                    part += scores[i * stride + p * PAGE + t] * get(s->v_pages, type, at + t * s->dv + d);
                store(sum + d, part);
            }
        }
        for (int64_t d = 0; d < s->dv; d += W)
            put(s->o, type, (b * s->heads + g * each + i) * s->dv + d, load(sum + d));
    }
}

/* Needs head widths that are multiples of 16. Returns 0, or 1 when there is no memory. */
int paged_attend(const void *q, const void *k, const void *v, void *k_pages, void *v_pages, void *o,
                 const int32_t *table, const int32_t *lengths, int64_t columns, int64_t rows, int64_t heads,
                 int64_t groups, int64_t d, int64_t dv, int64_t q_stride, int64_t k_stride, int64_t v_stride,
                 int64_t window, float scale, int type, int threads) {
    Step step = {q, k, v, k_pages, v_pages, o, table, lengths, columns, rows, heads, groups, d, dv, q_stride, k_stride,
                 v_stride, window, scale};
    int64_t each = heads / groups, longest = 0, looks = 0;
    for (int64_t b = 0; b < rows; b++) {
        longest = lengths[b] > longest ? lengths[b] : longest;
        looks += lengths[b] * heads * (d + dv);
    }
    int64_t room = each * d + each * (longest / PAGE + 2) * PAGE + dv;
    int failed = 0;
#pragma omp parallel num_threads(looks < WORTH_A_THREAD ? 1 : threads) reduction(| : failed)
    {
        float *scratch = malloc(room * sizeof *scratch);
        failed |= scratch == NULL;
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < rows * groups; i++) {
            if (!scratch) continue;
            if (type == FLOAT32) attend_group(&step, i / groups, i % groups, scratch, FLOAT32);
            else attend_group(&step, i / groups, i % groups, scratch, BFLOAT16);
        }
        free(scratch);
    }
    return failed;
}
