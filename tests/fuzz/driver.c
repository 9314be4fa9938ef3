/* A main for a fuzz target where there is no libFuzzer: it runs the target once on each file that it is given, folders
 * included, so that what a fuzzer has found stays tested. */
#define _XOPEN_SOURCE 700

#include "fuzz.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SECONDS = 10,  /* an input that takes longer hangs; they take milliseconds */
    MOST_MB = 300, /* that an input may take, as with run.sh */
};

static const char usage[] =
    "usage: fuzz_NAME FILE|FOLDER...\n"
    "Run the target once on each file, or on each file of a folder. A crash, a broken promise, a hang, or\n"
    "too much memory names its file.\n"
    "Built with clang and -Dfuzz=true, the same program is libFuzzer's: sh tests/fuzz/run.sh --help\n";

static char current[4096]; /* the file that is being run */

/* Tell which file it was, and die as if nothing had been caught. */
static void on_signal(int signal_number) {
    static const char hang[] = "takes too long: ", crash[] = "crashes: ";
    const char *what = signal_number == SIGALRM ? hang : crash;
    if (write(STDERR_FILENO, what, strlen(what)) < 0 || write(STDERR_FILENO, current, strlen(current)) < 0 ||
        write(STDERR_FILENO, "\n", 1) < 0)
        _exit(2);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

/* The most address space that the process has had, in MB; 0 where the system does not tell. */
static long peak_mb(void) {
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    long kb = 0;
    while (f && kb == 0 && fgets(line, sizeof line, f)) sscanf(line, "VmPeak: %ld", &kb);
    if (f) fclose(f);
    return kb / 1024;
}

static uint8_t *read_file(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    struct stat s;
    if (!f || fstat(fileno(f), &s)) return NULL;
    uint8_t *exact = malloc((size_t)s.st_size); /* so that a step beyond the end is seen by a sanitizer */
    *size = exact ? fread(exact, 1, (size_t)s.st_size, f) : 0;
    fclose(f);
    return exact;
}

static bool run_file(const char *path) {
    size_t size;
    uint8_t *data = read_file(path, &size);
    if (!data) {
        fprintf(stderr, "cannot read %s\n", path);
        return false;
    }
    snprintf(current, sizeof current, "%s", path);
    long before = peak_mb();
    alarm(SECONDS);
    LLVMFuzzerTestOneInput(data, size);
    alarm(0);
    free(data);
    long more = peak_mb() - before;
    if (more > MOST_MB)
        fprintf(stderr, "takes %ld MB of memory, at most %d are right: %s\n", more, MOST_MB, path);
    return more <= MOST_MB;
}

static int is_visible(const struct dirent *e) { return e->d_name[0] != '.'; }

/* Counts the files; -1 after an error. */
static long run_folder(const char *path) {
    struct dirent **entries;
    char name[4096];
    int n = scandir(path, &entries, is_visible, alphasort);
    long done = n;
    if (n < 0) fprintf(stderr, "cannot read the folder %s\n", path);
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
        if (done >= 0 && !run_file(name)) done = -1;
        free(entries[i]);
    }
    if (n >= 0) free(entries);
    return done;
}

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most) {
    (void)data, (void)most;
    return size;
}

int main(int argc, char **argv) {
    static const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM};
    long files = 0;
    if (argc < 2 || !strcmp(argv[1], "--help")) {
        fputs(usage, argc < 2 ? stderr : stdout);
        return argc < 2 ? 2 : 0;
    }
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) signal(signals[i], on_signal);
    for (int i = 1; i < argc; i++) {
        struct stat s;
        bool folder = stat(argv[i], &s) == 0 && S_ISDIR(s.st_mode);
        long done = folder ? run_folder(argv[i]) : run_file(argv[i]) ? 1 : -1;
        if (done < 0) return 2;
        files += done;
    }
    printf("%ld inputs\n", files);
    return files == 0;
}
