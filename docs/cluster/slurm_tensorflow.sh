#!/usr/bin/env bash
# Trains LeNet-5 in Keras: a worker for each task. Options of sbatch come before the file, those of train after it:
#     sbatch --nodes 4 docs/cluster/slurm_tensorflow.sh --epochs 3
# sbatch passes on the environment: activate that of lenet_multi, and set LENET_MULTI_DATA, before you call it.
#SBATCH --job-name=lenet-tensorflow
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --time=00:30:00
set -euo pipefail

mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
num_workers=$((SLURM_JOB_NUM_NODES * SLURM_NTASKS_PER_NODE))
first_port=$((20000 + SLURM_JOB_ID % 100 * 100)) # two jobs may share a node
workers=()
for ((rank = 0; rank < num_workers; rank++)); do
    workers+=("${hosts[rank / SLURM_NTASKS_PER_NODE]}:$((first_port + rank))")
done
WORKERS=$(
    IFS=,
    echo "${workers[*]}"
)
export WORKERS OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK TF_NUM_INTRAOP_THREADS=$SLURM_CPUS_PER_TASK

# --distribution=block gives the first ranks to the first node.
# Since SLURM 22.05, srun does not take the number of CPUs from sbatch.
# shellcheck disable=SC2016 # each task expands the variables
srun --ntasks="$num_workers" --distribution=block --cpus-per-task="$SLURM_CPUS_PER_TASK" --kill-on-bad-exit=1 \
    bash -c '
        export TF_CONFIG="{\"cluster\": {\"worker\": [\"${WORKERS//,/\", \"}\"]}, \"task\": {\"type\": \"worker\", \"index\": $SLURM_PROCID}}"
        exec python -m lenet_multi.train "$@"
    ' task --backend tensorflow --out "runs/slurm-$SLURM_JOB_ID" "$@"
