#!/usr/bin/env bash
# Trains LeNet-5 in PyTorch: a worker for each task. Options of sbatch come before the file, those of train after it:
#     sbatch --nodes 4 docs/cluster/slurm_torch.sh --epochs 3
# sbatch passes on the environment: activate that of lenet_multi, and set LENET_MULTI_DATA, before you call it.
#SBATCH --job-name=lenet-torch
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --time=00:30:00
# For GPUs: as many tasks on each node as it has, and --gres=gpu:2, not --gpus-per-task, which numbers all of them 0.
set -euo pipefail

mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
export MASTER_ADDR=${hosts[0]}
export MASTER_PORT=$((20000 + SLURM_JOB_ID % 100 * 100)) # two jobs may share a node
export WORLD_SIZE=$((SLURM_JOB_NUM_NODES * SLURM_NTASKS_PER_NODE))
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK

# Since SLURM 22.05, srun does not take the number of CPUs from sbatch.
# shellcheck disable=SC2016 # each task expands the variables
srun --ntasks="$WORLD_SIZE" --cpus-per-task="$SLURM_CPUS_PER_TASK" --kill-on-bad-exit=1 \
    bash -c 'RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID exec python -m lenet_multi.train "$@"' task \
    --backend torch --out "runs/slurm-$SLURM_JOB_ID" "$@"
