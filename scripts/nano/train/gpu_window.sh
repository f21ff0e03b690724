#!/usr/bin/env bash
# Train nano's language model on a borrowed GPU: gpu_window.sh FOLDER OUT MINUTES [options of train_lm.py]
# FOLDER comes from `gpu_window.py pack`; OUT gets the weights in files that can be carried back, and the log.
# Saves every half minute, so a window that closes early has something to bring home.
set -euo pipefail
folder=$1 out=$2 minutes=$3
shift 3
here=$(dirname "$0")
mkdir -p "$out"
device=$(python -c 'import torch; print("cuda" if torch.cuda.is_available() else "cpu")')
feeders=$(( $(nproc) > 4 ? $(nproc) - 2 : 0 ))
status=0
slack=${SLACK_SECONDS:-60} # to load, and to save the last time
timeout "$(awk "BEGIN {print int($minutes * 60 + $slack)}")" python -W ignore "$here/train_lm.py" join --work "$folder" \
    --name window --start "$folder/start.pt" --features "$folder/features" --device "$device" --feeders "$feeders" \
    --minutes "$minutes" --save-every 30 --budget 32768 --longest 3000 --fall 0.4 --lr 1.5e-3 --copy 0.25 --counts 0.05 \
    --written 0.45 --transcribe 0.1 --read 0.04 "$@" 2>&1 | tee "$out/window.log" || status=$?
[ -f "$folder/window.pt" ] || { echo "no weights were saved in time; see $out/window.log" >&2; exit 1; }
python "$here/gpu_window.py" split "$folder/window.pt" --out "$out"
exit "$status"
