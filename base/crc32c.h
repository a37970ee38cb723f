/* base/crc32c.h - CRC-32C (Castagnoli, polynomial 0x1EDC6F41 reflected), by SSE4.2 or ARMv8 CRC
 * instructions where the processor has them, else by table.  crc32c(0, p, n) is the usual value;
 * crc32c(crc_of_a, b, n) continues over the concatenation. */
#ifndef WEIR_BASE_CRC32C_H
#define WEIR_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *p, size_t n);
/* The same by table, whatever the processor: what tests compare with. */
uint32_t crc32c_portable(uint32_t crc, const void *p, size_t n);

#endif
