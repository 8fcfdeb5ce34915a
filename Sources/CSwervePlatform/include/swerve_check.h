/* What shows that bytes have changed by themselves: on a wire, in memory. No protection against who wants to change them. */
#ifndef SWERVE_CHECK_H
#define SWERVE_CHECK_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32C of bytes, continued from that of the bytes before (0 at first). */
uint32_t swerve_crc32c(uint32_t crc, const void *bytes, size_t count);

/* A check of a large piece of memory, several times as fast: four quarters at once. Any change of up to 32 bits in a row
 * changes it. */
uint64_t swerve_memory_check(const void *bytes, size_t count);

#endif
