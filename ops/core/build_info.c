#include "pleat.h"
#include "pleat_config.h"

const char *pleat_build_info(void) { return PL_BUILD_INFO; }
