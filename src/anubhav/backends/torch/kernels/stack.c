/* All layers of a plain decoder for a few rows that decode, in one call: between kernels that take microseconds, going
   back to Python takes as long as they do. What is computed, and in which order, is what `model.py` computes. */
#include "vectors.h"
#include <stdlib.h>

int few(const void *x, const void *w, const float *bias, void *y, int64_t rows, int64_t inputs, int64_t outputs,
        int type, int out, int threads);
int adapt(const void *x, void *y, const int32_t *rows, const int32_t *ends, int64_t segments, const int32_t *ranks,
          const float *scales, const int64_t *places, int64_t modules, const int64_t *offsets, int64_t inputs, int type,
          int threads);
int paged_attend(const void *q, const void *k, const void *v, void *k_pages, void *v_pages, void *o,
                 const int32_t *table, const int32_t *lengths, int64_t columns, int64_t rows, int64_t heads,
                 int64_t groups, int64_t d, int64_t dv, int64_t q_stride, int64_t k_stride, int64_t v_stride,
                 int64_t window, float scale, int type, int threads);
void norm(const void *x, int64_t xt, const void *w, void *y, int64_t yt, float *scale, int64_t rows, int64_t n,
          float eps, int64_t threads);
void swiglu(const void *x, void *y, int64_t type, int64_t rows, int64_t n, int64_t threads);
void turn(const void *x, int64_t stride, void *y, int64_t type, int64_t rows, int64_t heads, int64_t half,
          const float *cosine, const float *sine, float sign, int64_t threads);

typedef struct {
    const void *attention_norm, *qkv, *q_norm, *k_norm, *o, *mlp_norm, *gate_up, *down; /* q_norm may be missing */
    const float *qkv_bias;
    void *k_pages, *v_pages;
    int64_t window;
    int64_t turning; /* which of the batch's angles */
} Layer;

typedef struct {
    const Layer *layers;
    int64_t count, hidden, heads, groups, d, inner, type;
    float eps;
} Stack;

typedef struct {
    const int64_t *places, *offsets;
    int64_t modules;
} Site;

typedef struct {
    float *x; /* [rows][hidden], what is added up over the layers */
    const float *cosine[2], *sine[2];
    const int32_t *table, *lengths;      /* pages, as paged_attend takes them */
    const int32_t *adapted, *ends, *ranks; /* adapters, as adapt takes them */
    const float *scales;
    const Site *sites; /* [layers][4]: qkv, o, gate_up, down; null without adapters */
    int64_t rows, columns, segments, threads;
} Batch;

static int linear(const Stack *s, const Batch *b, int64_t layer, int64_t place, const void *x, const void *w,
                  const float *bias, void *y, int64_t inputs, int64_t outputs) {
    int failed = few(x, w, bias, y, b->rows, inputs, outputs, BFLOAT16, (int)s->type, (int)b->threads);
    const Site *site = b->sites ? b->sites + layer * 4 + place : NULL;
    if (failed || !site || !site->places) return failed;
    return adapt(x, y, b->adapted, b->ends, b->segments, b->ranks, b->scales, site->places, site->modules,
                 site->offsets, inputs, (int)s->type, (int)b->threads);
}

static void add_to(float *x, const void *y, int64_t type, int64_t count) {
    for (int64_t i = 0; i < count; i += W) store(x + i, load(x + i) + get(y, (int)type, i));
}

/* Widths are multiples of 32 and half a head is one of 16; the weights are bfloat16, type is that of all between.
   Returns 0, or 1 when there is no memory. */
int decode_stack(const Stack *s, const Batch *b) {
    int64_t rows = b->rows, e = s->hidden, d = s->d, q = s->heads * d, kv = s->groups * d, wide = q + 2 * kv;
    int64_t bytes = s->type == FLOAT32 ? 4 : 2, most = rows * (3 * e + 2 * wide + q + 3 * s->inner);
    char *room = aligned_alloc(64, (most * bytes + rows * (s->heads + s->groups) * 4 + 127) / 64 * 64);
    if (!room) return 1;
    char *h = room, *y = h + rows * e * bytes, *qkv = y + rows * e * bytes, *turned = qkv + rows * wide * bytes;
    char *o = turned + rows * wide * bytes, *gate_up = o + rows * q * bytes, *f = gate_up + rows * 2 * s->inner * bytes;
    float *scale = (float *)(f + rows * s->inner * bytes);
    int failed = 0;
    for (int64_t n = 0; n < s->count && !failed; n++) {
        const Layer *layer = s->layers + n;
        norm(b->x, FLOAT32, layer->attention_norm, h, s->type, scale, rows, e, s->eps, b->threads);
        failed |= linear(s, b, n, 0, h, layer->qkv, layer->qkv_bias, qkv, e, wide);
        for (int64_t r = 0; layer->q_norm && r < rows; r++) {
            char *at = qkv + r * wide * bytes;
            norm(at, s->type, layer->q_norm, at, s->type, scale, s->heads, d, s->eps, 1);
            norm(at + q * bytes, s->type, layer->k_norm, at + q * bytes, s->type, scale, s->groups, d, s->eps, 1);
        }
        turn(qkv, wide, turned, s->type, rows, s->heads + s->groups, d / 2, b->cosine[layer->turning],
             b->sine[layer->turning], 1.0f, b->threads);
        failed |= paged_attend(turned, turned + q * bytes, qkv + (q + kv) * bytes, layer->k_pages, layer->v_pages, o,
                               b->table, b->lengths, b->columns, rows, s->heads, s->groups, d, d, q + kv, q + kv, wide,
                               layer->window, 1.0f / sqrtf((float)d), (int)s->type, (int)b->threads);
        failed |= linear(s, b, n, 1, o, layer->o, NULL, y, q, e);
        add_to(b->x, y, s->type, rows * e);
        norm(b->x, FLOAT32, layer->mlp_norm, h, s->type, scale, rows, e, s->eps, b->threads);
        failed |= linear(s, b, n, 2, h, layer->gate_up, NULL, gate_up, e, 2 * s->inner);
        swiglu(gate_up, f, s->type, rows, s->inner, b->threads);
        failed |= linear(s, b, n, 3, f, layer->down, NULL, y, s->inner, e);
        add_to(b->x, y, s->type, rows * e);
    }
    free(room);
    return failed;
}
