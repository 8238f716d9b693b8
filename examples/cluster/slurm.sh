#!/usr/bin/env bash
# A study on several machines of a Slurm cluster, from the project's root:
#
#   sbatch examples/cluster/slurm.sh study.toml
#
# Home folders are the same on all machines, with forgetune in ~/.venvs/forgetune and the token that
# `ray get-auth-token --generate` has put into ~/.ray/auth_token. Submitted again after the time limit
# or a failure, the study goes on where it was.
#
#SBATCH --job-name=forgetune
#SBATCH --nodes=4
# One task a machine: it starts Ray there, with all that the job holds on it.
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=24:00:00
# Machines of one's own: Ray cannot be started this way where another job's Ray runs. So ask for all
# that they have above.
#SBATCH --exclusive
#SBATCH --mem=0
set -euo pipefail

study=${1:?"usage: sbatch slurm.sh STUDY.toml"}
shared=${FORGETUNE_SHARED:-$HOME/forgetune} # seen by all machines: results and artifacts go there
PATH=$HOME/.venvs/forgetune/bin:$PATH

# Other users share the network, and without a token whoever reaches Ray runs code in your name.
export RAY_AUTH_MODE=token
# Ray waits half a minute for the other machines; to read Python from a busy file system takes longer.
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=600

# All machines run the same line. The first one becomes Ray's head and the others join it; when there
# are exactly --min-nodes, the command after -- runs on the head, and Ray ends with it. The head runs
# trials too: its GPU is paid for like the others.
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun --ntasks="$SLURM_JOB_NUM_NODES" --cpus-per-task="$SLURM_CPUS_PER_TASK" \
    ray symmetric-run \
    --address "$head:6379" \
    --min-nodes "$SLURM_JOB_NUM_NODES" \
    --num-cpus "$SLURM_CPUS_PER_TASK" \
    --num-gpus "${SLURM_GPUS_ON_NODE:-0}" \
    --disable-usage-stats \
    -- \
    forgetune run "$study" --address auto \
    --results "$shared/results" --artifacts "$shared/artifacts"
