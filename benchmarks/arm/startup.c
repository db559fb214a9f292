/* Start of a Cortex-M4: the FPU is switched on, data are copied to RAM; then newlib's start, with input and output by semihosting. */
#include <stdint.h>

extern uint32_t __data_source, __data_start, __data_end, __stack;
extern void _start(void);

void reset(void)
{
    uint32_t *from = &__data_source, *to = &__data_start;
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20;
    __asm volatile("dsb\n isb");
    while (to < &__data_end)
        *to++ = *from++;
    _start();
}

static void fault(void)
{
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static const uintptr_t vectors[16] = {
    (uintptr_t)&__stack, (uintptr_t)reset, (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault,
};
