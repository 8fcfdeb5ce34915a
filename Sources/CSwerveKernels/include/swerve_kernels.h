#ifndef SWERVE_KERNELS_H
#define SWERVE_KERNELS_H
#endif
