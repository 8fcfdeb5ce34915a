// Character properties as tables; Tools/unicode/generate.py writes tables.c. This room holds data, no behaviour.
// It must not know tokenizers. Start with swerve_unicode_words.
#ifndef SWERVE_UNICODE_H
#define SWERVE_UNICODE_H
#include <stdint.h>

#if defined(__clang__)
#pragma clang assume_nonnull begin
#endif

// word(c) = words[index[c >> 7] << 7 | (c & 127)]: bits 0-4 general category, 5-22 flags, 24-31 combining
// class.
extern const uint16_t swerve_unicode_index[];
extern const uint32_t swerve_unicode_words[];

// Mappings from one code point to several: sorted keys; value = offset << 8 | length into the pool.
extern const uint32_t swerve_unicode_canonical_count, swerve_unicode_compatible_count, swerve_unicode_lowercase_count,
    swerve_unicode_fold_count, swerve_unicode_compose_count, swerve_unicode_script_count, swerve_unicode_named_count;
extern const uint32_t swerve_unicode_canonical_keys[], swerve_unicode_canonical_values[], swerve_unicode_canonical_pool[];
extern const uint32_t swerve_unicode_compatible_keys[], swerve_unicode_compatible_values[], swerve_unicode_compatible_pool[];
extern const uint32_t swerve_unicode_lowercase_keys[], swerve_unicode_lowercase_values[], swerve_unicode_lowercase_pool[];
extern const uint32_t swerve_unicode_fold_keys[], swerve_unicode_fold_values[], swerve_unicode_fold_pool[];

// Canonical composition: sorted keys first << 32 | second.
extern const uint64_t swerve_unicode_compose_keys[];
extern const uint32_t swerve_unicode_compose_values[];

// Script classes by run: a run begins at starts[k] and ends before starts[k + 1]. Class 0 is neutral.
extern const uint32_t swerve_unicode_script_starts[];
extern const uint8_t swerve_unicode_script_classes[];

// Scripts with a name: triples (number of the name, first, last).
extern const uint32_t swerve_unicode_named_runs[];

// The tables' addresses, since an array of unknown length has no counterpart in Swift.
typedef struct {
  const uint32_t *keys, *values, *pool;
  uint32_t count;
} swerve_unicode_mapping;

static inline const uint16_t *swerve_unicode_get_index(void) { return swerve_unicode_index; }
static inline const uint32_t *swerve_unicode_get_words(void) { return swerve_unicode_words; }
#define SWERVE_UNICODE_MAPPING(name)                                                                                    \
  static inline swerve_unicode_mapping swerve_unicode_get_##name(void) {                                                \
    swerve_unicode_mapping m = {swerve_unicode_##name##_keys, swerve_unicode_##name##_values,                           \
                                swerve_unicode_##name##_pool, swerve_unicode_##name##_count};                           \
    return m;                                                                                                           \
  }
SWERVE_UNICODE_MAPPING(canonical)
SWERVE_UNICODE_MAPPING(compatible)
SWERVE_UNICODE_MAPPING(lowercase)
SWERVE_UNICODE_MAPPING(fold)
static inline const uint64_t *swerve_unicode_get_compose_keys(void) { return swerve_unicode_compose_keys; }
static inline const uint32_t *swerve_unicode_get_compose_values(void) { return swerve_unicode_compose_values; }
static inline const uint32_t *swerve_unicode_get_script_starts(void) { return swerve_unicode_script_starts; }
static inline const uint8_t *swerve_unicode_get_script_classes(void) { return swerve_unicode_script_classes; }
static inline const uint32_t *swerve_unicode_get_named_runs(void) { return swerve_unicode_named_runs; }
#if defined(__clang__)
#pragma clang assume_nonnull end
#endif
#endif
