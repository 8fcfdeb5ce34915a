/* What plain and quantised packing share. Private to this folder. */
#ifndef SWERVE_PACK_H
#define SWERVE_PACK_H

#include "../inner.h"

/* n numbers of a row of the job's source, or of its noise, from a column of the whole row on, in f32. */
void swerve_pack_read(const swerve_pack_job *job, size_t row, size_t column, size_t n, float *out);

/* One row of the source as levels and scales of output `lane` of a block that is zero there. */
void swerve_pack_quantized(const swerve_pack_job *job, char *block, size_t lane, size_t row);

#endif
