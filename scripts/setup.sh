# Sourced by the scripts beside it: makes the project's virtual environment and installs an extra into it, once.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
python=$venv/bin/python

# usage: set_up EXTRA
set_up() {
    local extra=$1 stamp base
    stamp=$venv/.installed-$extra
    # Installed already, and nothing that decides what to install has changed since?
    if [ -e "$stamp" ] && cat "$root/pyproject.toml" "$root/constraints.txt" | cmp -s - "$stamp"; then
        return
    fi
    # No environment yet, or one whose making was interrupted?
    if ! "$python" -m pip --version >/dev/null 2>&1; then
        for base in python3.11 python3 python; do
            if "$base" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then break; fi
            base=
        done
        if [ -z "$base" ]; then
            echo "error: no Python 3.11 on the PATH, expected python3.11, which the frameworks are tested with: install it" >&2
            exit 2
        fi
        echo "making $venv" >&2
        "$base" -m venv --clear "$venv"
    fi
    echo "installing lenet-multi[$extra] into $venv: this takes some minutes" >&2
    if ! "$python" -m pip install --quiet --disable-pip-version-check --constraint "$root/constraints.txt" \
        --editable "$root[$extra]" >&2; then
        echo "error: lenet-multi[$extra] could not be installed (pip says why above): check the network and run again" >&2
        exit 2
    fi
    cat "$root/pyproject.toml" "$root/constraints.txt" > "$stamp"
}
