/* What exported networks are made of: text that is copied into them, by part, and compiled there. A part begins with a line
 * that names it and the parts it needs. Each function has the bits of the library's op. */

/*@ product */
/* a b + c, rounded once */
#if defined __FMA__ || defined __ARM_FEATURE_FMA || defined __aarch64__
static float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
#else
/* The product of two floats is exact in double. Their sum is rounded to odd, so that rounding it again to float is right. */
static float fused(float a, float b, float c) {
    const double p = (double)a * (double)b, z = (double)c, sum = p + z;
    const double of_z = sum - p, lost = (p - (sum - of_z)) + (z - of_z);
    uint64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    if (lost == lost && lost != 0 && !(bits & 1)) {
        bits = (lost > 0) == (sum > 0) ? bits + 1 : bits - 1;
        double odd;
        memcpy(&odd, &bits, sizeof odd);
        return (float)odd;
    }
    return (float)sum;
}
#endif

/*@ conv product */
/* Batch, channels in and out, groups; image, map, kernel; stride, dilation, padding at the top and at the left. */
typedef struct conv {
    int N, C, O, G, H, W, P, Q, R, S, stride[2], dilation[2], pad[2];
    const float *w, *bias; /* bias: NULL, or of each channel of the result */
    const double *norm;    /* NULL, or a factor and a shift of each */
    int relu;
    float most; /* infinity, or what relu ends at */
} conv;

static float finish(const conv *g, int channels, int k, float v) {
    v = v + 0.0f;
    if (g->bias) v = v + g->bias[k];
    if (g->norm) {
        const double product = (double)v * g->norm[k];
        v = (float)(product + g->norm[channels + k]);
    }
    if (g->relu) v = v <= 0 ? 0 : v, v = v > g->most ? g->most : v;
    return v;
}

/*@ conv2d_pixel conv */
static float conv2d_pixel(const conv *g, const float *x, int o, int p, int q) {
    const int C = g->C / g->G, h = p * g->stride[0] - g->pad[0], w = q * g->stride[1] - g->pad[1];
    const float *kernel = g->w + (size_t)o * (size_t)(C * g->R * g->S);
    float v = 0;
    x += (size_t)(o / (g->O / g->G) * C) * (size_t)(g->H * g->W);
    for (int c = 0; c < C; c++, x += g->H * g->W)
        for (int r = 0; r < g->R; r++)
            for (int s = 0; s < g->S; s++, kernel++) {
                const int i = h + r * g->dilation[0], j = w + s * g->dilation[1];
                if (i >= 0 && i < g->H && j >= 0 && j < g->W) v = fused(*kernel, x[i * g->W + j], v);
            }
    return finish(g, g->O, o, v);
}

/*@ conv2d conv2d_pixel */
static void conv2d(const conv *g, const float *x, float *y) {
    for (int n = 0; n < g->N; n++, x += g->C * g->H * g->W)
        for (int o = 0; o < g->O; o++)
            for (int p = 0; p < g->P; p++)
                for (int q = 0; q < g->Q; q++) *y++ = conv2d_pixel(g, x, o, p, q);
}

/*@ larger */
static float larger(float a, float b) { return a != a || b <= a ? a : b; }

/*@ conv2d_pooled conv2d_pixel larger */
/* The largest of windows of rows by columns of the map, which is not stored. */
static void conv2d_pooled(const conv *g, int rows, int columns, const float *x, float *y) {
    for (int n = 0; n < g->N; n++, x += g->C * g->H * g->W)
        for (int o = 0; o < g->O; o++)
            for (int p = 0; p + rows <= g->P; p += rows)
                for (int q = 0; q + columns <= g->Q; q += columns) {
                    float best = -INFINITY;
                    for (int i = 0; i < rows * columns; i++)
                        best = larger(best, conv2d_pixel(g, x, o, p + i / columns, q + i % columns));
                    *y++ = best;
                }
}

