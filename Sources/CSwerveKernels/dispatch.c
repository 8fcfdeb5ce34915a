/* Which kernel sets this build and this CPU have: one table a set, filled here and nowhere else. */
#include "levels.h"

#include <pthread.h>

static swerve_kernels tables[SWERVE_KERNEL_SETS];
static bool available[SWERVE_KERNEL_SETS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

#if SWERVE_X86
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

static bool has_avx2(void) {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

static bool has_avx512(void) {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
    __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma");
}

/* AMX-TILE, AMX-BF16 and AMX-INT8 in the CPU, and the system's leave to use the tile registers: without it the first tile
 * instruction kills the process. The leave holds for the process, threads that run already included. */
static bool has_amx(void) {
#if defined(__linux__)
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  if (!(d >> 22 & 1) || !(d >> 24 & 1) || !(d >> 25 & 1)) return false;
  enum { ARCH_REQ_XCOMP_PERM = 0x1023, TILE_DATA = 18 };
  return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0;
#else
  return false;
#endif
}

static void fill_x86(void) {
  if (has_avx2()) {
    swerve_avx2_fill(&tables[SWERVE_AVX2]);
    available[SWERVE_AVX2] = true;
  }
  if (!has_avx512()) return;
  const bool has_vbmi = __builtin_cpu_supports("avx512vbmi");
  swerve_avx512_fill(&tables[SWERVE_AVX512]);
  swerve_avx512_fill_levels(&tables[SWERVE_AVX512], has_vbmi, __builtin_cpu_supports("avx512vnni"));
  /* The same bits, faster. */
  if (has_vbmi) tables[SWERVE_AVX512].unpack_codes = swerve_avx512vbmi_unpack_codes;
  available[SWERVE_AVX512] = true;
  if (__builtin_cpu_supports("avx512bf16")) {
    tables[SWERVE_AVX512BF16] = tables[SWERVE_AVX512];
    tables[SWERVE_AVX512BF16].multiply[SWERVE_BFLOAT16] = swerve_avx512bf16_multiply;
    tables[SWERVE_AVX512BF16].score[SWERVE_BFLOAT16] = swerve_avx512bf16_score;
    tables[SWERVE_AVX512BF16].soften[SWERVE_BFLOAT16] = swerve_avx512bf16_soften;
    tables[SWERVE_AVX512BF16].weigh[SWERVE_BFLOAT16] = swerve_avx512bf16_weigh;
    if (has_vbmi) {
      tables[SWERVE_AVX512BF16].multiply_levels[SWERVE_BFLOAT16] = swerve_avx512bf16_multiply_levels;
      tables[SWERVE_AVX512BF16].score_codes = swerve_avx512bf16_score_codes;
      tables[SWERVE_AVX512BF16].weigh_codes = swerve_avx512bf16_weigh_codes;
    }
    available[SWERVE_AVX512BF16] = true;
  }
  if (has_amx()) {
    tables[SWERVE_AMX] = tables[SWERVE_AVX512];
    tables[SWERVE_AMX].multiply[SWERVE_BFLOAT16] = swerve_amx_multiply;
    tables[SWERVE_AMX].multiply_int8 = swerve_amx_multiply_int8;
    tables[SWERVE_AMX].multiply_nibbles = swerve_amx_multiply_nibbles;
    if (__builtin_cpu_supports("avx512bf16")) tables[SWERVE_AMX].soften[SWERVE_BFLOAT16] = swerve_avx512bf16_soften;
    tables[SWERVE_AMX].score[SWERVE_BFLOAT16] = swerve_amx_score;
    tables[SWERVE_AMX].weigh[SWERVE_BFLOAT16] = swerve_amx_weigh;
    tables[SWERVE_AMX].level_offset = 0;
    if (has_vbmi) tables[SWERVE_AMX].multiply_levels[SWERVE_BFLOAT16] = swerve_amx_multiply_levels;
    tables[SWERVE_AMX].panel_many = 16;
    tables[SWERVE_AMX].row_chunk = 256;
    tables[SWERVE_AMX].level_steps = SWERVE_LEVEL_STEPS;
    tables[SWERVE_AMX].fetched_lines = SWERVE_AMX_FETCHED_LINES;
    available[SWERVE_AMX] = true;
  }
}
#endif

static void fill(void) {
  swerve_level_tables_fill();
  swerve_codes_fill();
  tables[SWERVE_SCALAR] = swerve_scalar_kernels;
  available[SWERVE_SCALAR] = true;
  tables[SWERVE_AMX_EMULATED] = swerve_scalar_kernels;
  tables[SWERVE_AMX_EMULATED].multiply[SWERVE_BFLOAT16] = swerve_amx_emulated_multiply;
  tables[SWERVE_AMX_EMULATED].multiply_int8 = swerve_amx_emulated_multiply_int8;
  tables[SWERVE_AMX_EMULATED].score[SWERVE_BFLOAT16] = swerve_amx_emulated_score;
  tables[SWERVE_AMX_EMULATED].weigh[SWERVE_BFLOAT16] = swerve_amx_emulated_weigh;
  available[SWERVE_AMX_EMULATED] = true;
#if SWERVE_X86
  fill_x86();
#endif
}

const swerve_kernels *swerve_kernels_for(int set) {
  if (set < 0 || set >= SWERVE_KERNEL_SETS) return NULL;
  pthread_once(&once, fill);
  return available[set] ? &tables[set] : NULL;
}
