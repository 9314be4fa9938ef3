/* What becomes of a file's permissions, of links to nothing, and of the temporary files of those who were killed. */
#define _XOPEN_SOURCE 700

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "scratch.h"

TestSuite(leftovers, .init = scratch_begin, .fini = scratch_end, .timeout = 60);

static void write_text(const char *path, const char *text) {
    pleat_nn_file f;
    cr_assert_eq(pleat_nn_file_create(ctx, path, &f), PLEAT_OK, "%s", pleat_error(ctx)->text);
    fputs(text, f.f);
    cr_assert_eq(pleat_nn_file_commit(ctx, &f), PLEAT_OK, "%s", pleat_error(ctx)->text);
    cr_expect(holds(path, text), "%s", path);
}

static unsigned mode_of(const char *path) {
    struct stat s;
    cr_assert_eq(lstat(path, &s), 0, "%s: %s", path, strerror(errno));
    return s.st_mode & 07777;
}

static void expect_temporary(size_t want) {
    size_t temporary;
    scratch_count(&temporary);
    cr_expect_eq(temporary, want, "%zu temporary files instead of %zu", temporary, want);
}

/* ---- permissions ---------------------------------------------------------------------------------------- */

Test(leftovers, who_may_read_a_file_stays) {
    static const unsigned modes[] = {0600, 0640, 0664, 0666, 0755};
    umask(022);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        pleat_nn_file f;
        put_file(in_scratch("x"), "old", 3);
        cr_assert_eq(chmod(in_scratch("x"), modes[i]), 0);
        cr_assert_eq(pleat_nn_file_create(ctx, in_scratch("x"), &f), PLEAT_OK, "%s", pleat_error(ctx)->text);
        cr_expect_eq(mode_of(f.temporary) & ~modes[i], 0, "%o while it is written, %o before",
                     mode_of(f.temporary), modes[i]);
        cr_assert_eq(pleat_nn_file_commit(ctx, &f), PLEAT_OK, "%s", pleat_error(ctx)->text);
        cr_expect_eq(mode_of(in_scratch("x")), modes[i], "%o, and before %o", mode_of(in_scratch("x")),
                     modes[i]);
    }
}

/* Who owns a file goes on owning it when root writes it. */
Test(leftovers, an_owner_stays) {
    struct stat s;
    put_file(in_scratch("x"), "old", 3);
    if (getuid()) scratch_skip("only root can give files away");
    if (chown(in_scratch("x"), 65534, 65534)) scratch_skip("root cannot give files away here");
    cr_assert_eq(chmod(in_scratch("x"), 0640), 0);
    write_text(in_scratch("x"), "new");
    cr_expect(stat(in_scratch("x"), &s) == 0 && s.st_uid == 65534 && s.st_gid == 65534);
    cr_expect_eq(mode_of(in_scratch("x")), 0640);
}

/* ---- links ---------------------------------------------------------------------------------------------- */

static void expect_link(const char *path) {
    struct stat s;
    cr_expect(lstat(path, &s) == 0 && S_ISLNK(s.st_mode), "%s was replaced", path);
}

Test(leftovers, a_link_to_nothing_is_followed) {
    cr_assert_eq(mkdir(in_scratch("run"), 0777), 0);
    cr_assert_eq(symlink("run/one", in_scratch("one")), 0);
    cr_assert_eq(symlink(in_scratch("run/three"), in_scratch("run/two")), 0);
    cr_assert_eq(symlink("run/two", in_scratch("two")), 0); /* a link to a link */
    write_text(in_scratch("one"), "1");
    write_text(in_scratch("two"), "2");
    cr_expect(holds(in_scratch("run/one"), "1"));
    cr_expect(holds(in_scratch("run/three"), "2"));
    expect_link(in_scratch("one")), expect_link(in_scratch("two")), expect_link(in_scratch("run/two"));
    write_text(in_scratch("two"), "again");
    cr_expect(holds(in_scratch("run/three"), "again"));
    expect_temporary(0);
    for (size_t i = 0; i < 3; i++) remove(in_scratch((const char *[]){"run/one", "run/two", "run/three"}[i]));
}

Test(leftovers, links_that_lead_nowhere_are_refused) {
    pleat_nn_file f;
    cr_assert_eq(symlink("none/x", in_scratch("lost")), 0);
    cr_assert_eq(symlink("round", in_scratch("round")), 0);
    expect_error(pleat_nn_file_create(ctx, in_scratch("lost"), &f), PLEAT_ERR_IO,
                 "No such file or directory");
    expect_error(pleat_nn_file_create(ctx, in_scratch("round"), &f), PLEAT_ERR_IO, "symbolic links");
    expect_link(in_scratch("lost")), expect_link(in_scratch("round"));
}

/* ---- those who were killed ------------------------------------------------------------------------------- */

/* A process that has begun to write the file `name`, and waits. Nothing is left of it but its files once it is killed. */
static pid_t begin_to_write(const char *name) {
    int ends[2];
    char byte;
    cr_assert_eq(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        alarm(60); /* whatever becomes of the test */
        pleat_nn_file f;
        if (pleat_nn_file_create(ctx, in_scratch(name), &f)) _exit(1);
        fputs("half", f.f);
        fflush(f.f);
        if (write(ends[1], "x", 1) != 1) _exit(1);
        while (true) pause();
    }
    close(ends[1]);
    cr_assert(child > 0 && read(ends[0], &byte, 1) == 1, "the child did not begin");
    close(ends[0]);
    return child;
}