/*@ conv2d_transpose conv */
static float transpose_pixel(const conv *g, const float *y, int c, int h, int w) {
    const int C = g->C / g->G, O = g->O / g->G, taps = g->R * g->S;
    float v = 0;
    for (int k = c / C * O; k < c / C * O + O; k++) {
        const float *kernel = g->w + (size_t)(k * C + c % C) * (size_t)taps,
                    *map = y + (size_t)k * (size_t)(g->P * g->Q);
        for (int r = 0; r < g->R; r++)
            for (int s = 0; s < g->S; s++) {
                const int i = h + g->pad[0] - r * g->dilation[0], j = w + g->pad[1] - s * g->dilation[1];
                if (i < 0 || j < 0 || i % g->stride[0] || j % g->stride[1]) continue;
                const int p = i / g->stride[0], q = j / g->stride[1];
                if (p < g->P && q < g->Q) v = fused(kernel[r * g->S + s], map[p * g->Q + q], v);
            }
    }
    return finish(g, g->C, c, v);
}

static void conv2d_transpose(const conv *g, const float *y, float *x) {
    for (int n = 0; n < g->N; n++, y += g->O * g->P * g->Q)
        for (int c = 0; c < g->C; c++)
            for (int h = 0; h < g->H; h++)
                for (int w = 0; w < g->W; w++) *x++ = transpose_pixel(g, y, c, h, w);
}

/*@ matmul product */
/* a [M,K] and b [K,N] with the distances from one row and one column to the next */
static void matmul(int M, int K, int N, const float *a, const int a_step[2], const float *b,
                   const int b_step[2], float *c) {
    for (int m = 0; m < M; m++)
        for (int n = 0; n < N; n++) {
            float v = 0;
            for (int k = 0; k < K; k++)
                v = fused(a[m * a_step[0] + k * a_step[1]], b[k * b_step[0] + n * b_step[1]], v);
            *c++ = v + 0.0f;
        }
}

/*@ pool */
typedef struct pool {
    int planes, image[2], map[2], kernel[2], stride[2], pad[2], dilation[2];
    int exclude_pad, adaptive;
} pool;

/*@ max_pool2d pool larger */
static void max_pool2d(const pool *g, const float *x, float *y) {
    for (int n = 0; n < g->planes; n++, x += g->image[0] * g->image[1])
        for (int p = 0; p < g->map[0]; p++)
            for (int q = 0; q < g->map[1]; q++) {
                float best = -INFINITY;
                for (int r = 0; r < g->kernel[0]; r++)
                    for (int s = 0; s < g->kernel[1]; s++) {
                        const int h = p * g->stride[0] + r * g->dilation[0] - g->pad[0];
                        const int w = q * g->stride[1] + s * g->dilation[1] - g->pad[1];
                        if (h >= 0 && h < g->image[0] && w >= 0 && w < g->image[1])
                            best = larger(best, x[h * g->image[1] + w]);
                    }
                *y++ = best;
            }
}

/*@ mean_pool2d pool */
/* The pixels of result i along an axis, from *first on; returns their number, and the weight of each. */
static int pool_window(const pool *g, int axis, int i, int *first, double *weight) {
    const int in = g->image[axis];
    int from, to, all;
    if (g->adaptive) {
        from = i * in / g->map[axis], to = ((i + 1) * in + g->map[axis] - 1) / g->map[axis], all = to - from;
    } else {
        const int pad = g->pad[axis], begin = i * g->stride[axis];
        int end = begin + g->kernel[axis];
        if (end > in + 2 * pad) end = in + 2 * pad;
        all = end - begin, from = begin > pad ? begin - pad : 0, to = end - pad > in ? in : end - pad;
        if (g->exclude_pad) all = to - from;
    }
    *first = from, *weight = 1 / (double)all;
    return to - from;
}

static void mean_pool2d(const pool *g, const float *x, float *y) {
    for (int n = 0; n < g->planes; n++, x += g->image[0] * g->image[1])
        for (int p = 0; p < g->map[0]; p++)
            for (int q = 0; q < g->map[1]; q++) {
                int h, w;
                double down, across, sum = 0;
                const int rows = pool_window(g, 0, p, &h, &down), columns = pool_window(g, 1, q, &w, &across);
                for (int s = 0; s < columns; s++) {
                    double column = 0;
                    for (int r = 0; r < rows; r++) {
                        const double part = down * (double)x[(h + r) * g->image[1] + w + s];
                        column = column + part;
                    }
                    const double part = across * column;
                    sum = sum + part;
                }
                *y++ = (float)sum;
            }
}

