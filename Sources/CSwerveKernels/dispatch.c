#include "swerve_kernels.h"
