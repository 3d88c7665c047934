#!/usr/bin/env bash
# Installs the package into an empty environment outside the tree, and uses it from an empty folder as a new user would.
set -euo pipefail
tree=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
git clone --quiet "$tree" "$place/tree"  # what is committed, and nothing that a build leaves in the tree
python3 -m venv "$place/env"
if command -v uv >/dev/null; then
  uv pip install --quiet --python "$place/env/bin/python" "$place/tree"
else
  "$place/env/bin/pip" install --quiet "$place/tree"
fi
package=$("$place/env/bin/python" -c 'import kdengine, pathlib; print(pathlib.Path(kdengine.__file__).parent)')
mkdir "$place/home" "$place/work"
cd "$place/work"
export HOME="$place/home" XDG_DATA_HOME="$place/home/data"
unset KDENGINE_RUNS KDENGINE_DATA KDENGINE_CHECKPOINTS
touch "$place/before"
"$place/env/bin/kdengine" --version
"$place/env/bin/kdengine" distill --data digits --teacher digits-teacher --labels-per-class 5 --epochs 1
"$place/env/bin/kdengine" runs
written=$(find "$package" -newer "$place/before" -type f ! -path "*__pycache__*")
test -z "$written" || { echo "written into the package: $written"; exit 1; }
test -z "$(ls -A "$place/work")" || { echo "written into the working folder: $(ls -A "$place/work")"; exit 1; }
find "$XDG_DATA_HOME/kdengine" -maxdepth 1
