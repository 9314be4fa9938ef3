/* The progress line: on a terminal rewritten in place, with blanks in place of escape codes; elsewhere ten
 * lines. */
#define _POSIX_C_SOURCE 200809L

#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "files/numbers.h"
#include "pleat_nn.h"

enum { LINE = 256, BAR = 20 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The columns of a line; the last one of the terminal stays free, since some terminals wrap there. */
static int columns(const pleat_nn_progress *p) {
    struct winsize w;
    int all = ioctl(fileno(p->out), TIOCGWINSZ, &w) == 0 && w.ws_col ? w.ws_col : 80;
    return all < LINE ? all - 1 : LINE - 1;
}

pleat_nn_progress pleat_nn_progress_start(FILE *out, const char *title, size_t total) {
    pleat_nn_progress p = {
        .out = out, .terminal = out && isatty(fileno(out)), .started = now(), .total = total};
    p.drawn = p.started - 1;
    snprintf(p.title, sizeof p.title, "%s", title ? title : "");
    return p;
}

static void duration(double seconds, char *text, size_t bytes) {
    unsigned long s = (unsigned long)(seconds + 0.5);
    if (s < 60)
        snprintf(text, bytes, "%lus", s);
    else if (s < 3600)
        snprintf(text, bytes, "%lum%02lus", s / 60, s % 60);
    else
        snprintf(text, bytes, "%luh%02lum", s / 3600, s / 60 % 60);
}

/* "468/937  loss 0.01312  9120 items/s  ETA 3s" */
static void numbers(const pleat_nn_progress *p, size_t done, size_t items, double loss, char text[LINE]) {
    char time[32];
    double passed = now() - p->started, left = 0;
    if (passed <= 0) passed = 1e-9;
    if (done && done < p->total) left = passed * (double)(p->total - done) / (double)done;
    bool ended = done >= p->total;
    duration(ended ? passed : left, time, sizeof time);
    snprintf(text, LINE, "%zu/%zu  loss %s  %s items/s  %s %s", done, p->total, pln_rounded(loss, 4).s,
             pln_fixed((double)done * (double)items / passed, 0).s, ended ? "took" : "ETA", time);
}

/* Leave the bar out if the line would not fit. */
static void draw(const pleat_nn_progress *p, size_t done, const char *text) {
    char line[2 * LINE], bar[BAR + 1];
    int width = columns(p), spare = width - (int)(strlen(p->title) + strlen(text)) - 6;
    int size = spare < BAR ? spare : BAR;
    if (size >= 4) {
        double part = p->total ? (double)done / (double)p->total : 1;
        memset(bar, ' ', sizeof bar);
        memset(bar, '=', (size_t)(part < 1 ? part * size : size));
        snprintf(line, sizeof line, "%s  [%.*s]  %s", p->title, size, bar, text);
    } else {
        snprintf(line, sizeof line, "%s  %s", p->title, text);
    }
    fprintf(p->out, "\r%-*.*s", width, width, line);
    fflush(p->out);
}

void pleat_nn_progress_show(pleat_nn_progress *p, size_t done, size_t items, double loss) {
    char text[LINE];
    double time = now();
    size_t tenths = p->total ? (size_t)(10.0 * (double)done / (double)p->total) : 0;
    bool due = p->terminal ? time - p->drawn >= 0.1 || done >= p->total : tenths > p->lines;
    if (!due) return;
    p->drawn = time;
    p->lines = tenths;
    numbers(p, done, items, loss, text);
    if (p->terminal) {
        draw(p, done, text);
    } else {
        fprintf(p->out, "%s  %s\n", p->title, text);
        fflush(p->out);
    }
}

double pleat_nn_progress_end(pleat_nn_progress *p) {
    if (p->terminal) {
        fprintf(p->out, "\r%*s\r", columns(p), "");
        fflush(p->out);
    }
    return now() - p->started;
}
