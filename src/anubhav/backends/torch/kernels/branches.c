/* Attention over the branches of a trie, forward and backward. A job is one branch and one group of key-value heads: it
   gathers the keys and values of the branch's path once, for all query heads that share them. Everything is made of one
   small matrix product. What a job learns about keys and values stays its own until all are done and is then added in
   the order of the branches, so that threads change no result. */
#include "vectors.h"
#include <stdlib.h>

#define INLINE static inline __attribute__((always_inline))
#ifdef __AVX512F__
#define TILE_ROWS 8
#define TILE_VECTORS 2
#else /* half as many registers */
#define TILE_ROWS 4
#define TILE_VECTORS 2
#endif
#define BLOCK 48 /* queries at a time: a multiple of TILE_ROWS */
#define STEP 32  /* keys are padded to a multiple of this one */
#define UP(n, step) (((n) + (step) - 1) / (step) * (step))

typedef struct {
    const void *q, *k, *v, *o, *d_o;   /* [T][H][D], [T][G][D]; o and d_o without gaps */
    void *out, *dq;                    /* [T][H][D] */
    float *sums;                       /* [T][H]: log of the sum of each row's exponentials */
    float *dk_paths, *dv_paths;        /* [all paths][G][D] */
    const int32_t *paths;              /* the rows of each branch's path, one path after the other */
    const int64_t *bounds;             /* [branches][3]: where its path begins, how long it is, how much is shared */
    int64_t q_stride, k_stride, v_stride, branches, heads, groups, d, type, threads;
    float scale;
} Attention;

/* C[m][n] (+)= A B for a B of rows; A is read at i * a_row + k * a_col. m is a multiple of TILE_ROWS, n of 16. */
INLINE void tile(int vectors, const float *a, int64_t a_row, int64_t a_col, const float *b, int64_t b_row, float *c,
                 int64_t c_row, int64_t depth, int more) {
    vf sum[TILE_ROWS][TILE_VECTORS];
#pragma GCC unroll 8
    for (int i = 0; i < TILE_ROWS; i++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) sum[i][v] = more ? load(c + i * c_row + v * W) : (vf){};
    for (int64_t k = 0; k < depth; k++) {
        vf row[TILE_VECTORS];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) row[v] = load(b + k * b_row + v * W);
#pragma GCC unroll 8
        for (int i = 0; i < TILE_ROWS; i++)
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++) sum[i][v] += a[i * a_row + k * a_col] * row[v];
    }
#pragma GCC unroll 8
    for (int i = 0; i < TILE_ROWS; i++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) store(c + i * c_row + v * W, sum[i][v]);
}

static void multiply(int64_t m, int64_t n, int64_t depth, const float *a, int64_t a_row, int64_t a_col, const float *b,
                     int64_t b_row, float *c, int64_t c_row, int more) {
    for (int64_t j = 0; j < n;) {
        int wide = n - j >= TILE_VECTORS * W;
        for (int64_t i = 0; i < m; i += TILE_ROWS) {
            if (wide) tile(TILE_VECTORS, a + i * a_row, a_row, a_col, b + j, b_row, c + i * c_row + j, c_row, depth, more);
            else tile(1, a + i * a_row, a_row, a_col, b + j, b_row, c + i * c_row + j, c_row, depth, more);
        }
        j += wide ? TILE_VECTORS * W : W;
    }
}

/* A head's part of some rows, as floats times `scale`; rows up to `room` are filled with 0. */
static void gather(const void *x, int64_t type, int64_t stride, int64_t at, int64_t d, const int32_t *rows, int64_t n,
                   int64_t room, float scale, float *to) {
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < d; i += W) store(to + j * d + i, get(x, (int)type, rows[j] * stride + at + i) * scale);
    memset(to + n * d, 0, (room - n) * d * sizeof(float));
}

static void turn_over(const float *x, int64_t n, int64_t d, float *to, int64_t to_row) {
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < d; i++) to[i * to_row + j] = x[j * d + i];
}

