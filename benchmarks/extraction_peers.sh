#!/usr/bin/env bash
# Each peer of benchmarks.extraction in a virtual environment of its own, from PyPI; those that take any torch see this one's.
#
#     benchmarks/extraction_peers.sh FOLDER
set -euo pipefail
folder=$1
here=$(python -c "import sysconfig; print(sysconfig.get_paths()['purelib'])")
for peer in embetter img2vec transformers thingsvision; do
    python -m venv "$folder/$peer"
done
for peer in embetter img2vec transformers; do
    echo "$here" > "$("$folder/$peer/bin/python" -c "import sysconfig; print(sysconfig.get_paths()['purelib'])")/shared.pth"
done
"$folder/embetter/bin/pip" install --no-deps embetter
"$folder/img2vec/bin/pip" install --no-deps img2vec_pytorch
"$folder/transformers/bin/pip" install transformers
"$folder/thingsvision/bin/pip" install thingsvision  # needs torch below 2.1 and TensorFlow
