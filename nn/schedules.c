/* Learning rates over time: the closed forms of torch.optim.lr_scheduler's StepLR, CosineAnnealingLR and
 * LinearLR, and ReduceLROnPlateau. */
#include "pleat_nn.h"
#include "pleat_op.h"

#include <math.h>

#define PI 3.14159265358979323846

static double or_default(double option, double otherwise) { return option != 0 ? option : otherwise; }

double pleat_nn_schedule_lr(const pleat_nn_schedule *s, double lr, size_t t) {
    if (!s) return lr;
    if (t < s->warmup) {
        double from = or_default(s->warmup_from, 1.0 / 3);
        return lr * (from + (1 - from) * ((double)t / (double)s->warmup));
    }
    t -= s->warmup;
    double rate = lr;
    if (s->cosine) {
        double part = t < s->cosine ? (double)t / (double)s->cosine : 1;
        rate = s->least + (lr - s->least) * (1 + pleat_cos_f64(PI * part)) / 2;
    }
    return s->step ? rate * pleat_pow_f64(or_default(s->gamma, 0.1), (double)(t / s->step)) : rate;
}

static bool is_better(const pleat_nn_plateau *p, double metric) {
    double threshold = or_default(p->threshold, 1e-4);
    return p->higher_is_better ? metric > p->best * (1 + threshold) : metric < p->best * (1 - threshold);
}

double pleat_nn_plateau_lr(pleat_nn_plateau *p, double lr, double metric) {
    if (!p) return lr;
    if (p->calls++ == 0) p->best = p->higher_is_better ? -HUGE_VAL : HUGE_VAL;
    bool better = is_better(p, metric);
    if (better) p->best = metric;
    p->bad = better ? 0 : p->bad + 1;
    if (p->cooling) {
        p->cooling--;
        p->bad = 0;
    }
    if (p->bad <= (p->patience ? p->patience : 10)) return lr;
    p->cooling = p->cooldown;
    p->bad = 0;
    double next = fmax(lr * or_default(p->factor, 0.1), p->least);
    return lr - next > 1e-8 ? next : lr; /* PyTorch's eps: smaller changes are ignored */
}
