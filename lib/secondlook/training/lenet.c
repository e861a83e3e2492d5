/* A training step of LeNet under cross-entropy, by SGD or AdamW, in one call; `native.py` makes it.

   The net is models/lenet.py: two 5x5 convolutions (3 to 6 and 6 to 16 channels), each with ReLU and 2x2 max-pooling,
   then dense 120, 84 and the classes, on images of 3 x 32 x 32 floats. At batch 4 a framework spends most of a step
   between its operations. Here a vector holds neighbouring pixels, or all channels of one, and the way back through a
   pooled convolution visits only the pixels that won their pool.

   Weights lie as torch has them, and so does what the optimiser remembers. NaN is passed on. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef float v4 __attribute__((vector_size(16), aligned(4)));
typedef float v8 __attribute__((vector_size(32), aligned(4)));
typedef float v16 __attribute__((vector_size(64), aligned(4)));
typedef int32_t i16 __attribute__((vector_size(64), aligned(4)));

enum { SIDE = 32, K = 5, C0 = 3, C1 = 6, C2 = 16, P1 = 14, P2 = 5, FLAT = C2 * P2 * P2, D1 = 120, D2 = 84 };
enum { ROW0 = 40, ROW1 = 24 };  /* floats from row to row: vectors may read past the end of an image's row */
enum { BLOCK = 4, CLASSES = 1024 };

#define INLINE static inline __attribute__((always_inline))
#define AT(type, pointer) (*(type *)(pointer))

/* What one image leaves behind for its way back. */
typedef struct {
    float input[C0][SIDE][ROW0];
    float pool1[C1][P1][ROW1], back1[C1][P1][ROW1];
    int32_t won1[C1][P1][16];      /* which of its four pixels each pool took, row by row; -1 where ReLU is shut */
    int32_t won2[P2 * P2][C2];
    float flat[FLAT], back_flat[FLAT];
    float hidden1[D1], back_hidden1[D1], hidden2[D2], back_hidden2[D2];
    float logits[CLASSES], back_logits[CLASSES];
} Image;

static _Thread_local Image images[BLOCK];

/* The largest of four, the first of equals, through ReLU. */
INLINE v16 pooled(v16 a, v16 b, v16 c, v16 d, int32_t *won) {
    v16 rest[3] = {b, c, d};
    i16 most = (i16)a, index = {0};
    for (int k = 0; k < 3; k++) {
        i16 above = (rest[k] > (v16)most) | (rest[k] != rest[k]);
        most = (above & (i16)rest[k]) | (~above & most);
        index = (above & (k + 1)) | (~above & index);
    }
    i16 open = ((v16)most > 0.0f) | ((v16)most != (v16)most);
    AT(i16, won) = index | ~open;
    return (v16)(most & open);
}

#define EACH6(F) F(0) F(1) F(2) F(3) F(4) F(5)
#define EACH10(F) EACH6(F) F(6) F(7) F(8) F(9)

static void convolve1(Image *image, const float *weight, const float *bias) {
    const i16 even = {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30}, odd = even + 1;
    for (int py = 0; py < P1; py++) {
        v16 left[2][C1], right[2][C1];
        for (int y = 0; y < 2; y++) {
#define BEGIN(o) v16 l##o = (v16){0} + bias[o], r##o = l##o;
            EACH6(BEGIN)
            for (int c = 0; c < C0; c++)
                for (int ky = 0; ky < K; ky++)
                    for (int kx = 0; kx < K; kx++) {
                        const float *pixel = image->input[c][2 * py + y + ky] + kx;
                        const float *tap = weight + (c * K + ky) * K + kx;
                        v16 here = AT(v16, pixel), there = AT(v16, pixel + 16);
#define ADD(o) l##o += tap[o * C0 * K * K] * here, r##o += tap[o * C0 * K * K] * there;
                        EACH6(ADD)
                    }
#define KEEP(o) left[y][o] = l##o, right[y][o] = r##o;
            EACH6(KEEP)
        }
        for (int o = 0; o < C1; o++) {
            v16 *l = &left[0][o], *r = &right[0][o];
            AT(v16, image->pool1[o][py]) =
                pooled(__builtin_shuffle(l[0], r[0], even), __builtin_shuffle(l[0], r[0], odd),
                       __builtin_shuffle(l[C1], r[C1], even), __builtin_shuffle(l[C1], r[C1], odd), image->won1[o][py]);
        }
    }
}