/*@ nearest */
static void nearest(int planes, const int image[2], const int map[2], const float *x, float *y) {
    for (int n = 0; n < planes; n++, x += image[0] * image[1])
        for (int p = 0; p < map[0]; p++)
            for (int q = 0; q < map[1]; q++)
                *y++ = x[p * image[0] / map[0] * image[1] + q * image[1] / map[1]] + 0.0f;
}

/*@ bilinear */
/* The pixels of result i along an axis, from *first on, with their weights; returns their number. */
static int bilinear_window(int in, int out, int align, int i, int *first, double weight[2]) {
    const double corners = out > 1 ? (double)(in - 1) / (double)(out - 1) : 0,
                 scale = align ? corners : (double)in / (double)out;
    const double shifted = ((double)i + 0.5) * scale, place = align ? (double)i * scale : shifted - 0.5;
    const double at = place < 0 ? 0 : place, t = at - (double)(int)at;
    *first = in == out ? i : (int)at >= in - 1 ? in - 1 : (int)at;
    weight[0] = 1 - t, weight[1] = t;
    if (in == out) weight[0] = 1;
    if (in == out || (int)at < in - 1) return in == out ? 1 : 2;
    weight[0] = weight[0] + weight[1];
    return 1;
}

static void bilinear(int planes, const int image[2], const int map[2], int align, const float *x, float *y) {
    for (int n = 0; n < planes; n++, x += image[0] * image[1])
        for (int p = 0; p < map[0]; p++)
            for (int q = 0; q < map[1]; q++) {
                int h, w;
                double down[2], across[2], sum = 0;
                const int rows = bilinear_window(image[0], map[0], align, p, &h, down),
                          columns = bilinear_window(image[1], map[1], align, q, &w, across);
                for (int s = 0; s < columns; s++) {
                    double column = 0;
                    for (int r = 0; r < rows; r++) {
                        const double part = down[r] * (double)x[(h + r) * image[1] + w + s];
                        column = column + part;
                    }
                    const double part = across[s] * column;
                    sum = sum + part;
                }
                *y++ = (float)sum;
            }
}

/*@ sum */
/* The sums of `rows` rows of n, by a divisor. */
static void sum_rows(int rows, int n, double divisor, const float *x, float *y) {
    for (int m = 0; m < rows; m++, x += n) {
        double lane[16] = {0}, rest = 0;
        int i = 0;
        for (; i + 16 <= n; i += 16)
            for (int j = 0; j < 16; j++) lane[j] = lane[j] + (double)x[i + j];
        for (; i < n; i++) rest = rest + (double)x[i];
        for (int j = 0; j < 8; j++) lane[j] = lane[j] + lane[j + 8];
        rest =
            ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7])) + rest;
        y[m] = (float)((0 + rest) / divisor);
    }
}

/*@ softmax functions */
static void softmax(int rows, int n, int log, const float *x, float *y) {
    for (int m = 0; m < rows; m++, x += n, y += n) {
        float largest = x[0];
        double sum = 0;
        for (int k = 1; k < n; k++)
            if (x[k] > largest || x[k] != x[k]) largest = x[k];
        for (int k = 0; k < n; k++) {
            const float d = x[k] - largest, e = pl_exp_f32(d);
            sum = sum + (double)e;
            y[k] = log ? d : e;
        }
        const float norm = (float)(log ? pl_log_f64(sum) : 1 / sum);
        for (int k = 0; k < n; k++) y[k] = log ? y[k] - norm : y[k] * norm;
    }
}

/*@ rescale */
static void rescale(int N, int C, int pixels, const double *norm, int relu, float most, const float *x,
                    float *y) {
    for (int i = 0; i < N * C; i++)
        for (int k = 0; k < pixels; k++) {
            const double product = (double)*x++ * norm[i % C];
            float v = (float)(product + norm[C + i % C]);
            if (relu) v = v <= 0 ? 0 : v, v = v > most ? most : v;
            *y++ = v;
        }
}

