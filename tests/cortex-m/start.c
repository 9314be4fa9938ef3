/* The start of a program on a Cortex-M, with newlib's semihosting: the stack and this function stand in the first two vectors. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

extern uint32_t board_stack, board_data, board_data_end, board_data_load, board_bss, board_bss_end;
extern void initialise_monitor_handles(void);
extern int main(void);

void start_c(void);
__attribute__((noreturn, naked)) void start(void);

void _init(void) {}
void _fini(void) {}

void start_c(void) {
    memcpy(&board_data, &board_data_load, (size_t)((char *)&board_data_end - (char *)&board_data));
    memset(&board_bss, 0, (size_t)((char *)&board_bss_end - (char *)&board_bss));
    initialise_monitor_handles();
    exit(main());
}

/* The unit for floats is off after a reset; no compiled function may run before it is on. */
void start(void) {
#ifdef __ARM_FP
    __asm volatile("ldr r0, =0xE000ED88\n ldr r1, [r0]\n orr r1, r1, #0xF00000\n str r1, [r0]\n dsb\n isb");
#endif
    __asm volatile("b start_c");
}

__attribute__((section(".vectors"), used)) const void *const vectors[2] = {&board_stack, (void *)start};
