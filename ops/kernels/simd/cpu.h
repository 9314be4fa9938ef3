/* What the processor can run. */
#ifndef PL_CPU_H
#define PL_CPU_H

#include "kernels/pleat_kernels.h"

/* Whether the processor has an instruction set. */
bool pl_isa_runs_here(pleat_isa isa);

#endif
