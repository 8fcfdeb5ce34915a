#!/bin/bash
# One model over four hosts: a rank a host, started by Slurm. sbatch Deploy/slurm.sh MODEL
#SBATCH --job-name=swerve
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --exclusive
set -euo pipefail

model=${1:?give a model folder that all hosts see}
export OMPI_MCA_mpi_yield_when_idle=1

# A lost rank ends the job, and Slurm starts it again.
exec srun --mpi=pmix --cpu-bind=none --kill-on-bad-exit=1 \
  swerve serve "$model" --host 0.0.0.0 --port 8000 --threads "$SLURM_CPUS_PER_TASK" \
  --distributed-executor-backend mpi -tp 2 -pp 2