/* One row of scores into weights of sum 1; 0 from `seen` on. Gives the log of the sum of the exponentials. */
static float soften_seen(float *s, int64_t seen, int64_t room) {
    for (int64_t j = seen; j < room; j++) s[j] = -INFINITY;
    vf top = spread(-INFINITY), sum = {};
    for (int64_t j = 0; j < room; j += W) {
        vf v = load(s + j);
        vi higher = v > top;
        top = (vf)((higher & (vi)v) | (~higher & (vi)top));
    }
    float most = highest(top);
    for (int64_t j = 0; j < room; j += W) {
        vf e = exps(load(s + j) - most);
        store(s + j, e);
        sum += e;
    }
    float all = total(sum);
    for (int64_t j = 0; j < room; j += W) store(s + j, load(s + j) * (1.0f / all));
    return most + logf(all);
}

typedef struct { float *k, *v, *k_over, *v_over, *dk, *dv, *q, *o, *d_o, *dq, *s, *ds; } Room;

/* Room for the longest path, in one piece; 0 when there is none. */
static float *make_room(Room *room, int64_t keys, int64_t d) {
    int64_t side = keys * d, over = d * (keys + W), block = BLOCK * d, scores = BLOCK * keys;
    float *all = aligned_alloc(64, UP((4 * side + 2 * over + 4 * block + 2 * scores) * sizeof(float), 64));
    float *at = all;
    room->k = at, at += side, room->v = at, at += side, room->dk = at, at += side, room->dv = at, at += side;
    room->k_over = at, at += over, room->v_over = at, at += over;
    room->q = at, at += block, room->o = at, at += block, room->d_o = at, at += block, room->dq = at, at += block;
    room->s = at, at += scores, room->ds = at;
    return all;
}

static void job_forward(const Attention *a, const Room *room, int64_t branch, int64_t group) {
    const int64_t *bound = a->bounds + 3 * branch, length = bound[1], shared = bound[2], d = a->d;
    const int32_t *path = a->paths + bound[0];
    int64_t keys = UP(length, STEP), over = keys + W, each = a->heads / a->groups;
    gather(a->k, a->type, a->k_stride, group * d, d, path, length, keys, 1, room->k);
    gather(a->v, a->type, a->v_stride, group * d, d, path, length, keys, 1, room->v);
    turn_over(room->k, keys, d, room->k_over, over);
    for (int64_t head = group * each; head < (group + 1) * each; head++)
        for (int64_t first = shared; first < length; first += BLOCK) {
            int64_t n = length - first < BLOCK ? length - first : BLOCK, m = UP(n, TILE_ROWS), seen = UP(first + n, STEP);
            gather(a->q, a->type, a->q_stride, head * d, d, path + first, n, m, a->scale, room->q);
            multiply(m, seen, d, room->q, d, 1, room->k_over, over, room->s, keys, 0);
            for (int64_t i = 0; i < n; i++)
                a->sums[path[first + i] * a->heads + head] = soften_seen(room->s + i * keys, first + i + 1, seen);
            multiply(m, d, seen, room->s, keys, 1, room->v, d, room->o, d, 0);
            for (int64_t i = 0; i < n; i++)
                for (int64_t c = 0; c < d; c += W)
                    put(a->out, (int)a->type, (path[first + i] * a->heads + head) * d + c, load(room->o + i * d + c));
        }
}

