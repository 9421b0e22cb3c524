#!/usr/bin/env bash
# Trains LeNet-5 in Gluon: a worker for each task. Options of sbatch come before the file, those of train after it:
#     sbatch --nodes 4 docs/cluster/slurm_mxnet.sh --epochs 3
# sbatch passes on the environment: activate that of lenet_multi, and set LENET_MULTI_DATA, before you call it.
#SBATCH --job-name=lenet-mxnet
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --time=00:30:00
set -euo pipefail

# MXNet needs addresses: on each node, its name must stand for the address that the other nodes use.
address() { getent ahostsv4 "$1" | awk 'NR == 1 { print $1 }'; }
export -f address
mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
DMLC_PS_ROOT_URI=$(address "${hosts[0]}")
DMLC_NUM_WORKER=$((SLURM_JOB_NUM_NODES * SLURM_NTASKS_PER_NODE))
DMLC_PS_ROOT_PORT=$((20000 + SLURM_JOB_ID % 100 * 100)) # two jobs may share a node
export DMLC_PS_ROOT_URI DMLC_PS_ROOT_PORT DMLC_NUM_WORKER DMLC_NUM_SERVER=1 OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK

# This script runs on the first node, and so do the scheduler and the server.
trap 'jobs -p | xargs --no-run-if-empty kill' EXIT
for role in scheduler server; do
    DMLC_ROLE=$role DMLC_NODE_HOST=$DMLC_PS_ROOT_URI python -m lenet_multi.train --backend mxnet &
done
# Since SLURM 22.05, srun does not take the number of CPUs from sbatch.
# shellcheck disable=SC2016 # each task expands the variables
srun --ntasks="$DMLC_NUM_WORKER" --cpus-per-task="$SLURM_CPUS_PER_TASK" --kill-on-bad-exit=1 \
    bash -euc '
        DMLC_NODE_HOST=$(address "$SLURMD_NODENAME")
        export DMLC_NODE_HOST DMLC_ROLE=worker
        exec python -m lenet_multi.train "$@"
    ' task \
    --backend mxnet --out "runs/slurm-$SLURM_JOB_ID" "$@" &
for _ in scheduler server workers; do
    wait -n # the first that fails ends this script, and so the others
done
