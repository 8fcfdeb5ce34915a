/* Counts heap allocations of the calling thread by standing in for malloc and its kin. Test code only. */
#ifndef ALLOCATION_COUNTER_H
#define ALLOCATION_COUNTER_H

/* Allocations (malloc, calloc, realloc, aligned ones) made by this thread since it started. */
long allocation_count(void);

#endif
