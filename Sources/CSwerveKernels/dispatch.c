/* Which kernel sets this build and this CPU have: one table a set, filled here and nowhere else. */
#include "inner.h"
#include "scalar/scalar.h"

#if SWERVE_X86
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

static bool has_avx512(void) {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
    __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma");
}

static bool has_avx512bf16(void) { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }
#endif

const swerve_kernels *swerve_kernels_for(int set) {
  if (set == SWERVE_SCALAR) return &swerve_scalar_kernels;
  return NULL;
}