static void job_backward(const Attention *a, const Room *room, int64_t branch, int64_t group) {
    const int64_t *bound = a->bounds + 3 * branch, length = bound[1], shared = bound[2], d = a->d;
    const int32_t *path = a->paths + bound[0];
    int64_t keys = UP(length, STEP), over = keys + W, each = a->heads / a->groups, row = a->heads * d;
    gather(a->k, a->type, a->k_stride, group * d, d, path, length, keys, 1, room->k);
    gather(a->v, a->type, a->v_stride, group * d, d, path, length, keys, 1, room->v);
    turn_over(room->k, keys, d, room->k_over, over);
    turn_over(room->v, keys, d, room->v_over, over);
    memset(room->dk, 0, keys * d * sizeof(float));
    memset(room->dv, 0, keys * d * sizeof(float));
    for (int64_t head = group * each; head < (group + 1) * each; head++)
        for (int64_t first = shared; first < length; first += BLOCK) {
            int64_t n = length - first < BLOCK ? length - first : BLOCK, m = UP(n, TILE_ROWS), seen = UP(first + n, STEP);
            gather(a->q, a->type, a->q_stride, head * d, d, path + first, n, m, a->scale, room->q);
            gather(a->o, a->type, row, head * d, d, path + first, n, m, 1, room->o);
            gather(a->d_o, a->type, row, head * d, d, path + first, n, m, 1, room->d_o);
            multiply(m, seen, d, room->q, d, 1, room->k_over, over, room->s, keys, 0);
            multiply(m, seen, d, room->d_o, d, 1, room->v_over, over, room->ds, keys, 0);
            for (int64_t i = 0; i < m; i++) {
                float *s = room->s + i * keys, *ds = room->ds + i * keys;
                if (i >= n) {
                    memset(s, 0, seen * sizeof(float)), memset(ds, 0, seen * sizeof(float));
                    continue;
                }
                float sum = a->sums[path[first + i] * a->heads + head];
                vf inner = {};
                for (int64_t c = 0; c < d; c += W) inner += load(room->o + i * d + c) * load(room->d_o + i * d + c);
                float pulled = total(inner);
                for (int64_t j = first + i + 1; j < seen; j++) s[j] = -INFINITY;
                for (int64_t j = 0; j < seen; j += W) {
                    vf p = exps(load(s + j) - sum);
                    store(s + j, p);
                    store(ds + j, p * (load(ds + j) - pulled));
                }
            }
            multiply(seen, d, m, room->s, 1, keys, room->d_o, d, room->dv, d, 1);
            multiply(seen, d, m, room->ds, 1, keys, room->q, d, room->dk, d, 1);
            multiply(m, d, seen, room->ds, keys, 1, room->k, d, room->dq, d, 0);
            for (int64_t i = 0; i < n; i++)
                for (int64_t c = 0; c < d; c += W)
                    put(a->dq, (int)a->type, (path[first + i] * a->heads + head) * d + c,
                        load(room->dq + i * d + c) * a->scale);
        }
    for (int64_t j = 0; j < length; j++) {
        int64_t to = ((bound[0] + j) * a->groups + group) * d;
        memcpy(a->dk_paths + to, room->dk + j * d, d * sizeof(float));
        memcpy(a->dv_paths + to, room->dv + j * d, d * sizeof(float));
    }
}

static int64_t longest(const Attention *a) {
    int64_t most = 1;
    for (int64_t b = 0; b < a->branches; b++) most = a->bounds[3 * b + 1] > most ? a->bounds[3 * b + 1] : most;
    return UP(most, STEP);
}

static int run_jobs(const Attention *a, void (*job)(const Attention *, const Room *, int64_t, int64_t)) {
    int failed = 0;
    int64_t keys = longest(a);
#pragma omp parallel num_threads((int)a->threads)
    {
        Room room;
        float *all = make_room(&room, keys, a->d);
        if (!all) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(dynamic, 1)
        for (int64_t one = 0; one < a->branches * a->groups; one++)
            if (all) job(a, &room, one / a->groups, one % a->groups);
        free(all);
    }
    return failed;
}

/* D is a multiple of 16. Returns 0, or 1 when there is no memory. */
int attend_branches(const Attention *a) { return run_jobs(a, job_forward); }

/* Also adds the paths' parts up into dk and dv, [T][G][D] floats that begin at 0. */
int attend_branches_back(const Attention *a, float *dk, float *dv) {
    if (run_jobs(a, job_backward)) return 1;
    int64_t width = a->groups * a->d, slices = width / W;
#pragma omp parallel for num_threads((int)a->threads) schedule(static)
    for (int64_t slice = 0; slice < slices; slice++)
        for (int64_t b = 0; b < a->branches; b++)
            for (int64_t j = a->bounds[3 * b]; j < a->bounds[3 * b] + a->bounds[3 * b + 1]; j++) {
                int64_t to = a->paths[j] * width + slice * W, from = j * width + slice * W;
                store(dk + to, load(dk + to) + load(a->dk_paths + from));
                store(dv + to, load(dv + to) + load(a->dv_paths + from));
            }
    return 0;
}
