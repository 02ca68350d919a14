/* Hides vector extensions from the process it is preloaded into, as a lesser processor lacks them.
 *
 * The kernel lets CPUID fault (arch_prctl, since Linux 4.12); the handler answers in its place, less
 * the bits of leaf 7 that HIDDEN_CPUID names: eax:ebx:ecx:edx of sub-leaf 0, then of 1, in hex.
 * Libraries that ask the processor then choose their kernels as they would there, at full speed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_CPUID_SET 0x1012

typedef int (*sigaction_call)(int, const struct sigaction *, struct sigaction *);

static uint32_t hidden[2][4];
static int hiding;

static void on_fault(int number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const uint8_t *code = (const uint8_t *)registers[REG_RIP];
    if (info->si_code != SI_KERNEL || code[0] != 0x0f || code[1] != 0xa2) {
        signal(number, SIG_DFL); /* a fault of its own: let it happen again */
        return;
    }
    uint32_t leaf = registers[REG_RAX], sub = registers[REG_RCX], a, b, c, d;
    syscall(SYS_arch_prctl, ARCH_CPUID_SET, 1);
    __asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(leaf), "c"(sub));
    syscall(SYS_arch_prctl, ARCH_CPUID_SET, 0);
    if (leaf == 7 && sub < 2) {
        const uint32_t *bits = hidden[sub];
        a &= ~bits[0], b &= ~bits[1], c &= ~bits[2], d &= ~bits[3];
    }
    registers[REG_RAX] = a, registers[REG_RBX] = b, registers[REG_RCX] = c, registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
}

static sigaction_call original(void) { return (sigaction_call)dlsym(RTLD_NEXT, "sigaction"); }

/* Python's faulthandler must not take the handler away. */
int sigaction(int number, const struct sigaction *wanted, struct sigaction *before) {
    if (hiding && number == SIGSEGV && wanted) {
        if (before) memset(before, 0, sizeof *before);
        return 0;
    }
    return original()(number, wanted, before);
}

__attribute__((constructor)) static void hide(void) {
    char *words = getenv("HIDDEN_CPUID");
    if (!words) return;
    for (int at = 0; at < 8; at++) {
        hidden[at / 4][at % 4] = strtoul(words, &words, 16);
        words += *words == ':';
    }
    struct sigaction wanted = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    if (original()(SIGSEGV, &wanted, NULL)) return;
    hiding = syscall(SYS_arch_prctl, ARCH_CPUID_SET, 0) == 0;
}