/*@ root */
/* The square root, correctly rounded, digit by digit: what sqrt computes. */
static double root(double v) {
    uint64_t bits, q = 0, sum = 0;
    if (!(v > 0) || v > 0x1.fffffffffffffp1023) return v < 0 ? (v - v) / (v - v) : v;
    if (v < 0x1p-1022) return root(v * 0x1p54) * 0x1p-27;
    memcpy(&bits, &v, sizeof bits);
    int exponent = (int)(bits >> 52) - 1023;
    uint64_t left = ((bits & 0xfffffffffffff) | 0x10000000000000) << 1;
    if (exponent & 1) left <<= 1, exponent--;
    for (uint64_t digit = (uint64_t)1 << 53; digit; digit >>= 1, left <<= 1) {
        const uint64_t next = sum + digit;
        if (next <= left) sum = next + digit, left -= next, q += digit;
    }
    if (left) q += q & 1;
    bits = (q >> 1) + ((uint64_t)(exponent / 2 + 1022) << 52);
    memcpy(&v, &bits, sizeof v);
    return v;
}

/*@ power functions */
/* x^y; NaN for x below 0 and an exponent that is not whole */
static float power(float x, double y) {
    const float below = pl_is_whole(y) ? 0 : (float)NAN, z = pl_pow_f32(fabsf(x), y) + (x < 0 ? below : 0);
    return pl_is_odd(y) ? copysignf(z, x) : z;
}

/*@ normalize root */
/* Slabs of P rows of Q numbers, of which slab k has the weights and biases k modulo G of each row; NULL: 1 and 0. */
typedef struct norm {
    int slabs, G, P, Q;
    double eps;
    const float *weight, *bias;
    int relu;
    float most;
} norm;

static double fold(int n, const double *v) {
    double lane[8] = {0};
    for (int i = 0; i < n; i++) lane[i % 8] = lane[i % 8] + v[i];
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

/* Mean and variance of n numbers, in chunks of which each begins at the mean of those before. */
static double moments(int n, const float *x, double *var) {
    double sum[64] = {0}, square[64] = {0}, mean = (double)x[0], rest = 0;
    const double first = mean;
    int before = 0, count = 0;
    *var = 0;
    for (int i = 0; i < n;) {
        const double d = (double)x[i] - mean, d2 = d * d;
        sum[i % 64] = sum[i % 64] + d, square[i % 64] = square[i % 64] + d2;
        i++, count++;
        if ((count % 64 || count < 16384) && i < n) continue;
        const int width = n < 64 ? n : 64, all = before + count;
        const double s = fold(width, sum), squares = fold(width, square), share = s / (double)count;
        const double apart = ((mean - first) + share) - rest, part = s * share;
        const double between = apart * apart * ((double)before / (double)all * (double)count);
        const double step = apart * ((double)count / (double)all);
        *var = *var + ((squares - part) + between);
        rest = rest + step, mean = first + rest;
        before = all, count = 0;
        memset(sum, 0, sizeof sum), memset(square, 0, sizeof square);
    }
    *var = *var / (double)n;
    return mean;
}

static void normalize(const norm *g, const float *x, float *y) {
    for (int k = 0; k < g->slabs; k++) {
        double var;
        const double mean = moments(g->P * g->Q, x, &var), rate = 1 / root(var + g->eps);
        for (int p = 0; p < g->P; p++) {
            const int c = k % g->G * g->P + p;
            const double factor = rate * (g->weight ? (double)g->weight[c] : 1),
                         shift = g->bias ? (double)g->bias[c] : 0;
            for (int q = 0; q < g->Q; q++) {
                const double product = ((double)*x++ - mean) * factor;
                float v = (float)(product + shift);
                if (g->relu) v = v <= 0 ? 0 : v, v = v > g->most ? g->most : v;
                *y++ = v;
            }
        }
    }
}
