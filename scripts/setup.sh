# The other scripts source this file. It creates the project's virtual environment and installs an extra into it, once.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
python=$venv/bin/python

# usage: set_up EXTRA
set_up() {
    local extra=$1 stamp base
    stamp=$venv/.installed-$extra
    # Is the extra installed, with the current requirements?
    if [ -e "$stamp" ] && cat "$root/pyproject.toml" "$root/constraints.txt" | cmp -s - "$stamp"; then
        return
    fi
    # Is the environment missing or incomplete?
    if ! "$python" -m pip --version >/dev/null 2>&1; then
        for base in python3.11 python3 python; do
            if "$base" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then break; fi
            base=
        done
        if [ -z "$base" ]; then
            echo "error: Python 3.11 is not on the PATH: install it (the frameworks are tested with this version)" >&2
            exit 2
        fi
        echo "creating $venv" >&2
        "$base" -m venv --clear "$venv"
    fi
    echo "installing lenet-multi[$extra] into $venv: this takes a few minutes" >&2
    if ! "$python" -m pip install --quiet --disable-pip-version-check --constraint "$root/constraints.txt" \
        --editable "$root[$extra]" >&2; then
        echo "error: cannot install lenet-multi[$extra] (see pip's message above): check the network and try again" >&2
        exit 2
    fi
    cat "$root/pyproject.toml" "$root/constraints.txt" > "$stamp"
}
