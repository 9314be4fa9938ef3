/* The cores of machines that nobody here has. A definition in the program wins over the C library's. */
#define _GNU_SOURCE

#include <errno.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernels/pleat_kernels.h"
#include "mallocs.h"
#include "tensors.h"

TestSuite(cores);

static struct {
    size_t cores; /* 0: the machine that this is */
    int ours;     /* the last of them, which the process may use */
} machine;

/* The kernel refuses a set that could not hold all of the machine's cores. */
int sched_getaffinity(pid_t pid, size_t bytes, cpu_set_t *set) {
    memset(set, 0, bytes);
    if (!machine.cores) return syscall(SYS_sched_getaffinity, pid, bytes, set) < 0 ? -1 : 0;
    if (bytes * 8 < machine.cores) {
        errno = EINVAL;
        return -1;
    }
    for (size_t i = machine.cores - (size_t)machine.ours; i < machine.cores; i++) CPU_SET_S(i, bytes, set);
    return 0;
}

Test(cores, of_large_machines_are_counted) {
    static const int machines[][2] = {{1, 1},    {2, 2},       {1024, 1000}, {1025, 1025},
                                      {1025, 1}, {4096, 4000}, {8192, 12},   {100000, 7}};
    size_t living = mallocs_living();
    for (size_t i = 0; i < sizeof machines / sizeof *machines; i++) {
        machine.cores = (size_t)machines[i][0], machine.ours = machines[i][1];
        cr_expect_eq(pleat_cores(), machine.ours, "%d of %zu cores are ours, and not %d", pleat_cores(),
                     machine.cores, machine.ours);
    }
    cr_assert_eq(mallocs_living(), living, "sets are left");
    machine.cores = 1 << 30; /* no set is large enough */
    cr_assert_eq(pleat_cores(), 1);
    machine.cores = 0;
    cr_assert_geq(pleat_cores(), 1);
}