static void end_by_kill(pid_t child) {
    int status;
    kill(child, SIGKILL);
    cr_assert(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
}

Test(leftovers, the_next_writer_clears_away) {
    pid_t children[3];
    for (size_t i = 0; i < 3; i++) children[i] = begin_to_write("x");
    expect_temporary(3);
    for (size_t i = 0; i < 3; i++) end_by_kill(children[i]);
    expect_temporary(3);
    write_text(in_scratch("y"), "whole");
    expect_temporary(0);
}

/* Those before it were finished, so it is not the first. */
Test(leftovers, one_behind_a_gap_is_cleared_away) {
    pleat_nn_file f[3];
    for (size_t i = 0; i < 3; i++) cr_assert_eq(pleat_nn_file_create(ctx, in_scratch("x"), &f[i]), PLEAT_OK);
    pid_t child = begin_to_write("x");
    for (size_t i = 0; i < 3; i++) pleat_nn_file_abort(&f[i]);
    end_by_kill(child);
    expect_temporary(1);
    write_text(in_scratch("y"), "whole");
    expect_temporary(0);
}

Test(leftovers, a_living_writer_is_left_alone) {
    pleat_nn_file a;
    pid_t dead = begin_to_write("x");
    cr_assert_eq(pleat_nn_file_create(ctx, in_scratch("x"), &a), PLEAT_OK);
    fputs("whole", a.f);
    fflush(a.f);
    end_by_kill(dead);
    pid_t living = begin_to_write("x"); /* clears away after the dead one */
    expect_temporary(2);
    write_text(in_scratch("y"), "y");
    expect_temporary(2);
    cr_expect_eq(pleat_nn_file_commit(ctx, &a), PLEAT_OK, "%s", pleat_error(ctx)->text);
    cr_expect(holds(in_scratch("x"), "whole"));
    end_by_kill(living);
    write_text(in_scratch("y"), "z");
    expect_temporary(0);
}

/* Anybody can put something where a writer would look for what was left, in a folder that all may write to. */
Test(leftovers, nothing_is_written_through_what_others_put_there) {
    pleat_nn_file f;
    char name[400];
    put_file(in_scratch("victim"), "old", 3);
    cr_assert_eq(pleat_nn_file_create(ctx, in_scratch("x"), &f), PLEAT_OK);
    snprintf(name, sizeof name, "%s", f.temporary);
    pleat_nn_file_abort(&f);
    cr_assert_eq(link(in_scratch("victim"), name), 0);
    write_text(in_scratch("x"), "new");
    cr_expect(holds(in_scratch("victim"), "old"));
    cr_assert_eq(symlink("victim", name), 0);
    write_text(in_scratch("x"), "newer");
    cr_expect(holds(in_scratch("victim"), "old"));
    expect_link(name);
    remove(name);
    cr_assert(mkfifo(name, 0600) == 0); /* whoever opened it would wait */
    write_text(in_scratch("x"), "newest");
    remove(name);
    expect_temporary(0);
}

/* Four processes write into one folder and are killed at any moment; a fifth looks on. Each file is whole at all times. */
static void write_for_ever(size_t who) {
    char name[16], text[3000];
    memset(text, 'a' + (int)who, sizeof text - 1);
    text[sizeof text - 1] = 0;
    snprintf(name, sizeof name, "file%zu", who % 2);
    alarm(60);
    while (true) {
        pleat_nn_file f;
        if (pleat_nn_file_create(ctx, in_scratch(name), &f)) _exit(1);
        fputs(text, f.f);
        if (pleat_nn_file_commit(ctx, &f)) _exit(1);
    }
}

static void expect_whole(const char *name) {
    size_t bytes;
    if (access(in_scratch(name), F_OK)) return;
    uint8_t *text = get_file(in_scratch(name), &bytes);
    cr_assert_eq(bytes, 2999, "%s has %zu bytes", name, bytes);
    for (size_t i = 0; i < bytes; i++) cr_assert_eq(text[i], text[0]);
    free(text);
}

Test(leftovers, writers_in_one_folder_do_not_disturb_each_other) {
    pid_t children[4] = {0};
    if (access("/dev/shm", W_OK)) scratch_skip("there is no folder in memory, and a disk takes too long");
    rmdir(scratch_folder);
    strcpy(scratch_folder, "/dev/shm/pleat-test-XXXXXX");
    cr_assert(mkdtemp(scratch_folder));
    pleat_rng random = pleat_rng_new(1, 0);
    for (size_t i = 0; i < 150; i++) {
        size_t who = (size_t)pleat_rng_below(&random, 4);
        int status = 0;
        if (children[who]) {
            kill(children[who], SIGKILL);
            cr_assert_eq(waitpid(children[who], &status, 0), children[who]);
            cr_assert(WIFSIGNALED(status), "a writer failed");
        }
        children[who] = fork();
        if (!children[who]) write_for_ever(who);
        nanosleep(&(struct timespec){0, (long)pleat_rng_below(&random, 4000000)}, NULL);
        expect_whole("file0"), expect_whole("file1");
    }
    for (size_t i = 0; i < 4; i++)
        if (children[i]) end_by_kill(children[i]);
    write_text(in_scratch("x"), "the last");
    expect_temporary(0);
}
