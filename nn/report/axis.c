/* Axes: from values to positions, with ticks at round values. */
#include <math.h>
#include <string.h>

#include "report/report.h"

static const double HUGEST = 1e300, LEAST = 1e-290; /* numbers that differ by less are equal */

bool pln_drawable(double v) { return fabs(v) <= HUGEST; }

void pln_extend(pln_range *r, double v) {
    if (!pln_drawable(v)) return;
    if (v < r->low) r->low = v;
    if (v > r->high) r->high = v;
}

static double log_ratio(double a, double b) { return pleat_log_f64(a) - pleat_log_f64(b); }

double pln_axis_at(const pln_axis *a, double v) {
    double part =
        a->log ? log_ratio(v, a->low) / log_ratio(a->high, a->low) : (v - a->low) / (a->high - a->low);
    part = part < 0 ? 0 : part < 1 ? part : 1;
    return a->from + part * (a->to - a->from);
}

size_t pln_axis_width(const pln_axis *a) {
    size_t most = 0;
    for (size_t i = 0; i < a->ticks; i++) {
        size_t n = strlen(a->label[i].s);
        if (n > most) most = n;
    }
    return most;
}

/* The smallest of 1, 2, 5, 10, 20, ... and their tenths that is at least v; *exponent is that of its power of
 * ten. */
static double round_up(double v, int *exponent) {
    static const double firsts[] = {1, 2, 5, 10};
    size_t i = 0;
    *exponent = pln_decade(v);
    double power = pln_power_of_ten(*exponent);
    while (i < 3 && firsts[i] * power < v * (1 - 1e-9)) i++;
    *exponent += i == 3;
    return firsts[i] * power;
}

/* All labels of an axis have the same number of decimals, or all have an exponent. */
static void write_labels(pln_axis *a, int exponent) {
    double most = fmax(fabs(a->low), fabs(a->high));
    bool scientific = most >= 1e6 || most < 1e-3;
    for (size_t i = 0; i < a->ticks; i++) {
        double v = a->tick[i];
        int digits = v == 0 ? 1 : pln_decade(v * (1 + 1e-9)) - exponent + 1;
        a->label[i] = scientific ? pln_scientific(v, digits) : pln_fixed(v, exponent < 0 ? -exponent : 0);
    }
}

static void linear_ticks(pln_axis *a, const pln_axis_args *args) {
    static const double slack = 1e-6;
    int exponent;
    double step, first, last, most = (double)args->most;
    do { /* once, unless the range contains no multiple of this step */
        step = round_up((a->high - a->low) / most, &exponent);
        if (args->whole && step < 1) step = 1, exponent = 0;
        first = args->grow ? floor(a->low / step + slack) : ceil(a->low / step - slack);
        last = args->grow ? ceil(a->high / step - slack) : floor(a->high / step + slack);
        most *= 2;
    } while (first > last && !args->whole && most < 1000);
    for (double i = first; i <= last && a->ticks < PLN_TICKS; i++)
        a->tick[a->ticks++] = i * step + 0.0; /* not -0 */
    if (args->grow) a->low = fmin(a->low, first * step), a->high = fmax(a->high, last * step);
    write_labels(a, exponent);
}

/* Extend the range to the next 1, 2 or 5 times a power of ten. Ticks are at these values, or at the powers if
 * there are many. */
static void log_ticks(pln_axis *a, const pln_axis_args *args) {
    static const double firsts[] = {1, 2, 5};
    double low = 0, high = HUGE_VAL, least = a->low * (1 + 1e-9), most = a->high * (1 - 1e-9);
    int from = pln_decade(least), to = pln_decade(most);
    to += most > pln_power_of_ten(to);
    int stride = (to - from) / (int)args->most + 1;
    for (int i = 3 * from; i <= 3 * to; i++) {
        double v = firsts[(i % 3 + 3) % 3] * pln_power_of_ten((i - (i % 3 + 3) % 3) / 3);
        if (v <= least) low = v;
        if (v >= most && v < high) high = v;
    }
    size_t each = most / least < 158 ? 3 : 1;
    a->low = low, a->high = high;
    for (int e = from; e <= to; e += stride)
        for (size_t i = 0; i < each && a->ticks < PLN_TICKS; i++) {
            double v = firsts[i] * pln_power_of_ten(e);
            if (v < low * (1 - 1e-9) || v > high * (1 + 1e-9)) continue;
            a->label[a->ticks] = pln_short(v, 1);
            a->tick[a->ticks++] = v;
        }
}

/* Widen the range so that it can be a divisor. Below 1e-5 of the values, labels would need more than six
 * digits. */
static pln_range widen(pln_range r) {
    if (r.low > r.high) return (pln_range){0, 1};
    double most = fmax(fabs(r.low), fabs(r.high)), middle = r.low / 2 + r.high / 2;
    if (most < LEAST) return (pln_range){-1, 1};
    if (r.low == r.high) return (pln_range){r.low - most / 10, r.high + most / 10};
    if (r.high / 2 - r.low / 2 >= 0.5e-5 * most) return r;
    return (pln_range){middle - 0.5e-5 * most, middle + 0.5e-5 * most};
}

/* One whole number in the middle. */
static pln_axis lone(double v) {
    return (pln_axis){
        .low = v - 1, .high = v + 1, .to = 1, .ticks = 1, .tick = {v}, .label = {pln_fixed(v, 0)}};
}

pln_axis pln_axis_new(pln_axis_args args) {
    if (args.whole && args.range.low == args.range.high) return lone(args.range.low);
    pln_range r = widen(args.range);
    pln_axis a = {.low = r.low, .high = r.high, .to = 1};
    a.log = args.log && args.range.low > LEAST && args.range.low <= args.range.high && r.low > 0 &&
            r.high / r.low > 3.16;
    if (a.log)
        log_ticks(&a, &args);
    else
        linear_ticks(&a, &args);
    return a;
}
