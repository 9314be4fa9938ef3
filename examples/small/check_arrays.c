/* Is a gradient right? Three functions on plain arrays, without a tensor: the loss of a logistic regression
 * with its gradient, a layer with its vjp, and a blur with its adjoint. Each is checked as it should be, and
 * once with a bug. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>

#include "pleat_check.h"

enum { ROWS = 30, COLUMNS = 4, IN = 9, OUT = 4 };

/* ---- a loss: the mean of log(1 + e^-(label row . w)) ------------------------------------------------------- */

typedef struct regression {
    double rows[ROWS][COLUMNS], labels[ROWS]; /* labels are 1 or -1 */
    bool bug;
} regression;

static double margin(const regression *r, size_t row, size_t n, const double *w) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += r->rows[row][i] * w[i];
    return r->labels[row] * sum;
}

static void loss(void *user, size_t n, const double *w, double *y) {
    y[0] = 0;
    for (size_t row = 0; row < ROWS; row++) y[0] += log1p(exp(-margin(user, row, n, w))) / ROWS;
}

static void loss_gradient(void *user, size_t n, const double *w, double *g) {
    const regression *r = user;
    for (size_t i = 0; i < n; i++) g[i] = 0;
    for (size_t row = 0; row < ROWS; row++) {
        double slope = -r->labels[row] / (1 + exp(margin(r, row, n, w)));
        for (size_t i = 0; i < n; i++) g[i] += slope * r->rows[row][i] / (r->bug && row == 0 ? 1 : ROWS);
    }
}

/* ---- a layer in float: y[j] = tanh(sum over i of (1 + i j) x[i] / 10) ---------------------------------------- */

static float weight(size_t j, size_t i) { return (1 + (float)(i * j)) / 10; }

static void layer(void *user, size_t n, const float *x, size_t m, float *y) {
    (void)user;
    for (size_t j = 0; j < m; j++) {
        float sum = 0;
        for (size_t i = 0; i < n; i++) sum += weight(j, i) * x[i];
        y[j] = tanhf(sum);
    }
}

/* gx[i] = sum over j of gy[j] (1 - y[j]^2) w[j][i] */
static void layer_vjp(void *user, size_t n, const float *x, size_t m, const float *gy, float *gx) {
    const bool *bug = user;
    float y[OUT];
    layer(NULL, n, x, m, y);
    for (size_t i = 0; i < n; i++) gx[i] = 0;
    for (size_t j = 0; j < m; j++) {
        for (size_t i = 0; i < n; i++) gx[i] += gy[j] * (1 - (*bug ? y[j] : y[j] * y[j])) * weight(j, i);
    }
}

/* ---- a linear pair: every second element of a blur with 1 2 1 -------------------------------------------------- */

static void blur(void *user, size_t n, const double *x, size_t m, double *y) {
    (void)user, (void)n;
    for (size_t j = 0; j < m; j++) y[j] = x[2 * j] + 2 * x[2 * j + 1] + x[2 * j + 2];
}

static void blur_adjoint(void *user, size_t m, const double *y, size_t n, double *x) {
    const bool *bug = user;
    for (size_t i = 0; i < n; i++) x[i] = 0;
    for (size_t j = 0; j < m; j++) {
        x[2 * j] = y[j] + (*bug ? 0 : x[2 * j]); /* the bug: overlaps get lost */
        x[2 * j + 1] += 2 * y[j];
        x[2 * j + 2] += y[j];
    }
}

/* ---- the checks ------------------------------------------------------------------------------------------------ */

static bool outcome(pleat_verdict found, pleat_verdict expected, const pleat_check_report *r) {
    printf("%s\n", r->text);
    return found == expected;
}

int main(void) {
    regression data = {.bug = false};
    double w[COLUMNS] = {0.3, -0.2, 0.5, 0.1};
    float x[IN] = {0.1F, -0.4F, 0.2F, 0.3F, -0.1F, 0.6F, -0.3F, 0.2F, 0.5F};
    for (size_t row = 0; row < ROWS; row++) {
        for (size_t i = 0; i < COLUMNS; i++) data.rows[row][i] = sin(1 + 7.0 * (double)(row * COLUMNS + i));
        data.labels[row] = row % 3 ? 1 : -1;
    }
    bool good = true;
    for (int bug = 0; bug < 2; bug++) {
        pleat_verdict expected = bug ? PLEAT_CHECK_WRONG : PLEAT_CHECK_RIGHT;
        pleat_check_report r;
        bool is_wrong = data.bug = bug;
        pleat_verdict v = pleat_check_gradient_f64(loss, loss_gradient, COLUMNS, w, &data, .report = &r);
        good = outcome(v, expected, &r) && good;
        v = pleat_check_vjp_f32(layer, layer_vjp, IN, x, OUT, &is_wrong, .report = &r);
        good = outcome(v, expected, &r) && good;
        v = pleat_check_adjoint_f64(blur, blur_adjoint, IN, OUT, &is_wrong, .report = &r);
        good = outcome(v, expected, &r) && good;
    }
    return good ? 0 : 1;
}
