/* The embedded default model: the bytes of its files, in the binary's read-only data. See model/README.md. */
#ifndef SWERVE_STORY_MODEL_H
#define SWERVE_STORY_MODEL_H

#include <stddef.h>

typedef struct {
  const char *name;           /* file name inside a model folder */
  const unsigned char *bytes; /* aligned to 4096 bytes */
  size_t length;
} swerve_story_file;

/* All files, `swerve_story_file_count` of them; the memory lives as long as the process. */
const swerve_story_file *swerve_story_files(void);
size_t swerve_story_file_count(void);

#endif