/* `taps` is the weight as (input channel, ky, kx, output channel). */
static void convolve2(Image *image, const float *taps, const float *bias) {
    for (int py = 0; py < P2; py++) {
        v16 sums[2][2 * P2];
        for (int y = 0; y < 2; y++) {
#define BEGIN2(x) v16 s##x = AT(v16, bias);
            EACH10(BEGIN2)
            for (int c = 0; c < C1; c++)
                for (int ky = 0; ky < K; ky++)
                    for (int kx = 0; kx < K; kx++) {
                        const float *pixel = image->pool1[c][2 * py + y + ky] + kx;
                        v16 tap = AT(v16, taps + ((c * K + ky) * K + kx) * C2);
#define ADD2(x) s##x += tap * pixel[x];
                        EACH10(ADD2)
                    }
#define KEEP2(x) sums[y][x] = s##x;
            EACH10(KEEP2)
        }
        for (int px = 0; px < P2; px++) {
            int at = py * P2 + px;
            v16 *up = &sums[0][2 * px], *down = &sums[1][2 * px];
            v16 value = pooled(up[0], up[1], down[0], down[1], image->won2[at]);
            for (int o = 0; o < C2; o++) image->flat[o * P2 * P2 + at] = value[o];
        }
    }
}

/* Adds to the second convolution's gradients, and gives what reaches the first pool. `kernels` is the weight as
   (output channel, input channel, ky, 8), `sums` the same for its gradient: five taps and nothing. */
static void back2(Image *image, const float (*kernels)[C1][K][8], float (*sums)[C1][K][8], float *bias) {
    memset(image->back1, 0, sizeof image->back1);
    for (int o = 0; o < C2; o++)
        for (int at = 0; at < P2 * P2; at++) {
            float d = image->back_flat[o * P2 * P2 + at];
            int won = image->won2[at][o];
            if (won < 0) continue;
            int y = at / P2 * 2 + (won >> 1), x = at % P2 * 2 + (won & 1);
            bias[o] += d;
            for (int c = 0; c < C1; c++)
                for (int ky = 0; ky < K; ky++) {
                    AT(v8, sums[o][c][ky]) += d * AT(v8, image->pool1[c][y + ky] + x);
                    AT(v8, image->back1[c][y + ky] + x) += d * AT(v8, kernels[o][c][ky]);
                }
        }
}

static void back1(Image *image, float (*sums)[C0][K][8], float *bias) {
    for (int o = 0; o < C1; o++) {
        int count = 0, places[P1 * P1];
        float gradients[P1 * P1], sum = 0.0f;
        for (int py = 0; py < P1; py++)
            for (int px = 0; px < P1; px++) { /* no branch: half of the pools are shut, and none can tell which */
                int won = image->won1[o][py][px];
                places[count] = (2 * py + (won >> 1)) * ROW0 + 2 * px + (won & 1);
                gradients[count] = image->back1[o][py][px];
                count += won >= 0;
            }
        v8 rows[C0 * K];
        for (int r = 0; r < C0 * K; r++) rows[r] = AT(v8, sums[o][r / K][r % K]);
        for (int k = 0; k < count; k++) {
            const float *pixel = image->input[0][0] + places[k];
            sum += gradients[k];
#pragma GCC unroll 15
            for (int r = 0; r < C0 * K; r++)
                rows[r] += gradients[k] * AT(v8, pixel + (r / K * SIDE + r % K) * ROW0);
        }
        for (int r = 0; r < C0 * K; r++) AT(v8, sums[o][r / K][r % K]) = rows[r];
        bias[o] += sum;
    }
}

INLINE float total(v16 v) {
    v8 h[2];
    memcpy(h, &v, sizeof h);
    v8 s = h[0] + h[1];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

/* Dense layers over n images, n known to the compiler; x and y are the places of their vectors in an image.
   All widths are multiples of 4. */
#define PART(image, place) ((float *)((char *)(image) + (place)))

INLINE void dense(int n, int in, int out, const float *weight, const float *bias, size_t x, size_t y, int relu) {
    for (int o = 0; o < out; o++, weight += in) {
        v16 sums[BLOCK] = {{0}};
        v4 rest[BLOCK] = {{0}};
        int i = 0;
        for (; i + 16 <= in; i += 16)
            for (int k = 0; k < n; k++) sums[k] += AT(v16, weight + i) * AT(v16, PART(&images[k], x) + i);
        for (; i < in; i += 4)
            for (int k = 0; k < n; k++) rest[k] += AT(v4, weight + i) * AT(v4, PART(&images[k], x) + i);
        for (int k = 0; k < n; k++) {
            v4 r = rest[k];
            float value = total(sums[k]) + ((r[0] + r[2]) + (r[1] + r[3])) + bias[o];
            PART(&images[k], y)[o] = relu && value <= 0.0f ? 0.0f : value;
        }
    }
}

/* Adds to gradients of weight and bias, and gives what reaches x through its ReLU. */
INLINE void back_dense(int n, int in, int out, const float *weight, float *dweight, float *dbias, size_t x, size_t dx,
                       size_t dy, int begin) {
    for (int o = 0; o < out; o++) {
        float d[BLOCK], sum = begin ? 0.0f : dbias[o], *row = dweight + o * in;
        for (int k = 0; k < n; k++) sum += d[k] = PART(&images[k], dy)[o];
        dbias[o] = sum;
        int i = 0;
#define OUTER(type)                                                               \
    {                                                                             \
        type value = begin ? (type){0} : AT(type, row + i);                       \
        for (int k = 0; k < n; k++) value += d[k] * AT(type, PART(&images[k], x) + i); \
        AT(type, row + i) = value;                                                \
    }
        for (; i + 16 <= in; i += 16) OUTER(v16)
        for (; i < in; i += 4) OUTER(v4)
    }
    int i = 0;
#define INNER(type)                                                                                      \
    {                                                                                                    \
        type sums[BLOCK] = {{0}};                                                                        \
        for (int o = 0; o < out; o++)                                                                    \
            for (int k = 0; k < n; k++) sums[k] += PART(&images[k], dy)[o] * AT(type, weight + o * in + i); \
        for (int k = 0; k < n; k++) AT(type, PART(&images[k], dx) + i) = sums[k];                        \
    }
    for (; i + 16 <= in; i += 16) INNER(v16)
    for (; i < in; i += 4) INNER(v4)
    for (int k = 0; k < n; k++)
        for (int j = 0; j < in; j++)
            if (PART(&images[k], x)[j] == 0.0f) PART(&images[k], dx)[j] = 0.0f;
}

/* Loss of one image, and share x its gradient in the logits; whether its label has the largest logit, in `right`. */
static double entropy(Image *image, int classes, int64_t label, float share, int *right) {
    const float *z = image->logits;
    int best = 0;
    for (int c = 1; c < classes; c++)
        if (z[c] > z[best]) best = c;
    float sum = 0.0f;
    for (int c = 0; c < classes; c++) sum += image->back_logits[c] = expf(z[c] - z[best]);
    for (int c = 0; c < classes; c++) image->back_logits[c] *= share / sum;
    image->back_logits[label] -= share;
    *right += best == label;
    return (double)(logf(sum) + z[best] - z[label]);
}

#define AREA(name) offsetof(Image, name)

INLINE void dense_layers(int n, int classes, float *const *w, float *const *g, const int64_t *y, float share,
                         int begin, double *loss, int *right) {
    dense(n, FLAT, D1, w[4], w[5], AREA(flat), AREA(hidden1), 1);
    dense(n, D1, D2, w[6], w[7], AREA(hidden1), AREA(hidden2), 1);
    dense(n, D2, classes, w[8], w[9], AREA(hidden2), AREA(logits), 0);
    for (int k = 0; k < n; k++) *loss += entropy(&images[k], classes, y[k], share, right);
    back_dense(n, D2, classes, w[8], g[8], g[9], AREA(hidden2), AREA(back_hidden2), AREA(back_logits), begin);
    back_dense(n, D1, D2, w[6], g[6], g[7], AREA(hidden1), AREA(back_hidden1), AREA(back_hidden2), begin);
    back_dense(n, FLAT, D1, w[4], g[4], g[5], AREA(flat), AREA(back_flat), AREA(back_hidden1), begin);
}

/* Where the images of a step come from: row by row, stored pixels and what each level of a channel becomes, or, with
   `stored` NULL, the step's own images x (batch, 3, 32, 32). Labels are of all rows. */
typedef struct {
    const uint8_t *stored;
    const float *levels, *x;
    const int64_t *labels, *rows;
} Batch;

static void take(Image *image, const Batch *from, int k) {
    size_t at = (size_t)(from->stored ? from->rows[k] : k) * C0 * SIDE * SIDE;
    for (int r = 0; r < C0 * SIDE; r++, at += SIDE) {
        float *row = image->input[r / SIDE][r % SIDE];
        const float *levels = from->levels + r / SIDE * 256;
        if (!from->stored)
            memcpy(row, from->x + at, SIDE * sizeof(float));
        else
            for (int i = 0; i < SIDE; i++) row[i] = levels[from->stored[at + i]];
    }
}

/* Gradients `g` of the mean loss over `batch` images at the weights w, ten of each in the net's order. Returns the mean
   loss. */
static double gradients(int batch, int classes, const Batch *from, float *const *w, float *const *g, int *right) {
    float taps[C1 * K * K * C2], kernels[C2][C1][K][8] = {0};
    float sums1[C1][C0][K][8] = {0}, sums2[C2][C1][K][8] = {0}, bias1[C1] = {0}, bias2[C2] = {0};
    for (int o = 0; o < C2; o++)
        for (int r = 0; r < C1 * K * K; r++) {
            taps[r * C2 + o] = w[2][o * C1 * K * K + r];
            kernels[o][r / (K * K)][r / K % K][r % K] = w[2][o * C1 * K * K + r];
        }
    double loss = 0;
    for (int first = 0, n; first < batch; first += n) {
        int64_t labels[BLOCK];
        n = batch - first >= BLOCK ? BLOCK : 1;
        for (int k = 0; k < n; k++) {
            take(&images[k], from, first + k);
            labels[k] = from->labels[from->rows[first + k]];
            convolve1(&images[k], w[0], w[1]);
            convolve2(&images[k], taps, w[3]);
        }
        if (n == BLOCK)
            dense_layers(BLOCK, classes, w, g, labels, 1.0f / batch, first == 0, &loss, right);
        else
            dense_layers(1, classes, w, g, labels, 1.0f / batch, first == 0, &loss, right);
        for (int k = 0; k < n; k++) {
            back2(&images[k], kernels, sums2, bias2);
            back1(&images[k], sums1, bias1);
        }
    }
    for (int r = 0; r < C1 * C0 * K * K; r++) g[0][r] = sums1[r / (C0 * K * K)][r / (K * K) % C0][r / K % K][r % K];
    for (int r = 0; r < C2 * C1 * K * K; r++) g[2][r] = sums2[r / (C1 * K * K)][r / (K * K) % C1][r / K % K][r % K];
    memcpy(g[1], bias1, sizeof bias1);
    memcpy(g[3], bias2, sizeof bias2);
    return loss / batch;
}

static float norm(const float *g, int n) {
    v16 squares = {0};
    int i = 0;
    for (; i + 16 <= n; i += 16) squares += AT(v16, g + i) * AT(v16, g + i);
    float sum = total(squares);
    for (; i < n; i++) sum += g[i] * g[i];
    return sqrtf(sum);
}

/* As torch.optim.SGD; `m` is NULL without momentum. */
static void sgd(int n, float *restrict w, const float *restrict g, float *restrict m, const double *how) {
    float rate = how[0], decay = how[1], momentum = how[2];
    if (!m)
        for (int i = 0; i < n; i++) w[i] -= rate * (g[i] + decay * w[i]);
    else if (how[3])
        for (int i = 0; i < n; i++) {
            float d = g[i] + decay * w[i];
            m[i] = momentum * m[i] + d;
            w[i] -= rate * (d + momentum * m[i]);
        }
    else
        for (int i = 0; i < n; i++) w[i] -= rate * (m[i] = momentum * m[i] + (g[i] + decay * w[i]));
}

/* As torch.optim.AdamW, at its step number `step`. */
static void adamw(int n, float *restrict w, const float *restrict g, float *restrict m, float *restrict v, float step,
                  const double *how) {
    float kept = 1 - how[0] * how[1], beta1 = how[2], new1 = 1 - how[2], beta2 = how[3], new2 = 1 - how[3];
    float rate = how[0] / (1 - pow(how[2], step)), scale = 1 / sqrt(1 - pow(how[3], step)), eps = how[4];
    for (int i = 0; i < n; i++) {
        m[i] = beta1 * m[i] + new1 * g[i];
        v[i] = beta2 * v[i] + new2 * g[i] * g[i];
        w[i] = kept * w[i] - rate * m[i] / (sqrtf(v[i]) * scale + eps);
    }
}

/* A step on `batch` images. `first`, `second` and `steps` are what the optimiser remembers of the ten weights; `how` is
   rate, weight decay and, for SGD (`second` is NULL), momentum and whether Nesterov's, for AdamW, both betas and eps.
   Adds loss, right answers, the gradient's norm and the sum of its tensors' norms to `sums`, and to `finite` 1 while
   these are finite. */
void lenet_step(int batch, int classes, const uint8_t *stored, const float *levels, const float *x,
                const int64_t *labels, const int64_t *rows, float *const *w, float *const *g, float *const *first,
                float *const *second, float *const *steps, const double *how, double *sums, int64_t *finite) {
    const int sizes[] = {C1 * C0 * K * K, C1, C2 * C1 * K * K, C2, D1 * FLAT, D1, D2 * D1, D2, classes * D2, classes};
    int right = 0;
    Batch from = {stored, levels, x, labels, rows};
    double loss = gradients(batch, classes, &from, w, g, &right), squares = 0, norms = 0;
    for (int t = 0; t < 10; t++) {
        double own = norm(g[t], sizes[t]);
        squares += own * own;
        norms += own;
        if (second)
            adamw(sizes[t], w[t], g[t], first[t], second[t], ++*steps[t], how);
        else
            sgd(sizes[t], w[t], g[t], first ? first[t] : 0, how);
    }
    sums[0] += loss * batch;
    sums[1] += right;
    sums[2] += sqrt(squares);
    sums[3] += norms;
    *finite += isfinite(sums[0] + sums[1] + sums[2] + sums[3]) != 0;
}
